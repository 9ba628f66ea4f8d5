"""Which readings are set aside, and whether logarithms are taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from softcell.devices.measurements import Table, usable_readings
from softcell.errors import InputError

RANDOM = np.random.default_rng(7)
PLACE = np.repeat(np.arange(5), 40)
OHM = 10 ** (3 + PLACE + 0.05 * RANDOM.standard_normal(200))
MICROSIEMENS = 2 + PLACE + 0.1 * RANDOM.standard_normal(200)


def usable(values, log10=None, resistance=False, texts=None):
    values = np.array(values, np.float64)
    texts = texts or [f"{value:g}" for value in values]
    rows = Table(Path("cell.csv"), {"x": texts}, range(2, len(values) + 2), {})
    inputs = np.arange(5.0)
    return usable_readings(rows, "x", values, PLACE, inputs, log10, resistance=resistance)


def changed(values, rows, value):
    values = np.array(values)
    values[rows] = value
    return values


@pytest.mark.parametrize("value", [0.0, -3.0, np.nan, np.inf, 9.9e37, 9.91e37, 1e38, -1e38, 3.4e38])
@pytest.mark.parametrize("rows", [[7], [7, 50, 90]])
def test_few_of_logarithmic_readings_are_set_aside(value, rows):
    found = usable(changed(OHM, rows, value))
    assert found.log10
    assert np.flatnonzero(~found.kept).tolist() == rows
    assert f"{len(rows)} of 200 readings set aside" in found.notes[0]
    assert np.nanmax(np.abs(found.values - np.log10(OHM))) < 1e-12


@pytest.mark.parametrize("value", [0.0, -999.0, 99999.0, 9.9e37, np.nan])
def test_one_of_linear_readings_is_set_aside(value):
    found = usable(changed(MICROSIEMENS, [7], value))
    assert not found.log10
    assert np.flatnonzero(~found.kept).tolist() == [7]
    assert "1 of 200 readings set aside" in found.notes[0]


def test_a_value_that_comes_again_far_from_the_others_is_set_aside():
    rows = [3, 44, 101, 170]
    assert np.flatnonzero(~usable(changed(MICROSIEMENS, rows, 65535.0)).kept).tolist() == rows
    assert np.flatnonzero(~usable(changed(OHM, rows, 2.5e9)).kept).tolist() == rows
    # 99999 is an everyday reading at one input, and the overflow value all the same
    found = usable(changed(OHM, [*rows, 90], 99999.0))
    assert np.flatnonzero(~found.kept).tolist() == sorted([*rows, 90])


def test_readings_of_a_cell_are_kept_and_told_however_far_they_are():
    found = usable(changed(OHM, [7, 8], [5e8, 6e8]))
    assert found.kept.all()
    assert "2 of 200 readings lie 10 and more deviations" in found.notes[0]
    found = usable(np.round(changed(MICROSIEMENS, [7, 50], 4.0), 1))  # read at other inputs, too
    assert found.kept.all()


def test_one_reading_far_away_is_no_decade():
    assert not usable(changed(MICROSIEMENS, [7], 5000.0)).log10
    assert usable(OHM).log10
    assert usable(MICROSIEMENS, resistance=True).log10


def test_readings_around_zero_are_linear():
    signed = PLACE + 0.3 * RANDOM.standard_normal(200)
    found = usable(signed)
    assert found.kept.all()
    assert not found.log10
    assert "are zero or negative, and the readings are fitted themselves" in found.notes[0]
    assert usable(signed, log10=False).notes == ()
    with pytest.raises(InputError, match=r"of them at input 0: .* no logarithm .*or --linear"):
        usable(signed, log10=True)


def test_zeros_that_the_user_asks_for_are_readings():
    zeros = changed(MICROSIEMENS, [7], 0.0)
    assert usable(zeros, log10=False).kept.all()
    assert not usable(zeros).kept[7]


@pytest.mark.parametrize("rows", [range(0, 200, 3), range(160, 175), range(160, 200)])
@pytest.mark.parametrize("value", [9.9e37, 0.0, np.nan, 99999.0])
def test_many_are_not_set_aside(rows, value):
    with pytest.raises(InputError, match=rf"{len(rows)} of 200 readings .* too many to set aside"):
        usable(changed(OHM, list(rows), value))


def test_a_limit_of_the_instrument_is_told():
    found = usable(np.minimum(OHM, 1e7))
    assert "readings are the largest value exactly, 1e+07: perhaps a limit" in found.notes[-1]


def test_nothing_to_fit():
    with pytest.raises(InputError, match="holds no finite reading"):
        usable(np.full(200, np.nan))
