"""A compressor of one's own: its bytes are stored in cells, read back, and counted."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch

import softcell
from softcell.channel import channel_of
from softcell.codes.store.hard_store import design_store
from softcell.codes.store.soft_store import design_soft_store
from softcell.devices import parse_device
from softcell.errors import DecodingError, InputError
from softcell.image.restore import Restoration
from softcell.streams import Stream

DEVICE = "pcm-partial-reset"
STATE = {
    "fc.weight": Stream.of(0, "w").normal(40 * 300).reshape(40, 300),
    "fc.bias": Stream.of(0, "b").normal(40),
}
WEIGHTS = sum(values.size for values in STATE.values())


def halved(state):
    """A compressor: bytes of float16, deflated."""
    half = {name: np.asarray(values, np.float16) for name, values in state.items()}
    data = zlib.compress(b"".join(values.tobytes() for values in half.values()), 9)
    return data, {name: values.astype(np.float32) for name, values in half.items()}


def evaluate(tensors):
    return 1 - float(np.abs(np.asarray(tensors["fc.weight"]) - STATE["fc.weight"]).max())


def test_cells_are_those_of_the_stores():
    channel = channel_of(parse_device(DEVICE))
    hard, soft = design_store(channel), design_soft_store(channel)
    for nbytes in (0, 1, 1000, 123_457):
        found = softcell.error_free_cells(nbytes)
        assert (found.conventional, found.strong) == (hard.cells(nbytes), soft.cells(nbytes))
    assert found.conventional_bits_per_cell == hard.bits_per_cell
    # A device that drifts holds less after ten years, and never more.
    fresh, aged = (
        softcell.error_free_cells(10**6, device="pcm-mushroom", age=a) for a in (0, "10y")
    )
    assert aged.conventional >= fresh.conventional
    assert aged.strong > fresh.strong
    with pytest.raises(InputError, match="from 0"):
        softcell.error_free_cells(-1)


def test_a_function_has_two_rows_beside_the_schemes():
    options = {"device": DEVICE, "seeds": 2, "first_seed": 3}
    half, first, second = softcell.compare(STATE, evaluate, schemes=["float16", halved], **options)
    assert [r.scheme for r in (first, second)] == ["halved, conventional", "halved, strong"]
    assert first.accuracies == second.accuracies == half.accuracies
    assert (first.seeds, first.first_seed, first.failed_code_words) == (2, 3, 0)
    assert first.code_words > 0
    cells = softcell.error_free_cells(len(halved(STATE)[0]), device=DEVICE)
    assert first.cells_per_weight == pytest.approx(cells.conventional / WEIGHTS)
    assert second.cells_per_weight == pytest.approx(cells.strong / WEIGHTS)
    assert first.cells_per_weight < half.cells_per_weight
    assert first.limit_cells_per_weight == pytest.approx(half.limit_cells_per_weight, rel=1e-6)


def test_torch_tensors_go_in_and_out():
    state = {name: torch.from_numpy(np.array(values)) for name, values in STATE.items()}

    def kept(tensors):
        assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())
        tensors["fc.bias"] += 1  # a copy: the network stays as it is
        return b"x" * 100, {**tensors, "fc.bias": tensors["fc.bias"] - 1}

    rows = list(softcell.compare(state, evaluate, schemes=[kept], seeds=1))
    assert [r.accuracy_mean for r in rows] == pytest.approx([1, 1])


def test_what_cannot_be_is_refused(monkeypatch):
    for data, restored, message in (
        (b"", STATE, "expected bytes"),
        (b"x", {"fc.weight": STATE["fc.weight"]}, "'fc.bias' is missing"),
        (b"x", {**STATE, "fc.bias": np.zeros(3, np.float32)}, "'fc.bias' is"),
    ):
        with pytest.raises(InputError, match=message):
            list(softcell.compare(STATE, evaluate, schemes=[lambda _, d=data, r=restored: (d, r)]))
    monkeypatch.setattr(Restoration, "tensor", lambda self, index: np.zeros(1, np.uint8))
    with pytest.raises(DecodingError, match="chip 0 did not give the"):
        list(softcell.compare(STATE, evaluate, schemes=[halved], seeds=1))
