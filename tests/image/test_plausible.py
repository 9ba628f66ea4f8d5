"""Readings that a device cannot have given, and what is told of them."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.devices import SimulatedCells, parse_device
from softcell.image.plausible import implausible, plausible_readings, reading_range

LOGARITHMIC, LINEAR = "pcm-partial-reset", "pcm-mushroom"
DEVICES = ["pcm-partial-reset", "pcm-mushroom", "rram-wan", "rram-reset", "gaussian:snr_db=20"]
YEAR = 3.15e7


def chip(name: str, cells: int = 2000, age: float = 0.0):
    device = parse_device(name)
    levels = np.random.default_rng(3).integers(0, 256, cells).astype(np.uint8)
    simulated = SimulatedCells(device, 1)
    read = simulated.read("store", device.age(simulated.write("store", levels), age))
    return device, levels, device.reading_axis.to_unit(read)


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("age", [0.0, YEAR])
def test_what_a_device_reads_is_believed(name: str, age: float):
    device, levels, values = chip(name, age=age)
    found = implausible(values, device, [age], levels)
    assert (found.count, found.missing, found.reason, found.whole) == (0, 0, "", False)
    np.testing.assert_allclose(
        plausible_readings(values, device, [age]),
        device.reading_axis.from_unit(values),
        rtol=1e-6,
    )


@pytest.mark.parametrize("name", ["pcm-partial-reset", "pcm-mushroom", "rram-wan", "rram-reset"])
@pytest.mark.parametrize("factor", [1e-3, 1e3, 1e-6, 1e6])
def test_another_unit_is_told_where_levels_are_known(name: str, factor: float):
    device, levels, values = chip(name)
    found = implausible(values * factor, device, [0.0], levels)
    assert found.whole
    assert f"multiplied by {1 / factor:g}:" in found.reason
    few = implausible(values[:40] * factor, device, [0.0], levels[:40])
    assert few.whole


@pytest.mark.parametrize(("factor", "wanted"), [(1e-3, "1000"), (1e-6, "1e+06"), (1e3, "0.001")])
def test_another_unit_is_told_without_levels(factor: float, wanted: str):
    device, _, values = chip(LOGARITHMIC)
    found = implausible(values * factor, device, [0.0])
    assert found.count > 0.8 * found.cells
    assert f"multiplied by {wanted}:" in found.reason


def test_logarithms_and_another_quantity_are_told():
    device, levels, values = chip(LOGARITHMIC)
    assert "they are logarithms" in implausible(np.log10(values), device, [0.0], levels).reason
    assert "1e+06/reading" in implausible(1e6 / values, device, [0.0]).reason


@pytest.mark.parametrize("value", [9.9e37, np.inf, -9.9e37])
def test_the_overflow_value_of_an_instrument_is_told(value: float):
    device, levels, values = chip(LINEAR)
    values[[3, 500]] = value
    found = implausible(values, device, [0.0], levels)
    assert found.count == 2
    assert "beyond its range" in found.reason
    assert np.flatnonzero(np.isnan(plausible_readings(values, device, [0.0]))).tolist() == [3, 500]


def test_dead_cells_are_missing_and_zeros_are_no_resistance():
    device, levels, values = chip(LOGARITHMIC)
    values[[0, 7]], values[9] = np.nan, 0
    found = implausible(values, device, [0.0], levels)
    assert (found.missing, found.count) == (2, 1)
    assert "0 or less is no resistance" in found.reason
    assert np.isnan(plausible_readings(values, device, [0.0])).sum() == 3


def test_one_odd_cell_is_no_matter_of_units():
    device, levels, values = chip(LOGARITHMIC)
    values[5] *= 1e3
    found = implausible(values, device, [0.0], levels)
    assert found.count == 1
    assert found.reason == "such cells are stuck or broken"


@pytest.mark.parametrize("name", ["pcm-partial-reset", "pcm-mushroom", "rram-reset"])
def test_cells_that_do_not_follow_their_levels_are_told(name: str):
    device, levels, values = chip(name)
    for others in (np.roll(values, 1), values[::-1], np.full_like(values, np.median(values))):
        found = implausible(others, device, [0.0], levels)
        assert found.whole
        assert "never programmed" in found.reason


def test_the_same_level_throughout_says_nothing_of_the_order():
    device = parse_device(LOGARITHMIC)
    levels = np.full(1000, 90, np.uint8)
    cells = SimulatedCells(device, 1)
    values = device.reading_axis.to_unit(cells.read("store", cells.write("store", levels)))
    assert implausible(values, device, [0.0], levels).count == 0


def test_a_worse_chip_than_its_law_is_believed():
    device, levels, _ = chip(LINEAR)
    worse = chip("pcm-mushroom+stuck:low=0.02,high=0.02+spread:sigma=0.1")[2] * 1.1
    assert implausible(worse, device, [0.0], levels).count < 20


def test_an_offset_of_quiet_cells_is_no_other_unit():
    device = parse_device(LINEAR)
    values = np.random.default_rng(0).normal(4.0, 0.3, 500)
    assert implausible(values, device, [0.0], np.zeros(500, np.uint8)).count == 0


def test_ages_widen_the_range():
    device = parse_device(LINEAR)
    low, high = reading_range(device, [0.0, YEAR])
    assert low <= reading_range(device, [0.0])[0]
    assert high >= reading_range(device, [YEAR])[1]


def test_nothing_read_is_nothing_strange():
    device = parse_device(LOGARITHMIC)
    assert implausible(np.empty(0), device, [0.0], np.empty(0, np.uint8)).count == 0
    none = implausible(np.full(9, np.nan), device, [0.0], np.zeros(9, np.uint8))
    assert (none.missing, none.count, none.whole) == (9, 0, False)
