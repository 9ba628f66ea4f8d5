"""Networks of which some tensors have other values."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.errors import InputError
from softcell.weights import ReplacedWeights, StateDictWeights

STATE = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.array([1, 2], np.float16),
    "steps": np.array(3, np.int64),
}


def test_what_is_not_replaced_is_as_it_was():
    given = StateDictWeights(STATE)
    with ReplacedWeights(given, {"a": -STATE["a"]}) as replaced:
        assert replaced.names == tuple(given.names)
        for name in STATE:
            assert replaced.info(name) == given.info(name)
        for name in ("half", "steps"):
            assert np.array_equal(replaced.read(name), given.read(name))
            assert np.array_equal(replaced.raw(name), given.raw(name))
        assert np.array_equal(replaced.read("a"), -STATE["a"])
        assert replaced.raw("a").tobytes() == (-STATE["a"]).astype("<f4").tobytes()
    assert np.array_equal(given.read("a"), STATE["a"])  # it is still open


def test_bytes_are_of_the_tensors_own_format():
    replaced = ReplacedWeights(StateDictWeights(STATE), {"half": np.array([0.1, -5], np.float32)})
    assert replaced.raw("half").tobytes() == np.array([0.1, -5], "<f2").tobytes()


def test_a_reader_may_change_what_it_was_given():
    values = STATE["a"].copy()
    replaced = ReplacedWeights(StateDictWeights(STATE), {"a": values})
    replaced.read("a")[...] = 9
    assert np.array_equal(replaced.read("a"), STATE["a"])


def test_it_refuses_other_shapes_and_names():
    for bad in (np.zeros((3, 2)), np.zeros(6), np.zeros((2, 4))):
        with pytest.raises(InputError, match=r"'a' has shape \(2, 3\)"):
            ReplacedWeights(StateDictWeights(STATE), {"a": bad})
    with pytest.raises(InputError):
        ReplacedWeights(StateDictWeights(STATE), {"b": np.zeros(2)})
