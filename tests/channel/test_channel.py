"""The law of a cell: capacity, moments, bins, posterior means and log-likelihood ratios."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from softcell.channel import (
    MISSING,
    READINGS,
    Channel,
    capacity,
    channel_of,
    log_likelihood_ratios,
    mutual_information,
    posterior_mean,
    with_missing,
)
from softcell.devices import DEVICES, LEVELS, parse_device
from softcell.errors import InputError
from softcell.streams import Stream


@pytest.mark.parametrize(
    ("name", "bits", "tolerance"),
    [
        ("pcm-partial-reset", 2.65, 0.03),
        ("pcm-sweep", 1.48, 0.03),
        ("ideal", 8.0, 1e-6),
        ("ideal+readout:bits=3", 3.0, 1e-3),
    ],
)
def test_capacity_of_cells_that_are_known(name, bits, tolerance):
    found = channel_of(parse_device(name)).capacity
    assert found.bits == pytest.approx(bits, abs=tolerance)
    assert found.gap_bits <= 1e-4


def plain_blahut_arimoto(matrix: np.ndarray, steps: int) -> float:
    p = np.full(len(matrix), 1 / len(matrix))
    entropy = np.where(matrix > 0, matrix * np.log2(np.maximum(matrix, 1e-300)), 0).sum(axis=1)
    for _ in range(steps):
        divergence = entropy - matrix @ np.log2(np.maximum(p @ matrix, 1e-300))
        p = p * np.exp2(divergence)
        p /= p.sum()
    return float(p @ (entropy - matrix @ np.log2(np.maximum(p @ matrix, 1e-300))))


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_capacity_of_the_gaussian_cell_is_that_of_its_normal_laws(snr_db):
    sigma = np.sqrt(10 ** (-snr_db / 10) / 12)
    edges = np.concatenate([[-np.inf], np.linspace(-6 * sigma, 1 + 6 * sigma, 1500), [np.inf]])
    law = np.diff(norm.cdf(edges, np.linspace(0, 1, LEVELS)[:, None], sigma), axis=1)
    direct = plain_blahut_arimoto(law, 500)
    found = channel_of(parse_device(f"gaussian:snr_db={snr_db}")).capacity
    assert found.bits == pytest.approx(direct, abs=0.003)


def test_capacity_of_a_stuck_ideal_cell_by_hand():
    # Fraction e always reads level 0: a Z-like channel, whose capacity with two levels is known.
    device = parse_device("ideal+stuck:low=0.5")
    channel = channel_of(device).only(np.array([0, LEVELS - 1]))
    assert channel.capacity.bits == pytest.approx(np.log2(1.25), abs=1e-4)


@pytest.mark.parametrize("name", DEVICES)
def test_more_bins_of_readings_would_hardly_add_capacity(name):
    device = parse_device(name)
    levels = np.linspace(0, 1, LEVELS)
    edges = np.concatenate([[-np.inf], np.linspace(*device.span(1e8), 2 * READINGS), [np.inf]])
    finer = capacity(device.law(levels, edges, 1e8)).bits
    assert channel_of(device, 1e8).capacity.bits == pytest.approx(finer, abs=0.002)


@pytest.mark.parametrize("name", ["pcm-mushroom", "rram-wan"])
def test_capacity_falls_with_age(name):
    device = parse_device(name)
    bits = [channel_of(device, age).capacity.bits for age in (0.0, 86_400.0, 3e8)]
    assert bits[0] > bits[1] + 0.02 > bits[2] + 0.04


@pytest.mark.parametrize("name", ["pcm-partial-reset", "pcm-mushroom", "rram-wan", "gaussian"])
def test_moments_are_those_of_simulated_readings(name):
    device = parse_device(name)
    channel = channel_of(device, 3600.0)
    for index in (0, 90, 255):
        levels = np.full(100_000, channel.levels[index], np.float32)
        cells = device.write(levels, stream=Stream.of(index, "write"))
        read = device.read(device.age(cells, 3600.0), stream=Stream.of(index, "read"))
        step = channel.edges[2] - channel.edges[1]
        error = read.std() / np.sqrt(len(read))
        assert channel.mean[index] == pytest.approx(read.mean(), abs=5 * error + 0.6 * step)
        assert channel.deviation[index] == pytest.approx(read.std(), abs=4 * error + 0.3 * step)


def test_bins_are_between_their_edges():
    channel = channel_of(parse_device("gaussian"))
    readings = np.random.default_rng(0).uniform(-0.5, 1.5, (50, 100)).astype(np.float32)
    bins = channel.bins(readings)
    assert bins.shape == readings.shape
    assert (channel.edges[bins] <= readings).all()
    assert (readings < channel.edges[bins + 1]).all()
    inside = (bins > 0) & (bins < READINGS - 1)
    step = channel.edges[2] - channel.edges[1]
    assert np.abs(channel.readings[bins] - readings)[inside].max() <= 0.501 * step
    assert channel.bins(np.array([-1e30, 1e30])).tolist() == [0, READINGS - 1]
    assert channel.bins(np.array([-np.inf, np.inf])).tolist() == [0, READINGS - 1]
    assert (np.diff(channel.readings) > 0).all()


def test_a_missing_reading_has_a_bin_of_its_own_that_says_nothing():
    channel = channel_of(parse_device("gaussian"))
    assert channel.bins(np.array([0.5, np.nan]))[1] == MISSING == READINGS
    widened = with_missing(channel.matrix)
    assert (widened[:, :MISSING] == channel.matrix).all()
    assert (widened[:, MISSING] == 1).all()


def test_a_channel_of_chosen_levels_keeps_their_rows():
    channel = channel_of(parse_device("pcm-partial-reset"))
    few = channel.only(np.array([255, 7, 172]))
    assert few.levels.tolist() == [1.0, 7 / 255, 172 / 255]
    assert (few.matrix == channel.matrix[[255, 7, 172]]).all()
    assert few.capacity.bits < np.log2(3) < channel.capacity.bits


def test_channels_are_those_of_their_device_and_age():
    mushroom, other = parse_device("pcm-mushroom"), parse_device("pcm-mushroom+stuck:low=0.01")
    assert channel_of(mushroom, 60.0) is channel_of(parse_device("pcm-mushroom"), 60.0)
    assert channel_of(mushroom, 60.0).age_seconds == 60.0
    assert not (channel_of(mushroom, 0.0).matrix == channel_of(mushroom, 60.0).matrix).all()
    assert not (channel_of(other, 0.0).matrix == channel_of(mushroom, 0.0).matrix).all()


@pytest.mark.parametrize("age", [-1.0, np.nan, np.inf])
def test_ages_that_are_none_are_refused(age):
    with pytest.raises(InputError, match="finite and at least 0 s"):
        channel_of(parse_device("ideal"), age)


def test_a_matrix_of_another_shape_is_refused():
    with pytest.raises(InputError, match="2 levels and 3 bins"):
        Channel(np.array([0.0, 1.0]), np.array([-np.inf, 0, 1, np.inf]), np.ones((3, 2)))


THREE = np.array([[0.7, 0.2, 0.1, 0.0], [0.1, 0.8, 0.1, 0.0], [0.0, 0.1, 0.9, 0.0]])


def test_posterior_mean_by_hand():
    prior, values = np.array([0.5, 0.25, 0.25]), np.array([-2.0, 1.0, 4.0])
    found = posterior_mean(THREE, prior, values)
    # Bin 0: weights 0.35, 0.025, 0; bin 1: 0.1, 0.2, 0.025; bin 2: 0.05, 0.025, 0.225.
    expected = [(-0.7 + 0.025) / 0.375, (-0.2 + 0.2 + 0.1) / 0.325, (-0.1 + 0.025 + 0.9) / 0.3]
    assert found[:3] == pytest.approx(expected)
    assert found[3] == pytest.approx(0.25)  # no symbol reaches it: the prior's mean
    # No constant, and no other function of the bin, has a lower mean square error.
    joint = prior[:, None] * THREE

    def error(estimate):
        return float((joint * (values[:, None] - estimate) ** 2).sum())

    for bin_ in range(3):
        for change in (-0.01, 0.01):
            assert error(found + change * (np.arange(4) == bin_)) > error(found)


def test_log_likelihood_ratios_by_hand():
    labels = np.array([[0, 0], [0, 1], [1, 1]])
    ratios = log_likelihood_ratios(THREE, labels)
    assert ratios.shape == (2, 4)
    assert ratios[0, :3] == pytest.approx([700.0, np.log(1.0 / 0.1), np.log(0.2 / 0.9)])
    assert ratios[1, :3] == pytest.approx([np.log(0.7 / 0.1), np.log(0.2 / 0.9), np.log(0.1)])
    assert ratios[:, 3].tolist() == [0.0, 0.0]
    weighted = log_likelihood_ratios(THREE, labels, np.array([0.5, 0.25, 0.25]))
    assert weighted[1, 1] == pytest.approx(np.log(0.1 / (0.2 + 0.025)))
    assert weighted[0, 2] == pytest.approx(np.log((0.05 + 0.025) / 0.225))


def test_ratios_point_to_the_bit_that_was_written():
    channel = channel_of(parse_device("gaussian:snr_db=12"))
    rows = channel.only(np.array([0, 85, 170, 255]))
    labels = np.array([[0, 0], [0, 1], [1, 1], [1, 0]])
    ratios = log_likelihood_ratios(rows.matrix, labels)
    for symbol, bits in enumerate(labels):
        written = np.full(20_000, rows.levels[symbol], np.float32)
        device = parse_device("gaussian:snr_db=12")
        read = device.read(device.write(written, stream=Stream.of(symbol, "w")), stream=Stream(0))
        mean = ratios[:, channel.bins(read)].mean(axis=1)
        assert (np.sign(mean) == 1 - 2 * bits).all()
        assert (np.abs(mean) > 1).all()


def test_information_of_four_good_levels_is_two_bits():
    channel = channel_of(parse_device("gaussian:snr_db=40"))
    rows = channel.matrix[[0, 85, 170, 255]]
    assert mutual_information(rows, np.full(4, 0.25)) == pytest.approx(2.0, abs=1e-9)
