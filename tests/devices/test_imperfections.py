"""Stuck cells, spread between cells and a coarse read-out, around any device."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.devices import (
    DEVICES,
    GaussianCell,
    IdealCell,
    ReadOut,
    Spread,
    Stuck,
    parse_device,
)
from softcell.errors import InputError
from softcell.streams import Stream

CELLS = 200_000
WRITE, READ = Stream.of(3, "write"), Stream.of(3, "read")


def written(device, level):
    cells = device.write(np.full(CELLS, level, np.float32), stream=WRITE)
    return cells, device.read(cells, stream=READ)


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (0.001, 0.0), (0.0, 0.02), (0.1, 0.3)])
def test_a_fraction_of_the_cells_sticks_at_each_end(low, high):
    cells, read = written(Stuck(IdealCell(), low, high), 0.5)
    for value, fraction in ((0.0, low), (1.0, high)):
        error = np.sqrt(fraction * (1 - fraction) / CELLS)
        assert abs((read == value).mean() - fraction) <= 4.5 * error
    assert (cells.state["stuck"] == (read != 0.5)).all()


def test_the_same_cells_stick_whatever_is_written():
    device = Stuck(IdealCell(), 0.05, 0.05)
    (first, at_low), (second, at_high) = written(device, 0.2), written(device, 0.8)
    stuck = first.state["stuck"]
    assert (stuck == second.state["stuck"]).all()
    assert (at_low[stuck] == at_high[stuck]).all()


def test_no_fraction_takes_no_cell_and_a_whole_takes_all(monkeypatch):
    extremes = np.array([0, 1, 2**32 - 2, 2**32 - 1], np.uint32)
    monkeypatch.setattr(Stream, "words", lambda *_, **__: extremes)
    levels = np.full(4, 0.5, np.float32)

    def stuck(low, high):
        return Stuck(IdealCell(), low, high).write(levels, stream=WRITE).state["reading"].tolist()

    assert stuck(0, 0) == [0.5] * 4
    assert stuck(1, 0) == [0.0] * 4
    assert stuck(0, 1) == [1.0] * 4
    assert stuck(2**-32, 2**-32) == [0.0, 0.5, 0.5, 1.0]


@pytest.mark.parametrize("name", DEVICES)
def test_sound_cells_are_as_without_stuck_ones(name):
    device = parse_device(name)
    levels = Stream.of(5, "levels").uniform(5000)
    plain = device.write(levels, stream=WRITE)
    faulty = Stuck(device, 0.1, 0.1).write(levels, stream=WRITE)
    sound = ~faulty.state["stuck"]
    assert 0.75 < sound.mean() < 0.85
    for key, values in plain.state.items():
        assert (values[sound] == faulty.state[key][sound]).all()


def test_nested_stuck_cells_and_spreads_are_drawn_apart():
    device = Stuck(Stuck(IdealCell(), 0.1), 0.1)
    cells, read = written(device, 0.5)
    assert (read == 0).mean() == pytest.approx(0.19, abs=0.004)
    assert (cells.state["stuck"] == (read == 0)).all()
    cells, read = written(Spread(Spread(IdealCell(), 0.03), 0.04), 0.5)
    assert read.std() == pytest.approx(0.05, rel=0.01)
    assert np.abs(read - 0.5 - cells.state["level_offset"]).max() < 1e-6


@pytest.mark.parametrize("sigma", [0.0, 0.01, 0.1])
def test_spread_shifts_each_cell_once(sigma):
    device = Spread(IdealCell(), sigma)
    cells, read = written(device, 0.5)
    assert read.mean() == pytest.approx(0.5, abs=4.5 * sigma / np.sqrt(CELLS) + 1e-9)
    assert read.std() == pytest.approx(sigma, rel=0.01)
    assert (device.read(cells, stream=READ.named("again")) == read).all()
    assert np.abs(read - 0.5 - cells.state["level_offset"]).max() < 1e-6


def test_spread_stays_within_the_level_range():
    _, read = written(Spread(IdealCell(), 0.1), 0.0)
    assert read.min() == 0.0
    assert (read == 0).mean() == pytest.approx(0.5, abs=0.006)
    _, read = written(Spread(IdealCell(), 0.1), 1.0)
    assert read.max() == 1.0


@pytest.mark.parametrize("bits", [1, 2, 5, 8, 12, 16])
@pytest.mark.parametrize("name", ["pcm-partial-reset", "pcm-mushroom", "rram-wan"])
def test_read_out_rounds_to_the_nearest_of_its_codes(name, bits):
    device = parse_device(name)
    coarse = ReadOut(device, bits)
    cells = coarse.write(Stream.of(5, "levels").uniform(CELLS), stream=WRITE)
    exact = device.read(cells, stream=READ).astype(np.float64)
    read = coarse.read(cells, stream=READ).astype(np.float64)
    codes = np.unique(read)
    low, high = device.span(0.0)
    step = (high - low) / (2**bits - 1)
    assert len(codes) <= 2**bits
    assert len(codes) >= min(2**bits, CELLS) // 4
    inside = (exact >= low) & (exact <= high)
    assert inside.mean() > 0.99999
    assert np.abs(read - exact)[inside].max() <= step / 2 * (1 + 1e-4) + 1e-5
    code = (read - low) / step
    assert np.abs(code - np.rint(code)).max() < 0.01


def test_read_out_takes_the_last_code_beyond_the_span():
    device = ReadOut(GaussianCell(0.0), 4)
    _, read = written(device, 1.0)
    low, high = GaussianCell(0.0).span(0.0)
    assert read.max() <= np.float32(high)
    cells = GaussianCell(0.0).write(np.ones(2, np.float32), stream=WRITE)
    far = cells.with_state(reading=np.array([-99.0, 99.0], np.float32))
    assert device.read(far, stream=READ) == pytest.approx([low, high], rel=1e-6)


def test_codes_stay_where_they_were_as_the_cell_drifts():
    device = parse_device("pcm-mushroom+readout:bits=4")
    cells = device.write(np.full(CELLS, 1.0, np.float32), stream=WRITE)
    fresh, old = (device.read(device.age(cells, age), stream=READ) for age in (0.0, 3e8))
    codes = np.linspace(*device.of.span(0.0), 16).astype(np.float32)
    assert np.isin(fresh, codes).all()
    assert np.isin(old, codes).all()
    assert old.mean() < 0.6 * fresh.mean()


def test_all_three_compose_in_any_order():
    parts = ["+stuck:low=0.2", "+spread:sigma=0.02", "+readout:bits=4"]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        device = parse_device("ideal" + "".join(parts[i] for i in order))
        cells, read = written(device, 0.6)
        assert cells.state["stuck"].mean() == pytest.approx(0.2, abs=0.005)
        # The step of the code is 1/15; a cell stuck at level 0 stays within the spread of it.
        assert (read < 0.2).mean() == pytest.approx(0.2, abs=0.005)
        assert read[~cells.state["stuck"]].mean() == pytest.approx(0.6, abs=0.03)
        assert len(np.unique(read)) <= 16


@pytest.mark.parametrize("name", DEVICES)
def test_wrappers_keep_axes_and_source(name):
    device = parse_device(name)
    wrapped = parse_device(name + "+stuck:low=0.1+spread+readout")
    assert wrapped.level_axis == device.level_axis
    assert wrapped.reading_axis == device.reading_axis
    assert wrapped.source == device.source
    assert wrapped.name == f"{device.name}+stuck:low=0.1,high=0+spread:sigma=0.02+readout:bits=8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ideal+stuck:low=-0.1", "fractions of the cells"),
        ("ideal+stuck:low=0.6,high=0.5", "fractions of the cells"),
        ("ideal+stuck:low=nan", "fractions of the cells"),
        ("ideal+spread:sigma=-1", "sigma must lie in"),
        ("ideal+spread:sigma=nan", "sigma must lie in"),
        ("ideal+readout:bits=0", "integer from 1 to 16, got 0"),
        ("ideal+readout:bits=2.5", "integer from 1 to 16, got 2.5"),
        ("ideal+readout:bits=17", "integer from 1 to 16, got 17"),
        ("ideal+readout:bits=nan", "integer from 1 to 16, got nan"),
    ],
)
def test_options_out_of_range_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_device(text)
