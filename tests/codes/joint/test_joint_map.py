"""Joint maps: figures, optimality, agreement with written and read cells, ageing, bytes."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.bfloat16 import ceiling
from softcell.channel import READINGS, channel_of, law_of
from softcell.codes.coarse import design as coarse_to_fine
from softcell.codes.joint import design as joint_map
from softcell.codes.joint.code import (
    JointCode,
    decode_joint,
    decode_joint_side,
    encode_joint,
    encode_joint_side,
    joint_tables,
)
from softcell.codes.joint.design import TABLE_BINS, JointMap, design_joint_map
from softcell.codes.maps.source import SHAPES, STEPS
from softcell.devices import parse_device
from softcell.durations import parse_ages
from softcell.errors import FormatError, InputError
from softcell.streams import Stream

GAUSSIAN, LAPLACIAN = SHAPES.index(2.0), SHAPES.index(1.0)
DEVICE = parse_device("pcm-partial-reset")
CHANNEL = channel_of(DEVICE)


def decibels(distortion):
    return -10 * np.log10(distortion)


def drawn(shape, size, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=size) if shape == GAUSSIAN else rng.laplace(0, np.sqrt(0.5), size)
    return values.astype(np.float32)


def through_cells(weights, code, *, device=DEVICE, design=CHANNEL, age=0.0, law=None, seed=1):
    law = law or channel_of(device, age)
    levels = encode_joint(weights, code, design).astype(np.float32) / np.float32(255)
    cells = device.age(device.write(levels, stream=Stream.of(seed, "w")), age)
    readings = device.read(cells, stream=Stream.of(seed, "r"))
    tables = joint_tables(code, design, law)
    rows = slice(0, len(weights))
    return decode_joint(readings, code, tables, law.bins, rows, weights.shape[1])


@pytest.mark.parametrize(("shape", "least_db"), [(GAUSSIAN, 25.0), (LAPLACIAN, 22.9)])
def test_two_cells_reach_more_than_a_coarse_and_a_fine_one_and_stay_below_the_limit(
    shape, least_db
):
    reached = decibels(design_joint_map(CHANNEL, shape).distortion)
    beside = decibels(coarse_to_fine.design_map(CHANNEL, shape, 2).distortion)
    assert max(least_db, beside + 0.5) <= reached < 6.0206 * CHANNEL.capacity.bits * 2


def test_the_version_stands_for_this_figure():
    """Where this fails the design has changed: raise `_VERSION`, lest old designs be taken."""
    assert joint_map._VERSION == 1
    assert decibels(design_joint_map(CHANNEL, GAUSSIAN).distortion) == pytest.approx(25.25, abs=0.1)


@pytest.mark.parametrize("shape", [GAUSSIAN, LAPLACIAN])
@pytest.mark.parametrize("cells", [1, 2])
def test_cells_that_are_written_and_read_give_the_expected_distortion(shape, cells):
    weights = drawn(shape, 200_000).reshape(100, -1) * np.float32(0.03)
    code = JointCode(shape, ceiling(0.03), np.full(100, cells, np.uint8))
    restored = through_cells(weights, code)
    measured = np.mean((restored - weights) ** 2) / np.mean(weights**2)
    design = coarse_to_fine.design_map(CHANNEL, shape, 0)
    if cells == 2:
        design = design_joint_map(CHANNEL, shape)
    assert measured == pytest.approx(design.distortion, rel=0.05)


def test_neither_a_value_nor_an_estimate_can_be_improved_alone():
    design = design_joint_map(CHANNEL, GAUSSIAN)
    table = joint_map.joint_estimates(design, CHANNEL)[:-1, :-1].astype(np.float64)
    matrix = CHANNEL.matrix.reshape(256, TABLE_BINS, -1).sum(axis=2)
    a, b = matrix @ table @ matrix.T, matrix @ table**2 @ matrix.T
    cost = b[design.first, design.second] - 2 * design.values * a[design.first, design.second]
    own = design.density @ (design.values**2 + cost)
    assert own == pytest.approx(design.distortion, rel=1e-3)
    least = np.array([(b - 2 * value * a).min() for value in design.values[::40]])
    excess = design.density[::40] @ (cost[::40] - least) / design.density[::40].sum()
    assert 0 <= excess < 0.02 * design.distortion


def test_an_estimate_is_the_mean_of_the_values_that_give_its_readings():
    """The table against a plain average over many written and read weights."""
    design = design_joint_map(CHANNEL, GAUSSIAN)
    table = joint_map.joint_estimates(design, CHANNEL)[:-1, :-1]
    rng = np.random.default_rng(3)
    steps = rng.choice(STEPS, 400_000, p=design.density)
    pair = []
    for levels, name in ((design.first[steps], "1"), (design.second[steps], "2")):
        cells = DEVICE.write(levels.astype(np.float32) / np.float32(255), stream=Stream.of(1, name))
        readings = DEVICE.read(cells, stream=Stream.of(2, name))
        pair.append(CHANNEL.bins(readings) // (READINGS // TABLE_BINS))
    at = pair[0] * TABLE_BINS + pair[1]
    count = np.bincount(at, minlength=TABLE_BINS**2)
    total = np.bincount(at, design.values[steps], TABLE_BINS**2)
    often = count >= 100
    assert often.sum() > 100
    error = total[often] / count[often] - table.ravel()[often]
    # Within a pair of bins values spread by no more than some 0.3.
    assert np.sqrt(np.mean(error**2 * count[often])) < 0.3
    assert np.abs(error).max() < 0.2


def test_rows_of_one_cell_and_of_two_side_by_side():
    weights = np.tile(drawn(GAUSSIAN, 20_000), (5, 1))
    code = JointCode(GAUSSIAN, 1.0, np.array([2, 1, 1, 2, 1], np.uint8))
    assert code.row_starts(20_000).tolist() == [0, 40_000, 60_000, 80_000, 120_000, 140_000]
    restored = through_cells(weights, code)
    error = np.mean((restored - weights) ** 2, axis=1)
    assert error[[0, 3]].max() < 0.08 * error[[1, 2, 4]].min()


def test_any_rows_decode_alone_as_in_the_whole():
    weights = drawn(LAPLACIAN, 3500).reshape(7, 500)
    code = JointCode(LAPLACIAN, 1.0, np.array([1, 2, 2, 1, 2, 1, 1], np.uint8))
    starts = code.row_starts(500)
    tables = joint_tables(code, CHANNEL, CHANNEL)
    readings = CHANNEL.mean[encode_joint(weights, code, CHANNEL)].astype(np.float32)
    whole = decode_joint(readings, code, tables, CHANNEL.bins, slice(0, 7), 500)
    for rows in (slice(0, 3), slice(3, 4), slice(4, 7)):
        part = readings[starts[rows.start] : starts[rows.stop]]
        alone = decode_joint(part, code, tables, CHANNEL.bins, rows, 500)
        np.testing.assert_array_equal(alone, whole[rows])


def test_a_decoder_that_is_told_the_age_undoes_the_drift_that_cells_share():
    device = parse_device("pcm-mushroom")
    design, year = channel_of(device), 365.25 * 86400
    weights = drawn(GAUSSIAN, 60_000).reshape(10, -1)
    code = JointCode(GAUSSIAN, 1.0, np.full(10, 2, np.uint8))
    told = through_cells(weights, code, device=device, design=design, age=year)
    fresh = through_cells(weights, code, device=device, design=design, age=year, law=design)
    assert np.mean((told - weights) ** 2) < 0.5 * np.mean((fresh - weights) ** 2)


@pytest.mark.slow
def test_over_a_span_of_ages_the_mean_distortion_is_the_expected_one():
    device = parse_device("pcm-mushroom")
    for told in (True, False):
        law = law_of(device, parse_ages("1m..10y", told=told))
        design = design_joint_map(law, GAUSSIAN)
        weights = drawn(GAUSSIAN, 60_000).reshape(10, -1)
        code = JointCode(GAUSSIAN, 1.0, np.full(10, 2, np.uint8))
        errors = []
        for channel in law.channels:
            age = channel.age_seconds
            at = channel if told else law
            restored = through_cells(weights, code, device=device, design=law, age=age, law=at)
            errors.append(np.mean((restored - weights) ** 2))
        assert np.mean(errors) == pytest.approx(design.distortion, rel=0.06)


def test_values_beyond_the_reach_take_its_end():
    code = JointCode(GAUSSIAN, 1.0, np.array([2], np.uint8))
    weights = np.array([[-1e30, -50.0, 50.0, 1e30]], np.float32)
    design = design_joint_map(CHANNEL, GAUSSIAN)
    levels = encode_joint(weights, code, CHANNEL).reshape(4, 2)
    ends = [[design.first[i], design.second[i]] for i in (0, -1)]
    np.testing.assert_array_equal(levels, [ends[0], ends[0], ends[1], ends[1]])


def test_a_tensor_of_zeros_comes_back():
    code = JointCode(GAUSSIAN, 0.0, np.array([2, 1], np.uint8))
    restored = through_cells(np.zeros((2, 9), np.float32), code)
    np.testing.assert_array_equal(restored, np.zeros((2, 9)))


@pytest.mark.parametrize("cells", [[1], [2, 2, 1], [1, 2, 1, 2]])
def test_side_information_round_trip_and_size(cells):
    code = JointCode(LAPLACIAN, ceiling(0.0123), np.array(cells, np.uint8))
    data = encode_joint_side(code)
    again = decode_joint_side(data, len(cells))
    assert (again.shape, again.deviation) == (code.shape, code.deviation)
    np.testing.assert_array_equal(again.cells, code.cells)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            decode_joint_side(data[:length], len(cells))
    with pytest.raises(FormatError):
        decode_joint_side(np.append(data, np.uint8(0)), len(cells))


def test_impossible_codes_are_refused():
    for cells in ([0], [3]):
        with pytest.raises(InputError, match="1 to 2 cells"):
            JointCode(0, 1.0, np.array(cells, np.uint8))
    with pytest.raises(InputError, match="shape"):
        JointCode(99, 1.0, np.array([1], np.uint8))
    with pytest.raises(InputError, match="deviation"):
        JointCode(0, np.nan, np.array([1], np.uint8))
    with pytest.raises(InputError, match="shapes go from 0"):
        design_joint_map(CHANNEL, -1)
    with pytest.raises(InputError, match="joint map needs shape"):
        few = np.zeros(3, np.uint8)
        JointMap(1.0, few, few, np.ones(3), 0.1)
    with pytest.raises(FormatError):
        decode_joint_side(np.full(20, 255, np.uint8), 3)
