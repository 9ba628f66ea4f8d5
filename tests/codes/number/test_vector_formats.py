"""Formats of vectors: 12-bit numbers with a common exponent range, and constants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softcell.codes.number.vector_formats import NUMBER_FORMATS, is_constant
from softcell.errors import InputError
from softcell.streams import Stream

FLOAT12 = NUMBER_FORMATS["float12"]
CONSTANT = NUMBER_FORMATS["constant"]


def there_and_back(values, number_format=FLOAT12):
    values = np.asarray(values, np.float32)
    data = number_format.encode(values)
    assert data.dtype == np.uint8
    assert len(data) == number_format.size(values.shape)
    restored = number_format.decode(data, values.shape)
    assert restored.dtype == np.float32
    assert restored.shape == values.shape
    return restored


@pytest.mark.parametrize("scale", [1.0, 1e-30, 3e36, 1e-40])
@pytest.mark.parametrize("count", [1, 2, 3, 1000, 1001])
def test_error_is_relative_for_large_and_absolute_for_tiny_values(count, scale):
    g = Stream.of(0, "values")
    spread = np.exp(3 * g.named("size").normal(count))  # over some 30 binades
    values = g.normal(count) * (spread / spread.max() / 6) * np.float32(scale)
    restored = there_and_back(values).astype(np.float64)
    error = np.abs(restored - values)
    top = 2.0 ** (np.frexp(np.abs(restored).max())[1] - 1)
    allowed = np.maximum(2.0**-7 * np.abs(values.astype(np.float64)), 2.0**-37 * top)
    # Float32 itself is no finer than 2^-149.
    assert (error <= np.maximum(allowed, 2.0**-150)).all()
    if count == 1000 and scale == 1.0:
        assert (error / np.abs(values)).max() > 2.0**-8  # no finer than it is paid for


def test_rounds_to_nearest_and_ties_to_even():
    step = 1 / 64
    values = [1 + 0.49 * step, 1 + 0.51 * step, 1 + 0.5 * step, 1 + 1.5 * step, -1 - 0.51 * step]
    expected = [1, 1 + step, 1, 1 + 2 * step, -1 - step]
    assert there_and_back(values).tolist() == expected


def test_rounding_up_reaches_the_next_binade():
    assert there_and_back([1.999, 0.9999, -3.99]).tolist() == [2, 1, -4]


def test_known_words():
    # top = 1, lowest = -29. 2: field 31, mantissa 0. -1.5: sign, field 30, mantissa 32. 0: word 0.
    data = FLOAT12.encode(np.array([2.0, -1.5, 0.0], np.float32))
    words = [31 << 6, 1 << 11 | 30 << 6 | 32, 0]
    packed = (words[0] << 12 | words[1]).to_bytes(3, "big") + (words[2] << 4).to_bytes(2, "big")
    assert data.tobytes() == bytes([128 + 1]) + packed


def test_zeros_stay_zero_whatever_is_beside_them():
    for values in ([0, 0, 0], [0, 1e30, 0], [0, 1e-30, 0], [1, 0, -1]):
        restored = there_and_back(values)
        assert ((restored == 0) == (np.asarray(values) == 0)).all()


def test_what_is_too_small_goes_to_a_subnormal_or_to_zero():
    lowest = 2.0**-30  # top = 0
    values = [1.0, lowest, lowest / 2, lowest / 64, lowest / 128 * 1.01, lowest / 129, -lowest / 3]
    expected = [1.0, lowest, lowest / 2, lowest / 64, lowest / 64, 0, -21 / 64 * lowest]
    assert there_and_back(values).tolist() == expected


def test_the_ends_of_float32():
    largest = np.finfo(np.float32).max
    assert there_and_back([largest, -largest]).tolist() == [
        127 / 64 * 2.0**127,
        -127 / 64 * 2.0**127,
    ]
    tiny = np.float32(1e-45)
    assert there_and_back([tiny, -tiny, 3 * tiny]).tolist() == [tiny, -tiny, 3 * tiny]


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_a_second_round_trip_changes_nothing(values):
    once = there_and_back(values)
    assert there_and_back(once).tobytes() == once.tobytes()


@settings(deadline=None)
@given(data=st.binary(min_size=6, max_size=6))
def test_bytes_of_failed_code_words_are_finite_numbers(data):
    assert np.isfinite(FLOAT12.decode(np.frombuffer(data, np.uint8), (3,))).all()


def test_two_values_take_three_bytes():
    assert [FLOAT12.size((n,)) for n in (1, 2, 3, 4, 64)] == [3, 4, 6, 7, 97]
    assert FLOAT12.size(()) == 3
    assert FLOAT12.side((64,)) == 1


@pytest.mark.parametrize("shape", [(1,), (5,), (2, 3)])
def test_a_constant_takes_four_bytes(shape):
    values = np.full(shape, 0.1, np.float32)
    assert len(CONSTANT.encode(values)) == CONSTANT.size(shape) == 4
    assert there_and_back(values, CONSTANT).tobytes() == values.tobytes()
    assert CONSTANT.side(shape) == 0


def test_values_that_differ_are_no_constant():
    assert is_constant(np.zeros(4, np.float32))
    assert not is_constant(np.zeros(0, np.float32))
    assert not is_constant(np.array([1, 1, np.nextafter(np.float32(1), 2)], np.float32))
    with pytest.raises(InputError, match="values differ"):
        CONSTANT.encode(np.array([1, 2], np.float32))
