"""A few thousand damaged inputs of every parser: each is refused in one line, or answered.

`make fuzz` tries a million; its failures are reproduced by target, seed and number.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
import pytest

from fuzz.harness import Target, bounded, generator_of, tried
from fuzz.targets import TARGETS
from softcell.errors import FormatError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bounds memory by /proc")

INPUTS = 150


@pytest.mark.parametrize("name", list(TARGETS))
def test_damaged_inputs_are_refused_or_answered(name, tmp_path):
    target = TARGETS[name]
    failures = [
        failure
        for number in range(int(INPUTS * target.share))
        if (failure := tried(target, 0, number, tmp_path)) is not None
    ]
    assert not failures, "\n".join(f"{each}\n{each.reason}" for each in failures[:3])


@pytest.mark.parametrize("name", ["plan", "stream", "chip", "readings"])
def test_a_seed_and_a_number_make_the_same_input(name, tmp_path):
    made = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        path = TARGETS[name].make(generator_of(name, 3, 5), tmp_path / folder)
        made.append((path.name, path.read_bytes()))
    assert made[0] == made[1]


def _fails(_path):
    raise KeyError("lost")


def _refuses(_path):
    raise FormatError("it is damaged")


def _takes_memory(_path):
    np.ones(1 << 28)


def _takes_time(_path):
    while True:
        pass


def _waits(_path):
    time.sleep(60)


@pytest.mark.parametrize(
    ("use", "reason"),
    [
        (lambda path: None, None),
        (_refuses, None),
        (_fails, "KeyError: 'lost'"),
        (_takes_memory, "MemoryError"),
        (_takes_time, "more than 0.2 s"),
        (_waits, "more than 0.2 s"),
    ],
)
def test_the_harness_sees_what_is_wrong(use, reason, tmp_path, monkeypatch):
    monkeypatch.setattr("fuzz.harness.SECONDS", 0.2)
    before = resource.getrlimit(resource.RLIMIT_AS)
    found = tried(Target("none", lambda generator, folder: folder, use), 0, 0, tmp_path)
    assert (found is None) if reason is None else (reason in found.reason)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    with bounded():
        assert resource.getrlimit(resource.RLIMIT_AS) != before
