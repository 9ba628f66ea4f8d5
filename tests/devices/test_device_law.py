"""The law that a device states is the law of what it writes, ages and reads."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.channel import channel_of
from softcell.devices import DEVICES, LEVELS, Device, mixture, parse_device
from softcell.devices.mixture import mixture_law
from softcell.streams import Stream

CELLS = 100_000
# Kolmogorov's 1 in 10,000 for so many cells, and 0.002 for quadrature.
DISTANCE = 2.23 / np.sqrt(CELLS) + 0.002
YEAR = 365.25 * 86_400.0
LEVELS_TRIED = (0.0, 1 / 255, 3 / 255, 0.02, 0.1, 0.35, 0.7, 200 / 255, 1.0)
ALL_THREE = "+spread:sigma=0.03+stuck:low=0.05,high=0.02+readout:bits=6"
PLAIN = [*DEVICES, "gaussian:snr_db=0", "gaussian:snr_db=40", "gaussian:snr_db=80"]
WRAPPED = [
    *(name + ALL_THREE for name in DEVICES),
    "pcm-partial-reset:law=empirical" + ALL_THREE,
    "rram-reset:law=empirical,read_noise=0.2+readout:bits=7",
    "gaussian:snr_db=45+spread:sigma=0.01",
    "ideal+spread:sigma=0.02",
    "gaussian:snr_db=30+spread:sigma=0.02+spread:sigma=0.03",
    "gaussian+stuck:low=0.1+stuck:low=0.1,high=0.1",
    "pcm-mushroom+readout:bits=3",
    "ideal+readout:bits=8",
    "ideal+readout:bits=5+readout:bits=4",
    "rram-wan:read_noise=0+spread:sigma=0.001",
    "rram-wan:read_noise=0.05+readout:bits=16",
    "gaussian:snr_db=30+readout:bits=5+spread:sigma=0.02+stuck:high=0.3",
]


def readings(device: Device, level: float, age: float) -> np.ndarray:
    levels = np.full(CELLS, level, np.float32)
    cells = device.write(levels, stream=Stream.of(4, "write"))
    return device.read(device.age(cells, age), stream=Stream.of(4, "read"))


def distances(device: Device, age: float) -> list[float]:
    """Kolmogorov's distance between law and readings of each level, over the channel's bins."""
    channel = channel_of(device, age)
    law = device.law(np.array(LEVELS_TRIED), channel.edges, age)
    bins = [channel.bins(readings(device, level, age)) for level in LEVELS_TRIED]
    counts = np.stack([np.bincount(b, minlength=law.shape[1]) for b in bins])
    return np.abs(np.cumsum(counts / CELLS - law, axis=1)).max(axis=1).tolist()


@pytest.mark.parametrize("name", [*PLAIN, *WRAPPED])
@pytest.mark.parametrize("age", [0.0, 3600.0, 10 * YEAR])
def test_law_is_that_of_simulated_readings(name, age):
    device = parse_device(name)
    ages_matter = any(kind in name for kind in ("mushroom", "wan", "relax"))
    if age > 0 and not ages_matter:
        channel = channel_of(device, 0.0)
        assert (channel_of(device, age).matrix == channel.matrix).all()
        return
    found = distances(device, age)
    assert max(found) < DISTANCE, found


@pytest.mark.parametrize("name", ["pcm-partial-reset", "pcm-mushroom", "rram-wan", "gaussian"])
def test_law_of_a_neighbouring_level_would_not_pass(name):
    device = parse_device(name)
    channel = channel_of(device, 0.0)
    law = device.law(np.array([0.8]), channel.edges, 0.0)[0]
    counts = np.bincount(channel.bins(readings(device, 0.8 - 4 / 255, 0.0)), minlength=len(law))
    assert np.abs(np.cumsum(counts / CELLS - law)).max() > 3 * DISTANCE


@pytest.mark.parametrize("name", [*PLAIN, *WRAPPED])
@pytest.mark.parametrize("age", [0.0, 10 * YEAR])
def test_rows_sum_to_one_and_the_span_holds_all_but_a_millionth(name, age):
    channel = channel_of(parse_device(name), age)
    assert channel.matrix.shape == (LEVELS, len(channel.edges) - 1)
    assert (channel.matrix >= 0).all()
    assert np.abs(channel.matrix.sum(axis=1) - 1).max() < 1e-12
    assert (channel.matrix[:, 0] + channel.matrix[:, -1]).max() <= 1.01e-6


@pytest.mark.parametrize("name", [*DEVICES, "pcm-mushroom" + ALL_THREE])
def test_law_of_fine_bins_sums_to_that_of_coarse_ones(name):
    device = parse_device(name)
    low, high = device.span(60.0)
    fine = np.concatenate([[-np.inf], np.linspace(low, high, 257), [np.inf]])
    coarse = np.concatenate([fine[:1], fine[1::16], fine[-1:]])
    levels = np.array([0.0, 0.3, 1.0])
    law = device.law(levels, fine, 60.0)
    groups = np.concatenate([[0, 1], np.arange(1, len(fine) - 1)[16::16]])
    assert np.add.reduceat(law, groups, axis=1) == pytest.approx(
        device.law(levels, coarse, 60.0), abs=2e-3
    )


@pytest.mark.parametrize("base", ["gaussian:snr_db=20", "gaussian:snr_db=60", "ideal"])
@pytest.mark.parametrize("sigma", [0.01, 0.05])
def test_spread_around_normal_noise_is_normal_and_no_comb(base, sigma):
    device = parse_device(f"{base}+spread:sigma={sigma}")
    noise = getattr(device.of, "deviation", 0.0)
    edges = channel_of(device).edges
    law = device.law(np.array([0.5]), edges, 0.0)
    normal = mixture_law(np.array([[0.5]]), np.array([[np.hypot(noise, sigma)]]), np.ones(1), edges)
    # Total variation, bin by bin: a mixture of few points would be near 1.
    assert np.abs(law - normal).sum() / 2 < 0.006


def test_mixture_law_against_known_probabilities():
    edges = np.array([-np.inf, -1.96, 0.0, 1.0, np.inf])
    law = mixture_law(np.zeros((1, 1)), np.ones((1, 1)), np.ones(1), edges)
    assert law[0] == pytest.approx([0.0249979, 0.4750021, 0.3413447, 0.1586553], abs=1e-7)
    # Two point masses and a normal component; an edge belongs to the bin above it.
    mean, deviation = np.array([[-5.0, 0.0, 1.0]]), np.array([[0.0, 0.0, 2.0]])
    law = mixture_law(mean, deviation, np.array([0.25, 0.25, 0.5]), edges)
    assert law[0] == pytest.approx(
        [0.25 + 0.5 * 0.0694366, 0.5 * 0.2391009, 0.25 + 0.5 * 0.1914625, 0.25], abs=1e-7
    )


def test_mixture_law_is_exact_far_out_on_both_sides():
    edges = np.array([-np.inf, -7.0, -6.0, 6.0, 7.0, np.inf])
    law = mixture_law(np.zeros((1, 1)), np.ones((1, 1)), np.ones(1), edges)[0]
    assert law[1] == pytest.approx(9.8530780e-10, rel=1e-6)  # Q(6) - Q(7)
    assert law[0] == pytest.approx(1.2798125e-12, rel=1e-6)  # Q(7)
    assert law[3:] == pytest.approx(law[1::-1], rel=1e-12)


@pytest.mark.parametrize("case", range(8))
def test_the_law_of_few_components_is_that_of_many_to_the_bit(case, monkeypatch):
    rng = np.random.default_rng(case)
    levels, components = int(rng.integers(1, 150)), int(rng.integers(1, 6))
    edges = np.sort(rng.normal(size=int(rng.integers(3, 400)))) * rng.choice([1e-3, 1, 50])
    edges = np.concatenate([[-np.inf], edges, [np.inf]])
    mean = rng.normal(size=(levels, components)) * 2
    deviation = np.maximum(rng.normal(size=mean.shape) + rng.choice([-1, 0, 3]), 0)
    weight = np.full(components, 1 / components)
    few = mixture_law(mean, deviation, weight, edges)
    monkeypatch.setattr(mixture, "_FEW", 0)
    np.testing.assert_array_equal(few, mixture_law(mean, deviation, weight, edges))
