import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import norm

from softcell.channel.capacity import Capacity, capacity, mutual_information
from softcell.errors import InputError


def binary_entropy(p: float) -> float:
    return float(-p * np.log2(p) - (1 - p) * np.log2(1 - p))


def random_channel(seed: int, inputs: int, outputs: int) -> np.ndarray:
    rows = np.random.default_rng(seed).gamma(0.5, size=(inputs, outputs)) + 1e-12
    return rows / rows.sum(axis=1, keepdims=True)


def gaussian_rows(mean: np.ndarray, sd: np.ndarray, bins: int, reach: float = 6.0) -> np.ndarray:
    """Probability of each of `bins` even reading bins for Gaussian readings, (L, bins)."""
    edges = np.linspace((mean - reach * sd).min(), (mean + reach * sd).max(), bins + 1)
    below = ndtr((edges - mean[:, None]) / sd[:, None])
    below[:, 0], below[:, -1] = 0.0, 1.0
    return np.diff(below, axis=1)


@pytest.mark.parametrize("p", [0.01, 0.11, 0.3, 0.5])
def test_binary_symmetric_channel(p):
    found = capacity(np.array([[1 - p, p], [p, 1 - p]]), tolerance_bits=1e-9)
    assert found.bits == pytest.approx(1 - binary_entropy(p), abs=2e-9)
    np.testing.assert_allclose(found.input_distribution, 0.5, atol=1e-3)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.7])
def test_binary_erasure_channel(p):
    found = capacity(np.array([[1 - p, p, 0.0], [0.0, p, 1 - p]]), tolerance_bits=1e-9)
    assert found.bits == pytest.approx(1 - p, abs=2e-9)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_z_channel_and_its_asymmetric_input(p):
    found = capacity(np.array([[1.0, 0.0], [p, 1 - p]]), tolerance_bits=1e-9)
    exponent = binary_entropy(p) / (1 - p)
    assert found.bits == pytest.approx(np.log2(1 + 2.0**-exponent), abs=2e-9)
    one = 1 / ((1 - p) * (1 + 2.0**exponent))
    assert found.input_distribution[1] == pytest.approx(one, abs=1e-3)


def test_noiseless_channel_carries_all_its_levels():
    found = capacity(np.eye(37))
    assert found.bits == pytest.approx(np.log2(37), abs=1e-12)
    assert found.gap_bits < 1e-12


def test_channel_that_ignores_its_input_carries_nothing():
    found = capacity(np.tile([0.2, 0.5, 0.3], (5, 1)))
    assert found.bits == pytest.approx(0.0, abs=1e-12)
    assert capacity(np.ones((1, 1))).bits == 0.0


def test_a_mixture_of_other_inputs_is_not_used():
    found = capacity(np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]), tolerance_bits=1e-7)
    assert found.bits == pytest.approx(1.0, abs=1e-7)
    assert found.input_distribution[1] < 1e-5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), inputs=st.integers(2, 12), outputs=st.integers(2, 12))
def test_certificate_encloses_the_capacity(seed, inputs, outputs):
    rows = random_channel(seed, inputs, outputs)
    rough, fine = capacity(rows, tolerance_bits=1e-2), capacity(rows, tolerance_bits=1e-7)
    assert rough.gap_bits <= 1e-2
    assert fine.gap_bits <= 1e-7
    assert rough.bits - 1e-9 <= fine.bits <= rough.bits + rough.gap_bits + 1e-7
    assert fine.bits == pytest.approx(mutual_information(rows, fine.input_distribution), abs=1e-9)
    anyone = np.random.default_rng(seed).dirichlet(np.ones(inputs))
    assert mutual_information(rows, anyone) <= fine.bits + fine.gap_bits + 1e-12


def test_more_iterations_never_lower_the_information():
    rows = random_channel(3, 40, 60)
    bits = [capacity(rows, tolerance_bits=1e-10, max_iterations=n).bits for n in range(1, 60, 3)]
    assert (np.diff(bits) >= -1e-12).all()
    assert bits[-1] > bits[0] + 0.05


def test_stopping_early_is_told_by_the_gap():
    rows = gaussian_rows(np.linspace(-8, 8, 64), np.ones(64), 256)
    hasty = capacity(rows, max_iterations=5)
    assert hasty.gap_bits > 1e-4
    assert hasty.bits <= capacity(rows).bits <= hasty.bits + hasty.gap_bits


def test_a_second_channel_behind_the_first_can_only_lose():
    first, second = random_channel(5, 8, 9), random_channel(6, 9, 7)
    assert capacity(first @ second).bits < capacity(first).bits
    assert capacity(first[::-1]).bits == pytest.approx(capacity(first).bits, abs=2e-4)


@pytest.mark.parametrize(
    ("seed", "inputs", "outputs", "bits"),
    [(0, 3, 4, 0.478331), (1, 4, 3, 0.775320), (2, 5, 5, 0.745401)],
)
def test_vectors_made_by_dit(seed, inputs, outputs, bits):
    # dit 1.5, dit.algorithms.channelcapacity.channel_capacity; made again by the slow test.
    assert capacity(random_channel(seed, inputs, outputs)).bits == pytest.approx(bits, abs=1.1e-4)


