"""Cells have a history: ages compose, drift lowers, relaxation spreads, blocks do not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softcell.devices import DEVICES, Cells, Device, MushroomCell, WanCell, parse_device
from softcell.errors import InputError
from softcell.streams import Stream

CELLS = 100_000
WRAPPED = "+spread:sigma=0.05+stuck:low=0.1,high=0.1+readout:bits=5"
ALL = [*DEVICES, *(name + WRAPPED for name in DEVICES)]
WRITE, READ = Stream.of(7, "write"), Stream.of(7, "read")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("first", "second"), [(0.0, 60.0), (1.0, 3599.0), (86_400.0, 3e8)])
def test_ages_compose(name, first, second):
    device = parse_device(name)
    cells = device.write(np.linspace(0, 1, 2000, dtype=np.float32), stream=WRITE)
    twice = device.age(device.age(cells, first), second)
    once = device.age(cells, first + second)
    assert twice.age_seconds == once.age_seconds == first + second
    assert (device.read(twice, stream=READ) == device.read(once, stream=READ)).all()
    assert cells.age_seconds == 0.0


@pytest.mark.parametrize("name", ALL)
def test_reading_and_ageing_leave_the_cells_as_they_are(name):
    device = parse_device(name)
    cells = device.write(np.linspace(0, 1, 2000, dtype=np.float32), stream=WRITE)
    before = {key: values.copy() for key, values in cells.state.items()}
    first = device.read(cells, stream=READ)
    device.read(device.age(cells, 1e6), stream=READ.named("other"))
    assert (device.read(cells, stream=READ) == first).all()
    for key, values in before.items():
        assert (cells.state[key] == values).all()


@settings(deadline=None, max_examples=8)
@given(start=st.integers(0, 2**40), count=st.integers(1, 6000), cut=st.integers(0, 6000))
@pytest.mark.parametrize("name", [name + WRAPPED for name in DEVICES])
def test_a_cell_does_not_depend_on_its_block_or_its_neighbours(name, start, count, cut):
    device = parse_device(name)
    cut = min(cut, count)
    levels = Stream.of(1, "levels").uniform(count)

    def run(levels: np.ndarray, offset: int) -> tuple[Cells, np.ndarray]:
        cells = device.write(levels, stream=WRITE.at(start + offset))
        return cells, device.read(device.age(cells, 1e5), stream=READ.at(start + offset))

    whole, read = run(levels, 0)
    (left, read_left), (right, read_right) = run(levels[:cut], 0), run(levels[cut:], cut)
    assert (read == np.concatenate([read_left, read_right])).all()
    assert whole.state.keys() == left.state.keys()
    for key, values in whole.state.items():
        assert (values == np.concatenate([left.state[key], right.state[key]])).all()
    others = levels.copy()
    others[:cut] = 1 - others[:cut]
    assert (run(others, 0)[1][cut:] == read[cut:]).all()


@pytest.mark.parametrize("name", DEVICES)
def test_no_cells_at_all_are_cells_too(name):
    device = parse_device(name + WRAPPED)
    cells = device.write(np.zeros(0, np.float32), stream=WRITE)
    assert len(cells) == 0
    assert device.read(device.age(cells, 5.0), stream=READ).shape == (0,)


@pytest.mark.parametrize(("g", "exponent"), [(0.1, 0.06009), (0.3, 0.049), (1.0, 0.049)])
def test_mushroom_conductance_falls_as_a_power_of_time(g, exponent):
    """Slope of ln g over ln t is minus the mean exponent: -0.0155 ln g + 0.0244, from 0.049."""
    device = MushroomCell()
    cells = device.write(np.full(CELLS, g, np.float32), stream=WRITE)
    ages = np.array([0.0, 100.0, 1e4, 1e6, 3e8])
    mean = []
    for age in ages:
        read = device.read(device.age(cells, age), stream=READ.named(str(age))).astype(np.float64)
        mean.append(np.log(np.maximum(read, 1e-3)).mean())
    slope = np.polyfit(np.log((ages + 20) / 20), mean, 1)[0]
    assert slope == pytest.approx(-exponent, rel=0.02)
    assert (np.diff(mean) < 0).all()


def test_mushroom_cells_with_larger_exponents_fall_further():
    device = MushroomCell()
    cells = device.write(np.full(CELLS, 0.5, np.float32), stream=WRITE)
    later = device.read(device.age(cells, 1e8), stream=READ.named("later"))
    fallen = np.log(later / cells.state["conductance"])
    correlation = np.corrcoef(fallen, cells.state["drift_exponent"])[0, 1]
    assert correlation < -0.7


def test_mushroom_drift_is_exact_where_nothing_else_acts():
    """g (t / 20 s)^-nu in the kernel's float32 against float64, up to a hundred years."""
    from softcell.devices.mushroom import _read

    conductance = np.linspace(0, 30, 1001, dtype=np.float32)
    exponent = np.linspace(0.4, 0, 1001, dtype=np.float32)
    for age in (0.0, 1.0, 3600.0, 3.15e9):
        ratio = (age + 20.0) / 20.0
        read = np.ones(1001, np.float32)
        _read(conductance, exponent, np.float32(np.log2(ratio)), np.zeros(9, np.float32), read)
        expected = conductance * ratio ** -exponent.astype(np.float64)
        assert read == pytest.approx(expected, rel=2e-6)


