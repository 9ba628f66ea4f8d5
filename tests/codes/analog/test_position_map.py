"""Maps between positions and levels: linear mean readings, unbiased decoding, true moments."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.channel import channel_of
from softcell.codes.analog.position_map import (
    GRID,
    POSITIONS,
    PositionMap,
    decoder,
    full_scale_map,
    inverted_map,
    moments,
    monotone_run,
)
from softcell.devices import parse_device
from softcell.streams import Stream

TEN_YEARS = 10 * 365.25 * 86_400
DEVICES = ["pcm-partial-reset", "pcm-sweep", "rram-reset", "pcm-mushroom", "rram-wan"]


def run_of(name: str, age: float = 0.0):
    channel = channel_of(parse_device(name), age)
    return channel, *monotone_run(channel.mean)


def test_partial_reset_uses_the_rising_side_from_2_20_to_2_95_volts():
    device = parse_device("pcm-partial-reset")
    channel, first, last = run_of("pcm-partial-reset")
    volts = device.level_axis.to_unit(channel.levels[[first, last]])
    np.testing.assert_allclose(volts, [2.20, 2.95], atol=0.006)
    assert channel.mean[first] < channel.mean[last]


def test_the_sweep_cell_falls_from_the_weakest_pulse():
    channel, first, last = run_of("pcm-sweep")
    assert first == 0
    assert channel.mean[first] > channel.mean[last]
    assert (np.diff(channel.mean[first : last + 1]) <= 0).all()


@pytest.mark.parametrize(
    ("mean", "run"),
    [
        ([0.0, 1.0, 2.0, 3.0], (0, 3)),
        ([3.0, 2.0, 1.0, 0.0], (0, 3)),
        ([0.0, 5.0, 3.0, 1.0, -1.0, 0.5], (1, 4)),  # falls by 6 after rising by 5
        ([0.0, 1.0, 1.0, 2.0, 2.0, 0.0], (0, 3)),  # a step of a read-out is no end
        ([2.0, 2.0, 2.0], (0, 2)),
        ([0.0, 1.0, 0.0, 1.0 + 1e-3], (2, 3)),
    ],
)
def test_monotone_run(mean, run):
    assert monotone_run(np.array(mean)) == run


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize(("start", "stop"), [(0.0, 1.0), (1.0, 0.0), (0.25, 0.75)])
def test_mean_reading_is_linear_in_the_position(name, start, stop):
    channel, first, last = run_of(name)
    low, high = sorted((channel.mean[first], channel.mean[last]))
    position = np.linspace(0, 1, POSITIONS)
    expected = low + (start + position * (stop - start)) * (high - low)
    got = channel.mean[inverted_map(channel, start, stop).levels]
    # No further off than half of the widest step between two neighbouring levels.
    widest = np.abs(np.diff(channel.mean[first : last + 1])).max()
    assert np.abs(got - expected).max() <= widest / 2 + 1e-9
    slope = np.polyfit(position, got, 1)[0]
    assert slope == pytest.approx((stop - start) * (high - low), rel=0.02)


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("age", [0.0, TEN_YEARS])
@pytest.mark.parametrize(("start", "stop"), [(0.0, 1.0), (1.0, 0.0)])
def test_decoder_inverts_the_mean_response_at_the_age_of_reading(name, age, start, stop):
    design = channel_of(parse_device(name), 0.0)
    at_reading = channel_of(parse_device(name), age)
    position_map = inverted_map(design, start, stop)
    table = decoder(position_map, at_reading)
    got = table.at(at_reading.mean[position_map.levels])
    assert np.abs(got - np.linspace(0, 1, POSITIONS)).max() < 0.02
    assert got[0] == pytest.approx(0, abs=2e-3)
    assert got[-1] == pytest.approx(1, abs=2e-3)


def test_drift_that_all_cells_share_is_undone():
    """Ten years halve the mean conductance; a decoder of the fresh cell would halve the values."""
    device = parse_device("pcm-mushroom")
    fresh, old = channel_of(device), channel_of(device, TEN_YEARS)
    position_map = inverted_map(fresh)
    aware = moments(position_map, old).mean
    blind = old.matrix[position_map.levels[POSITIONS // 2]] @ decoder(position_map, fresh).at(
        old.readings
    )
    middle = np.linspace(0, 1, GRID)[GRID // 4 : -GRID // 4]
    assert np.abs(aware[GRID // 4 : -GRID // 4] - middle).max() < 0.02
    assert blind < 0.35


@pytest.mark.parametrize("name", [*DEVICES, "gaussian:snr_db=18", "ideal"])
def test_estimates_are_unbiased_inside(name):
    channel = channel_of(parse_device(name))
    found = moments(inverted_map(channel), channel)
    inside = slice(GRID // 3, -GRID // 3)
    error = found.mean[inside] - np.linspace(0, 1, GRID)[inside]
    assert np.abs(error).mean() < 0.01


def test_the_ends_are_pulled_inward_by_clipping():
    channel = channel_of(parse_device("gaussian:snr_db=10"))
    found = moments(inverted_map(channel), channel)
    # E max(X, 0) of a normal X of mean 0 is sigma / sqrt(2 pi).
    sigma = np.sqrt(10 ** (-10 / 10) / 12)
    assert found.mean[0] == pytest.approx(sigma / np.sqrt(2 * np.pi), rel=0.05)
    assert found.mean[-1] == pytest.approx(1 - sigma / np.sqrt(2 * np.pi), rel=0.05)
    assert found.variance[GRID // 2] == pytest.approx(sigma**2, rel=0.05)


@pytest.mark.parametrize(
    ("name", "age"),
    [
        ("pcm-partial-reset", 0.0),
        ("pcm-sweep", 0.0),
        ("rram-reset", 0.0),
        ("pcm-mushroom", TEN_YEARS),
        ("rram-wan", 86_400.0),
        ("pcm-partial-reset+stuck:low=0.02,high=0.01", 0.0),
        ("pcm-mushroom+readout:bits=4", 3600.0),
    ],
)
@pytest.mark.parametrize(("start", "stop"), [(0.0, 1.0), (1.0, 0.25)])
def test_moments_equal_what_the_device_does(name, age, start, stop):
    device, cells = parse_device(name), 60_000
    channel = channel_of(device, age)
    position_map = inverted_map(channel, start, stop)
    found, table = moments(position_map, channel), decoder(position_map, channel)
    for place in (0, GRID // 4, GRID // 2, GRID - 1):
        level = position_map.levels[round(place * (POSITIONS - 1) / (GRID - 1))]
        levels = np.full(cells, level / 255, np.float32)
        written = device.write(levels, stream=Stream.of(place, "write"))
        readings = device.read(device.age(written, age), stream=Stream.of(place, "read"))
        got = table.at(readings)
        error = 5 * np.sqrt(found.variance[place] / cells)
        assert got.mean() == pytest.approx(found.mean[place], abs=error + 2e-3)
        error = 5 * np.sqrt(((got - got.mean()) ** 2).var() / cells)
        assert got.var() == pytest.approx(found.variance[place], rel=0.03, abs=error + 2e-5)


def test_full_scale_map_is_blind_and_decodes_along_a_straight_line():
    channel = channel_of(parse_device("pcm-sweep"))  # its response falls
    table = decoder(full_scale_map(), channel)
    ends = channel.mean[[0, 255]]
    np.testing.assert_allclose(
        table.at(np.array([ends[0], ends.mean(), ends[1]])), [0, 0.5, 1], atol=2e-3
    )


def test_a_response_that_returns_to_where_it_began_does_not_divide_by_zero():
    channel = channel_of(parse_device("ideal"))
    hump = channel.only(np.concatenate([np.arange(128), np.arange(127, -1, -1)]))
    position = decoder(full_scale_map(), hump).at(hump.readings)
    assert np.isfinite(position).all()


@pytest.mark.parametrize("name", ["ideal", "gaussian:snr_db=60"])
def test_a_coarse_read_out_keeps_the_whole_range(name):
    """Sixteen codes: the response is a staircase, and the map spans all of its steps."""
    channel = channel_of(parse_device(f"{name}+readout:bits=4"))
    position_map = inverted_map(channel)
    decoded = moments(position_map, channel).mean
    assert np.abs(decoded - np.linspace(0, 1, GRID)).max() < 0.75 / 15
    assert np.abs(decoded - np.linspace(0, 1, GRID)).mean() < 0.35 / 15
    assert len(np.unique(decoded.round(2))) >= 16


def test_a_map_of_one_level_stands_for_the_middle():
    channel = channel_of(parse_device("ideal"))
    position_map = PositionMap(np.full(POSITIONS, 77, np.uint8))
    assert (decoder(position_map, channel).at(channel.readings) == 0.5).all()


def test_readings_beyond_the_ends_take_the_ends():
    channel = channel_of(parse_device("pcm-partial-reset"))
    table = decoder(inverted_map(channel), channel)
    assert table.at(np.array([-1e9, 1e9])).tolist() == pytest.approx([0, 1])
