"""Streams in stretches: what comes back from them, whole and with bytes lost."""

from __future__ import annotations

import numpy as np
import pytest

from drawn import normal
from softcell.codes.entropy import stretches
from softcell.codes.entropy.column_quantise import ColumnQuantiser, Contexts
from softcell.codes.entropy.stream import decode, encode, encode_quantised, salvage, stored_steps
from softcell.codes.entropy.trellis import Trellis
from softcell.errors import FormatError

SHAPE = (90, 120)


@pytest.fixture(params=["scalar", "by row", "by column"])
def coded(request, monkeypatch):
    """A stream in several stretches, and the weights of the same without them."""
    weights = normal(*SHAPE)
    steps = np.linspace(0.2, 0.4, SHAPE[0]).astype(np.float32)

    def stream():
        if request.param != "by column":
            return encode(weights, steps, trellis=Trellis(1 if request.param == "scalar" else 8))
        return encode_quantised(seen, steps, trellis=trellis)

    if request.param == "by column":
        steps = stored_steps(steps)
        trellis = Trellis(8, by_column=True)
        nearest = np.rint(weights / steps[:, None]).astype(np.int32)
        contexts = Contexts.of(nearest, Trellis()).for_both_quantisers()
        quantiser = ColumnQuantiser(steps, np.ones(SHAPE), trellis, 0.0, contexts)
        columns = [quantiser.store(k, weights[:, k]) for k in range(SHAPE[1])]
        seen = np.stack(columns, axis=1)

    whole = stream()
    monkeypatch.setattr(stretches, "STRETCH_BYTES", 500)
    cut = stream()
    assert whole[0] >> 5 in (1, 2)
    assert cut[0] >> 5 == (whole[0] >> 5) + 2
    return cut, decode(whole, SHAPE)


def test_they_decode_to_the_same_weights(coded):
    cut, wanted = coded
    np.testing.assert_array_equal(decode(cut, SHAPE), wanted)


def test_a_lost_byte_loses_a_part_of_one_stretch(coded):
    cut, wanted = coded
    share = []
    for at in range(200, len(cut), 97):
        damaged = bytearray(cut)
        damaged[at] ^= 0xFF
        left = salvage(bytes(damaged), SHAPE, [(at, at + 1)])
        there = ~np.isnan(left)
        np.testing.assert_array_equal(left[there], wanted[there])
        share.append(there.mean())
        # Rows or columns: nothing of another stretch.
        lost = ~there
        assert lost.any(axis=1).mean() <= 0.2 or lost.any(axis=0).mean() <= 0.2
    assert np.mean(share) > 0.85


def test_what_is_lost_is_never_taken_for_right(coded):
    """Whatever stands in the lost bytes, weights that are given are those that were written."""
    cut, wanted = coded
    generator = np.random.default_rng(3)
    for _ in range(60):
        starts = generator.integers(150, len(cut), 3)
        runs = [(int(a), int(min(a + generator.integers(1, 400), len(cut)))) for a in starts]
        damaged = bytearray(cut)
        for start, stop in runs:
            damaged[start:stop] = generator.bytes(stop - start)
        left = salvage(bytes(damaged), SHAPE, runs)
        there = ~np.isnan(left)
        np.testing.assert_array_equal(left[there], wanted[there])


def test_nothing_lost_is_nothing_lost(coded):
    cut, wanted = coded
    np.testing.assert_array_equal(salvage(cut, SHAPE, []), wanted)


def test_without_its_beginning_all_is_lost(coded):
    cut, _ = coded
    for at in (0, 1, 5):
        with pytest.raises(FormatError):
            salvage(cut, SHAPE, [(at, at + 1)])


def test_truncated_stretches_are_refused(coded):
    cut, _ = coded
    for length in range(0, len(cut), 53):
        with pytest.raises(FormatError):
            decode(cut[:length], SHAPE)
    with pytest.raises(FormatError):
        decode(cut + b"\0", SHAPE)


def test_they_cost_little(monkeypatch):
    weights = normal(400, 1000)
    cut = encode(weights, 0.5)
    assert cut[0] >> 5 == 3
    monkeypatch.setattr(stretches, "STRETCH_BYTES", 1 << 40)
    whole = encode(weights, 0.5)
    assert len(whole) < len(cut) < 1.003 * len(whole)


def test_a_single_row_has_a_single_stretch():
    assert encode(normal(1, 300_000), 0.5)[0] >> 5 == 1
