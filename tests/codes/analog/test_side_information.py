"""Side information as bytes: round trips, its size, and damage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softcell.bfloat16 import ceiling
from softcell.codes.analog.code import AnalogCode
from softcell.codes.analog.side_information import decode_side, encode_side, side_bits
from softcell.codes.analog.value_range import ValueRange
from softcell.errors import FormatError
from softcell.streams import Stream

LOW, HIGH = ceiling(0.7), ceiling(3.1)
ONE = (ValueRange(0.0, HIGH, 16, 0),)
TWO = (ValueRange(0.0, LOW, 16, 2), ValueRange(LOW, HIGH, 0, 16))


def weights_of(rows, columns, density, seed=0):
    kept = Stream.of(seed, "mask").uniform(rows * columns) < density
    return (Stream.of(seed, "w").normal(rows * columns) * kept).reshape(rows, columns)


def cells_of(pattern, rows, ranges, seed=0):
    if pattern == "even":
        return np.full((rows, ranges), 2, np.uint8)
    if pattern == "leading":
        more = np.arange(rows)[:, None] < np.array([rows // 3, rows // 2])[:ranges]
        return (3 + more).astype(np.uint8)
    return (
        (1 + Stream.of(seed, "cells").words(rows * ranges) % 15)
        .astype(np.uint8)
        .reshape(rows, ranges)
    )


def check_round_trip(code, rows):
    data = encode_side(code, rows)
    side = decode_side(data, rows.shape)
    assert side.code.ranges == code.ranges
    assert (side.code.sign, side.code.mask) == (code.sign, code.mask)
    assert (side.code.cells == code.cells).all()
    assert (side.classes == code.classes(rows)).all()
    if code.sign:
        stored = side.classes > 0
        assert (side.negative[stored] == (rows < 0)[stored]).all()
    assert not side.negative[side.classes == 0].any()
    return data


@pytest.mark.parametrize("pattern", ["even", "leading", "own"])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 300), (300, 1), (40, 50)])
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_round_trip(rows, columns, density, pattern):
    weights = weights_of(rows, columns, density)
    check_round_trip(AnalogCode(True, True, TWO, cells_of(pattern, rows, 2)), weights)
    check_round_trip(AnalogCode(True, True, ONE, cells_of(pattern, rows, 1)), weights)
    check_round_trip(AnalogCode(True, False, ONE, cells_of(pattern, rows, 1)), weights)
    signed = (ValueRange(-HIGH, HIGH, 0, 16),)
    check_round_trip(AnalogCode(False, False, signed, cells_of(pattern, rows, 1)), weights)


def test_masks_longer_than_a_run(monkeypatch):
    weights = weights_of(7, 1001, 0.4)
    code = AnalogCode(True, True, TWO, cells_of("own", 7, 2))
    whole = check_round_trip(code, weights)
    monkeypatch.setattr("softcell.codes.analog.side_information._RUN", 100)
    assert (check_round_trip(code, weights) == whole).all()


def test_small_signed_codes_cost_a_few_bytes():
    signed = (ValueRange(-HIGH, HIGH, 0, 16),)
    code = AnalogCode(False, False, signed, cells_of("leading", 40, 1))
    assert len(encode_side(code, weights_of(40, 50, 1.0))) == 2 + 4 + 5


@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 400),
    density=st.sampled_from([0.0, 1e-3, 0.1, 0.5, 0.999, 1.0]),
    pattern=st.sampled_from(["even", "leading", "own"]),
    ranges=st.sampled_from([ONE, TWO]),
    mask=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_side_bits_are_never_below_the_real_size(
    rows, columns, density, pattern, ranges, mask, seed
):
    weights = weights_of(rows, columns, density, seed)
    cells = cells_of(pattern, rows, len(ranges), seed)
    code = AnalogCode(True, mask or len(ranges) > 1, ranges, cells)
    counts = np.bincount(code.classes(weights).ravel(), minlength=len(ranges) + 1)
    estimate, real = side_bits(code, counts), 8 * len(encode_side(code, weights))
    assert real <= estimate <= 1.01 * real + 100


def test_side_bits_hold_for_a_million_weights():
    weights = weights_of(100, 10_000, 0.3)
    code = AnalogCode(True, True, TWO, cells_of("own", 100, 2))
    counts = np.bincount(code.classes(weights).ravel(), minlength=3)
    real = 8 * len(encode_side(code, weights))
    share = counts / counts.sum()
    entropy = float(-(share * np.log2(share)).sum()) * weights.size
    assert real <= side_bits(code, counts) <= real + 100
    assert real == pytest.approx(entropy + counts[1:].sum() + 800, rel=1e-3)


def examples():
    for pattern in ("leading", "own"):
        weights = weights_of(9, 70, 0.5)
        yield AnalogCode(True, True, TWO, cells_of(pattern, 9, 2)), weights
        yield AnalogCode(True, False, ONE, cells_of(pattern, 9, 1)), weights


@pytest.mark.parametrize(("code", "weights"), list(examples()))
def test_every_truncation_and_extension_is_told(code, weights):
    data = encode_side(code, weights)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            decode_side(data[:length], weights.shape)
    with pytest.raises(FormatError):
        decode_side(np.append(data, np.uint8(0)), weights.shape)


@pytest.mark.parametrize(("code", "weights"), list(examples()))
def test_random_damage_gives_a_format_error_or_a_valid_code(code, weights):
    data = encode_side(code, weights)
    for seed in range(400):
        noise = Stream.of(seed, "damage").words(6)
        damaged = data.copy()
        for word in noise[: 1 + seed % 3]:
            damaged[word % len(data)] ^= 1 + (word >> 8) % 255
        try:
            side = decode_side(damaged, weights.shape)
        except FormatError as error:
            assert "\n" not in str(error)
            continue
        # Nothing but a sign, the end of a range or a number of cells can be wrong unnoticed.
        assert np.isfinite([(r.low, r.high) for r in side.code.ranges]).all()
        assert all(r.low <= r.high for r in side.code.ranges)
        assert side.code.cells.min() >= 1
        if code.mask:
            assert (side.classes == code.classes(weights)).all()


def test_random_bytes_never_crash():
    for seed in range(2000):
        noise = Stream.of(seed, "bytes").words(60).astype(np.uint8)[: seed % 60]
        if seed % 2 and len(noise) > 1:
            noise[0] %= 8  # a valid beginning gets further
            noise[1] = 1 + noise[1] % 2
        try:
            decode_side(noise, (1 + seed % 4, 1 + seed % 7))
        except FormatError:
            continue


@pytest.mark.parametrize("place", [0, 4])
def test_huge_counts_are_refused_before_memory_is_taken(place):
    """A claim of four thousand million rows or words is checked against the bytes there are."""
    code = AnalogCode(True, True, ONE, cells_of("even", 3, 1))
    data = encode_side(code, weights_of(3, 5, 0.5))
    at = {0: 2 + 4 + 1, 4: 2 + 4 + 5 + 4}[place]
    data = data.copy()
    data[at : at + 4] = 255
    with pytest.raises(FormatError):
        decode_side(data, (3, 5))


def test_ends_of_ranges_are_stored_upwards():
    assert ceiling(0.0) == 0.0
    assert ceiling(1.0) == 1.0
    assert ceiling(1.001) == 1.0078125
    assert ceiling(3.4e38) == float.fromhex("0x1.fep127")
