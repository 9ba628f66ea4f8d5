"""The analog code of a tensor: classes, cells, and weights that come back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softcell.channel import channel_of
from softcell.codes.analog.code import AnalogCode, decode_rows, encode_rows, tables_of
from softcell.codes.analog.value_range import ValueRange
from softcell.devices import parse_device
from softcell.errors import InputError
from softcell.streams import Stream

IDEAL = channel_of(parse_device("ideal"))


def round_trip(code, rows, channel=IDEAL):
    """Encode and decode through noiseless readings, and return the levels too."""
    tables = tables_of(code, channel, channel)
    classes = code.classes(rows)
    levels = encode_rows(rows, classes, code, tables)
    readings = channel.mean[levels].astype(np.float32)
    return decode_rows(readings, classes, (rows < 0).astype(np.uint8), code, tables), levels


def cells_of(draw, rows, ranges):
    return np.array(
        draw(st.lists(st.integers(1, 5), min_size=rows * ranges, max_size=rows * ranges)),
        np.uint8,
    ).reshape(rows, ranges)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_ideal_cells_give_weights_back_to_within_half_a_level(data):
    rows, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 9))
    sign, mask = data.draw(st.booleans()), data.draw(st.booleans())
    ranges = (
        (ValueRange(0.0, 0.5, 16, 0), ValueRange(0.5, 2.0, 0, 16))
        if sign and mask
        else (ValueRange(0.0 if sign else -2.0, 2.0, 0, 16),)
    )
    code = AnalogCode(sign, mask, ranges, cells_of(data.draw, rows, len(ranges)))
    seed = data.draw(st.integers(0, 9999))
    weights = (Stream.of(seed, "w").uniform(rows * columns) * 4 - 2).reshape(rows, columns)
    weights[Stream.of(seed, "zeros").uniform(weights.size).reshape(weights.shape) < 0.3] = 0
    restored, levels = round_trip(code, weights)
    assert len(levels) == code.row_cells(code.classes(weights)).sum()
    for kind, value_range in enumerate(ranges, start=1):
        chosen = code.classes(weights) == kind
        step = (value_range.high - value_range.low) / 255
        assert np.abs(restored - weights)[chosen].max(initial=0) <= 0.6 * step
    if mask:
        assert (restored[weights == 0] == 0).all()
    if sign:
        assert (np.sign(restored) == np.sign(weights))[np.abs(weights) > 0.01].all()


def test_signs_are_exact_even_where_the_size_is_lost():
    code = AnalogCode(True, False, (ValueRange(0.0, 1.0, 0, 16),), np.ones((1, 1), np.uint8))
    tables = tables_of(code, IDEAL, IDEAL)
    weights = np.array([[-0.9, 0.9, -0.2, 0.2]], np.float32)
    noise = np.full(4, 1.0, np.float32)  # every reading says the largest size
    restored = decode_rows(
        noise, code.classes(weights), (weights < 0).astype(np.uint8), code, tables
    )
    np.testing.assert_allclose(restored, [[-1, 1, -1, 1]], atol=1e-3)


def test_values_beyond_the_range_are_clipped():
    code = AnalogCode(False, False, (ValueRange(-1.0, 1.0, 0, 16),), np.ones((1, 1), np.uint8))
    restored, _ = round_trip(code, np.array([[-5.0, 5.0]], np.float32))
    np.testing.assert_allclose(restored, [[-1, 1]], atol=1e-3)


def test_classes_follow_zero_and_the_ends_of_ranges():
    ranges = (ValueRange(0.0, 0.5), ValueRange(0.5, 2.0))
    code = AnalogCode(True, True, ranges, np.ones((1, 2), np.uint8))
    weights = np.array([[0.0, -0.0, 1e-45, -0.5, 0.5000001, -3.0]], np.float32)
    assert code.classes(weights).tolist() == [[0, 0, 1, 1, 2, 2]]


def test_row_cells_count_each_class_by_its_own_cells():
    ranges = (ValueRange(0.0, 0.5), ValueRange(0.5, 2.0))
    code = AnalogCode(True, True, ranges, np.array([[1, 3], [2, 5]], np.uint8))
    classes = np.array([[0, 1, 2, 2], [1, 1, 0, 2]], np.uint8)
    assert code.row_cells(classes).tolist() == [1 + 2 * 3, 2 * 2 + 5]
    assert code.row_cells(classes[1:], 1).tolist() == [2 * 2 + 5]
    plain = AnalogCode(False, False, ranges[:1], np.array([[255], [7]], np.uint8))
    assert plain.row_cells(np.ones((2, 1000), np.uint8)).tolist() == [255_000, 7_000]


def test_parts_of_a_tensor_are_coded_as_the_whole():
    """Rows and columns apart, as write and read handle a large tensor."""
    channel = channel_of(parse_device("pcm-partial-reset"))
    ranges = (ValueRange(0.0, 1.0, 16, 0), ValueRange(1.0, 4.0, 0, 16))
    cells = np.array([[1, 2], [3, 1], [2, 2], [1, 4]], np.uint8)
    code = AnalogCode(True, True, ranges, cells)
    weights = Stream.of(1, "w").normal(4 * 50).reshape(4, 50)
    restored, levels = round_trip(code, weights, channel)
    tables = tables_of(code, channel, channel)
    at = 0
    for row in range(4):
        for left in range(0, 50, 17):
            part = weights[row : row + 1, left : left + 17]
            classes = code.classes(part)
            got = encode_rows(part, classes, code, tables, row)
            assert (got == levels[at : at + len(got)]).all()
            negative = (part < 0).astype(np.uint8)
            readings = channel.mean[got].astype(np.float32)
            again = decode_rows(readings, classes, negative, code, tables, row)
            assert (again == restored[row : row + 1, left : left + 17]).all()
            at += len(got)
    assert at == len(levels)


def test_readings_are_averaged_over_a_weights_cells():
    code = AnalogCode(False, False, (ValueRange(0.0, 1.0, 0, 16),), np.full((1, 1), 4, np.uint8))
    tables = tables_of(code, IDEAL, IDEAL)
    readings = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    ones = np.ones((1, 1), np.uint8)
    assert decode_rows(readings, ones, ones, code, tables)[0, 0] == pytest.approx(0.25, abs=2e-3)


@pytest.mark.parametrize("end", [1e-40, 1e-30, 1e30, 3.3e38])
def test_ranges_from_the_smallest_to_the_largest_numbers(end):
    code = AnalogCode(False, False, (ValueRange(-end, end, 0, 16),), np.ones((1, 1), np.uint8))
    weights = (np.linspace(-1, 1, 256) * end).astype(np.float32)[None]
    restored, levels = round_trip(code, weights)
    assert levels.tolist() == sorted(levels.tolist())
    assert np.abs(restored.astype(np.float64) - weights).max() <= 0.6 * 2 * end / 255


def test_an_empty_range_gives_its_value():
    code = AnalogCode(True, False, (ValueRange(0.0, 0.0),), np.ones((1, 1), np.uint8))
    restored, levels = round_trip(code, np.zeros((1, 3), np.float32))
    assert restored.tolist() == [[0, 0, 0]]
    assert len(levels) == 3


@pytest.mark.parametrize(
    ("mask", "ranges", "cells"),
    [
        (True, 1, np.zeros((3, 1), np.uint8)),
        (True, 2, np.ones((3, 1), np.uint8)),
        (False, 2, np.ones((3, 2), np.uint8)),
        (True, 0, np.ones((3, 0), np.uint8)),
        (True, 1, np.ones(3, np.uint8)),
    ],
)
def test_impossible_codes_are_refused(mask, ranges, cells):
    with pytest.raises(InputError):
        AnalogCode(True, mask, (ValueRange(0.0, 1.0),) * ranges, cells)