@pytest.mark.slow
def test_against_dit():
    channelcapacity = pytest.importorskip("dit.algorithms.channelcapacity")
    for seed in range(10):
        rows = random_channel(seed, 3 + seed % 3, 3 + seed % 4)
        oracle, _ = channelcapacity.channel_capacity(rows, rtol=1e-10, atol=1e-10)
        assert capacity(rows, tolerance_bits=1e-6).bits == pytest.approx(oracle, abs=1e-5)


def test_amplitude_limited_gaussian_channel_at_low_amplitude_is_binary():
    # Smith, Information and Control 18, 203 (1971): below 1.67 noise deviations two points.
    amplitude = 1.5
    rows = gaussian_rows(np.linspace(-amplitude, amplitude, 101), np.ones(101), 800, reach=8)
    found = capacity(rows, tolerance_bits=1e-6)
    assert found.input_distribution[[0, -1]].sum() > 0.999

    def density(y: float) -> float:
        return float(0.5 * (norm.pdf(y - amplitude) + norm.pdf(y + amplitude)))

    entropy = quad(lambda y: -density(y) * np.log2(density(y)), -12, 12)[0]
    binary = entropy - 0.5 * np.log2(2 * np.pi * np.e)
    assert found.bits == pytest.approx(binary, abs=1e-4)


def test_amplitude_limited_gaussian_channel_at_two_deviations_has_a_middle_point():
    # The same source: from 1.67 to 2.78 noise deviations three points, one of them at 0.
    rows = gaussian_rows(np.linspace(-2, 2, 101), np.ones(101), 800, reach=8)
    p = capacity(rows, tolerance_bits=1e-7).input_distribution
    assert p[[0, -1]].sum() > 0.7
    assert p[45:56].sum() > 0.05
    assert p[[0, -1]].sum() + p[45:56].sum() > 0.999


def test_a_fine_channel_needs_few_iterations():
    # Plain Blahut-Arimoto takes thousands here; each iteration is two (256, 512) products.
    found = capacity(gaussian_rows(np.linspace(0, 1, 256), np.linspace(0.02, 0.1, 256), 512))
    assert found.gap_bits <= 1e-4
    assert found.iterations < 1000


def test_measured_phase_change_cell_holds_2_65_bits():
    folder = os.environ.get("SOFTCELL_DATA")
    path = Path(folder or ".") / "cells" / "pcm_partial_reset.csv.gz"
    if not (folder and path.exists()):
        if os.environ.get("SOFTCELL_REQUIRE_DATA") == "1":
            pytest.fail("SOFTCELL_DATA does not name the folder of the measured cells")
        pytest.skip("needs the measured cells; set SOFTCELL_DATA to their folder")
    with gzip.open(path, "rt") as file:
        volt, ohm = np.loadtxt(file, delimiter=",", skiprows=1, unpack=True)
    pulses = np.unique(volt)
    reads = [np.log10(ohm[volt == pulse]) for pulse in pulses]
    fine = np.linspace(pulses[0], pulses[-1], 4 * (len(pulses) - 1) + 1)
    mean = np.interp(fine, pulses, [r.mean() for r in reads])
    sd = np.interp(fine, pulses, [r.std(ddof=1) for r in reads])
    found = capacity(gaussian_rows(mean, sd, 512))
    assert found.bits == pytest.approx(2.65, abs=0.03)
    assert found.iterations < 1000


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones(3), "shape"),
        (np.zeros((0, 3)), "shape"),
        (np.array([[0.5, 0.6], [0.5, 0.5]]), "row 0 sums to 1.1"),
        (np.array([[1.5, -0.5]]), "negative"),
        (np.array([[np.nan, 1.0]]), "NaN"),
    ],
)
def test_what_is_no_transition_matrix_is_refused(matrix, message):
    with pytest.raises(InputError, match=message):
        capacity(matrix)
    with pytest.raises(InputError, match=message):
        mutual_information(matrix, np.full(len(matrix), 0.5))


def test_bad_distribution_and_tolerance_are_refused():
    with pytest.raises(InputError, match="2 probabilities"):
        mutual_information(np.eye(2), np.array([0.5, 0.4]))
    with pytest.raises(InputError, match="2 probabilities"):
        mutual_information(np.eye(2), np.full(3, 1 / 3))
    with pytest.raises(InputError, match="tolerance_bits"):
        capacity(np.eye(2), tolerance_bits=0.0)
    with pytest.raises(InputError, match="input_distribution"):
        Capacity(1.0, np.array([0.5, 0.6]), 0.0, 1)


def test_an_unused_input_with_readings_of_its_own_does_not_count():
    assert mutual_information(np.eye(3), np.array([0.5, 0.5, 0.0])) == pytest.approx(1.0)
