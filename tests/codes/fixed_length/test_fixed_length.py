"""Fixed-length indices: quantiser, places of bits, posterior means, damage, expected distortion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softcell.bfloat16 import ceiling
from softcell.channel import Channel, channel_of
from softcell.codes.fixed_length.cells import bit_variances, decode_weights, encode_weights
from softcell.codes.fixed_length.code import FixedLengthCode, IndexFormat, decode_side, encode_side
from softcell.codes.store.modulation import design_modulation
from softcell.devices import parse_device
from softcell.errors import FormatError, InputError


@pytest.fixture(scope="module")
def channel() -> Channel:
    return channel_of(parse_device("pcm-partial-reset"))


def read(channel: Channel, levels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Readings of cells, drawn from the channel's law by inversion."""
    uniform, bins = rng.random(len(levels)), np.empty(len(levels), np.int64)
    for level in np.unique(levels):
        here = levels == level
        cumulative = np.cumsum(channel.matrix[level])[:-1]
        bins[here] = np.searchsorted(cumulative, uniform[here], side="right")
    return channel.readings[bins].astype(np.float32)


def restored(code, channel, weights, readings_of):
    protected, levels = encode_weights(weights, code, channel)
    modulation = code.modulation(channel)
    ratios = modulation.detect(channel, readings_of(levels))
    return decode_weights(protected, ratios, code, weights.shape[1], modulation)


def noiseless(channel):
    return lambda levels: channel.mean[levels].astype(np.float32)


@pytest.mark.parametrize("label_bits", [1, 2])
def test_without_errors_weights_come_back_to_half_a_step(channel, label_bits):
    rng = np.random.default_rng(0)
    formats = (IndexFormat(8, 3, 0.03125), IndexFormat(5, 0, 0.25), IndexFormat(6, 6, 0.125))
    code = FixedLengthCode(label_bits, formats, np.array([0, 1, 2, 0, 1, 2, 2], np.uint8))
    weights = rng.uniform(-3.99, 3.99, (7, 50)).astype(np.float32)
    out = restored(code, channel, weights, noiseless(channel))
    steps = np.array([each.step for each in formats])[code.rows]
    assert (np.abs(out - weights) <= steps[:, None] / 2 * (1 + 1e-4)).all()


def test_indices_are_the_middles_of_their_steps_and_clip_at_the_ends(channel):
    code = FixedLengthCode(2, (IndexFormat(2, 0, 1.0),), np.zeros(1, np.uint8))
    weights = np.array([[-9.0, -1.5, -0.1, 0.0, 0.9, 1.0, 9.0]], np.float32)
    out = restored(code, channel, weights, noiseless(channel))
    expected = [-1.5, -1.5, -0.5, 0.5, 0.5, 1.5, 1.5]
    np.testing.assert_allclose(out[0], expected, atol=1e-3)


def test_most_significant_raw_bits_are_on_the_most_reliable_label_bit(channel):
    """All ones in one bit of significance show in one label bit, and in no other."""
    modulation = design_modulation(channel, 8)
    code = FixedLengthCode(3, (IndexFormat(4, 1, 1.0),), np.zeros(2, np.uint8))
    of_level = dict(zip(modulation.indices, modulation.labels))
    for s in range(3):
        weights = np.full((2, 30), (1 << s) + 0.5 - 8, np.float32)
        protected, levels = encode_weights(weights, code, channel)
        assert not protected.any()
        plane = modulation.planes[2 - s]
        assert {of_level[int(level)] for level in levels} == {1 << (2 - plane)}


def test_protected_bits_are_the_top_ones(channel):
    code = FixedLengthCode(2, (IndexFormat(4, 2, 1.0),), np.zeros(1, np.uint8))
    weights = np.array([[0.5, 4.5, -0.5, -7.5]], np.float32)  # indices 8, 12, 7, 0
    protected, _ = encode_weights(weights, code, channel)
    assert protected.tolist() == [1, 1, 0, 0, 0, 1, 1, 0]


@pytest.mark.parametrize(("bits", "protected", "label_bits"), [(3, 1, 3), (4, 0, 3), (7, 5, 3)])
def test_distortion_is_what_the_law_says(channel, bits, protected, label_bits):
    rng = np.random.default_rng(1)
    form = IndexFormat(bits, protected, 2.0**-bits)
    weights = rng.uniform(-0.5, 0.5, (40, 5000)).astype(np.float32)
    code = FixedLengthCode(label_bits, (form,), np.zeros(40, np.uint8))
    out = restored(code, channel, weights, lambda levels: read(channel, levels, rng))
    measured = np.mean((out - weights.astype(np.float64)) ** 2) / form.step**2
    # A label bit holds so many of the raw bits, from the most significant on.
    variances = bit_variances(channel, design_modulation(channel, 1 << label_bits))
    fine = np.repeat(variances, form.raw)
    of_bit = fine.reshape(form.raw, label_bits).mean(axis=1)
    expected = 1 / 12 + 4.0 ** np.arange(form.raw)[::-1] @ of_bit
    assert measured == pytest.approx(expected, rel=0.1)