def test_wan_spread_grows_and_keeps_the_cells_first_deviation():
    device = WanCell(read_noise=0.0)
    cells = device.write(np.full(CELLS, 0.75, np.float32), stream=WRITE)
    ages = [0.0, 60.0, 3600.0, 86_400.0, 1e8]
    deviation = [
        device.read(device.age(cells, age), stream=READ).astype(np.float64) - 30.0 for age in ages
    ]
    sigma = [d.std() for d in deviation]
    assert (np.diff(sigma) > 0.01).all()
    first = deviation[0]
    for later, spread in zip(deviation[1:], sigma[1:]):
        # g(t) = g(1 s) + an independent rest: the first deviation stays whole inside the later.
        assert np.mean(first * later) / np.mean(first**2) == pytest.approx(1, abs=0.02)
        assert np.corrcoef(first, later)[0, 1] == pytest.approx(sigma[0] / spread, abs=0.015)
    # One way for each cell: between two later times the rest is the same, only larger.
    rests = [d - first for d in deviation[1:]]
    assert np.corrcoef(rests[0], rests[-1])[0, 1] > 0.9999


def test_wan_spread_beyond_two_days_goes_on_with_the_logarithm_of_time():
    device = WanCell(read_noise=0.0)
    cells = device.write(np.full(CELLS, 1.0, np.float32), stream=WRITE)

    def sigma(seconds: float) -> float:
        return float(device.read(device.age(cells, seconds - 1), stream=READ).std())

    start, two_days, later = sigma(1), sigma(172_800), sigma(172_800.0**2)
    assert later - two_days == pytest.approx(two_days - start, rel=0.03)


@pytest.mark.parametrize("name", ["pcm-partial-reset", "pcm-sweep", "rram-reset", "gaussian"])
def test_cells_whose_ageing_is_not_known_do_not_age(name):
    device: Device = parse_device(name)
    cells = device.write(np.linspace(0, 1, 100, dtype=np.float32), stream=WRITE)
    old = device.age(cells, 1e9)
    assert old.age_seconds == 1e9
    assert (device.read(old, stream=READ) == device.read(cells, stream=READ)).all()


@pytest.mark.parametrize("seconds", [-1.0, np.nan, np.inf])
def test_times_that_cannot_pass_are_refused(seconds):
    cells = MushroomCell().write(np.zeros(3, np.float32), stream=WRITE)
    with pytest.raises(InputError, match="finite time of at least 0 s"):
        MushroomCell().age(cells, seconds)
    with pytest.raises(InputError, match="finite and at least 0 s"):
        Cells({"reading": np.zeros(3)}, seconds)


def test_cells_with_properties_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="one value for each cell"):
        Cells({"a": np.zeros(3), "b": np.zeros(4)})
    with pytest.raises(InputError, match="one value for each cell"):
        Cells({})
