"""Large networks: steps found on samples keep to the target and cost as little as others."""

import numpy as np
import pytest

from softcell.allocate.plan import make_plan
from softcell.codes.entropy import quantise
from softcell.codes.entropy.code import EntropyCode
from softcell.codes.entropy.plan import steps, strata
from softcell.codes.entropy.stream import decode
from softcell.devices import parse_device
from softcell.errors import InfeasibleError
from softcell.image.write import write_image
from softcell.streams import Stream
from softcell.weights import StateDictWeights
from softcell.weights.finite import as_rows

DEVICE = parse_device("pcm-partial-reset")


def network(tensors, rows, columns, seed=0):
    """Tensors whose rows, columns and whole differ in size."""
    state = {}
    for number in range(tensors):
        stream = Stream.of(seed, f"tensor {number}")
        weights = stream.normal(rows * columns).reshape(rows, columns)
        weights = weights * np.exp(0.4 * stream.named("rows").normal(rows))[:, None]
        weights = weights * np.exp(0.4 * stream.named("columns").normal(columns))
        state[f"{number}"] = (weights * 0.5 ** (number % 5)).astype(np.float32)
    return state


def planned(state, cells):
    weights = StateDictWeights(state)
    return weights, make_plan(weights, DEVICE, "strong-digital", cells_per_weight=cells)


def distortion(state, plan):
    """Return the squared error relative to each tensor's energy, all over."""
    error = []
    for tensor in plan.tensors:
        rows = as_rows(state[tensor.info.name])
        restored = decode(tensor.code.stream(rows).tobytes(), rows.shape)
        error.append(np.mean((restored - rows.astype(np.float64)) ** 2) / np.mean(rows**2.0))
    return np.mean(error)


@pytest.fixture
def small(monkeypatch):
    """Let a network of some hundred thousand weights be a large one."""
    monkeypatch.setattr(steps, "_WHOLE", 1 << 16)
    monkeypatch.setattr(strata, "_SAMPLE", 1 << 16)
    monkeypatch.setattr(strata, "_SHARE", 1 / 4)
    monkeypatch.setattr(quantise, "WHOLE", 1 << 16)


@pytest.mark.parametrize(
    ("tensors", "rows", "columns", "cells"), [(1, 500, 450, 1.5), (25, 90, 100, 0.5)]
)
def test_a_large_network_fits_and_errs_as_little_as_in_the_full_search(
    tensors, rows, columns, cells, request, tmp_path
):
    state = network(tensors, rows, columns)
    full = distortion(state, planned(state, cells)[1])
    request.getfixturevalue("small")
    weights, plan = planned(state, cells)
    header = write_image(weights, plan, tmp_path / "x.cells")
    # A code word of strong digital storage is one part in a hundred of so few cells.
    assert 0.99 * cells <= header.cells_per_weight <= cells
    assert distortion(state, plan) == pytest.approx(full, rel=0.01)


def test_what_was_counted_is_written_and_not_coded_again(small, monkeypatch, tmp_path):
    state = network(12, 90, 100)
    weights, plan = planned(state, 1.0)
    monkeypatch.setattr("softcell.codes.entropy.code.encode", lambda *_, **__: pytest.fail("again"))
    header = write_image(weights, plan, tmp_path / "x.cells")
    assert header.weights == 12 * 9000


def test_other_weights_are_coded_anew():
    code = EntropyCode(0.5)
    one, other = np.ones((4, 4), np.float32), np.full((4, 4), 2, np.float32)
    streams = [code.stream(rows).tobytes() for rows in (one, other, one.reshape(2, 8), one)]
    assert streams[0] == streams[3]
    assert len(set(streams)) == 3


def test_most_of_the_work_is_one_coding_of_all(small, monkeypatch):
    state, coded = network(60, 90, 100), []
    stream = EntropyCode.stream
    monkeypatch.setattr(
        EntropyCode, "stream", lambda self, rows: coded.append(rows.size) or stream(self, rows)
    )
    planned(state, 1.0)
    assert sum(coded) < 1.3 * 60 * 9000


def test_too_few_cells_are_refused_and_cells_beyond_all_use_are_left(small, tmp_path):
    state = network(9, 90, 100)
    with pytest.raises(InfeasibleError, match="ask for more"):
        planned(state, 0.001)
    ones = {name: np.sign(weights) for name, weights in state.items()}
    weights, plan = planned(ones, 60.0)
    assert write_image(weights, plan, tmp_path / "x.cells").cells_per_weight < 60