def test_the_posterior_mean_beats_decisions(channel):
    rng = np.random.default_rng(2)
    code = FixedLengthCode(3, (IndexFormat(3, 0, 0.25),), np.zeros(20, np.uint8))
    weights = rng.uniform(-1, 1, (20, 5000)).astype(np.float32)
    protected, levels = encode_weights(weights, code, channel)
    modulation = code.modulation(channel)
    soft = modulation.detect(channel, read(channel, levels, rng))
    hard = np.where(soft < 0, -100, 100).astype(np.int8)
    errors = [
        np.mean((decode_weights(protected, ratios, code, 5000, modulation) - weights) ** 2)
        for ratios in (soft, hard)
    ]
    assert errors[0] < 0.9 * errors[1]


def test_one_wrong_reading_moves_only_the_weights_of_its_cell(channel):
    rng = np.random.default_rng(3)
    code = FixedLengthCode(2, (IndexFormat(4, 0, 0.25),), np.zeros(10, np.uint8))
    weights = rng.normal(size=(10, 20)).astype(np.float32)
    _, levels = encode_weights(weights, code, channel)
    good = restored(code, channel, weights, noiseless(channel))
    levels[7] = next(level for level in np.unique(levels) if level != levels[7])
    bad = restored(code, channel, weights, lambda _: channel.mean[levels].astype(np.float32))
    assert 1 <= (np.abs(bad - good) > 0.1).sum() <= 2


def test_label_bit_variances_of_a_symmetric_cell():
    """Two levels that are confused with probability e: Var(bit | reading) = e (1 - e)."""
    e = 0.1
    edges = np.array([-np.inf, 0.0, np.inf])
    two = Channel(np.array([0.0, 1.0]), edges, np.array([[1 - e, e], [e, 1 - e]]))
    modulation = design_modulation(channel_of(parse_device("ideal")), 2)
    first = type(modulation)((0, 1), (0, 1), (0,))
    assert bit_variances(two, first) == pytest.approx([e * (1 - e)])


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_side_information_round_trips(data):
    bits = st.integers(1, 8)
    formats = tuple(
        IndexFormat(b, data.draw(st.integers(0, b)), ceiling(data.draw(st.floats(1e-20, 1e20))))
        for b in data.draw(st.lists(bits, min_size=1, max_size=31))
    )
    rows = data.draw(st.lists(st.integers(0, len(formats) - 1), min_size=1, max_size=40))
    code = FixedLengthCode(data.draw(st.integers(1, 3)), formats, np.array(rows, np.uint8))
    side = encode_side(code)
    again, rest = decode_side(np.append(side, np.array([1, 2], np.uint8)), len(rows))
    assert rest.tolist() == [1, 2]
    assert (again.label_bits, again.formats) == (code.label_bits, code.formats)
    np.testing.assert_array_equal(again.rows, code.rows)
    for cut in range(len(side)):
        try:
            decode_side(side[:cut], len(rows))
        except FormatError:
            continue
        pytest.fail("side information that is cut short was accepted")


@pytest.mark.parametrize(
    "head",
    [[], [8], [2 | 1 << 3, 9, 0, 63], [2 | 1 << 3, 0x52 | 0x10, 0, 63], [7 | 1 << 3, 4, 0, 63]],
)
def test_impossible_side_information_is_refused(head):
    with pytest.raises(FormatError):
        decode_side(np.array(head, np.uint8), 3)


def test_impossible_codes_are_refused():
    good = IndexFormat(4, 0, 0.5)
    for bits, protected, step in [
        (0, 0, 1.0),
        (9, 0, 1.0),
        (3, 4, 1.0),
        (3, 0, -1.0),
        (3, 0, 1.001),
    ]:
        with pytest.raises(InputError):
            IndexFormat(bits, protected, step)
    for label_bits, formats, row in [(0, (good,), 0), (4, (good,), 0), (2, (), 0), (2, (good,), 1)]:
        with pytest.raises(InputError):
            FixedLengthCode(label_bits, formats, np.array([row], np.uint8))
