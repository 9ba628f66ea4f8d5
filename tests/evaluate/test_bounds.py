import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import laplace, norm

from softcell.errors import InputError
from softcell.evaluate.bounds import (
    RateDistortion,
    convex_curve,
    density_curve,
    differential_entropy,
    empirical_curve,
    gaussian_curve,
    rate_distortion,
    shannon_lower_bound,
)

GAUSSIAN_ENTROPY = 0.5 * np.log2(2 * np.pi * np.e)
LAPLACIAN_ENTROPY = np.log2(2 * np.e / np.sqrt(2))  # of unit variance
DISTORTIONS = np.geomspace(0.999, 1e-8, 120)


def grid_of(distribution, reach: float) -> tuple[np.ndarray, np.ndarray]:
    edges = np.arange(-reach, reach + 1e-9, 1 / 256)
    upper = np.diff(-distribution.sf(edges))
    mass = np.where(edges[:-1] < 0, np.diff(distribution.cdf(edges)), upper)
    return (edges[1:] + edges[:-1]) / 2, mass / mass.sum()


@pytest.fixture(scope="module")
def gaussian() -> RateDistortion:
    return density_curve(*grid_of(norm(), 12), entropy_bits=GAUSSIAN_ENTROPY)


@pytest.fixture(scope="module")
def laplacian() -> RateDistortion:
    values, masses = grid_of(laplace(scale=0.5**0.5), 24)
    return density_curve(values, masses, entropy_bits=LAPLACIAN_ENTROPY)


def assert_convex(curve: RateDistortion) -> None:
    slope = np.diff(curve.distortion) / np.diff(curve.rate_bits)
    assert (slope <= 0).all()
    assert (np.diff(slope) >= 1e-9 * slope[:-1]).all()


def decibel(curve: RateDistortion, bits: float) -> float:
    return float(-10 * np.log10(curve.distortion_at(bits)))


def plain_blahut_arimoto(x, p, y, slope, steps=20_000) -> tuple[float, float]:
    """The textbook iteration on a dense matrix; rate in bits, distortion."""
    error = (x[:, None] - y) ** 2
    kernel = np.exp(-slope * error)
    q = np.full(len(y), 1 / len(y))
    for _ in range(steps):
        q = q * ((p / (kernel @ q)) @ kernel)
    channel = kernel * q / (kernel @ q)[:, None]
    joint = p[:, None] * channel
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.nansum(joint * np.log2(channel / (p @ channel)))
    return float(bits), float((joint * error).sum())


def test_gaussian_by_blahut_arimoto_is_half_log_of_variance_over_distortion(gaussian):
    for distortion in DISTORTIONS:
        exact = -0.5 * np.log2(distortion)
        assert gaussian.rate_at(distortion) == pytest.approx(exact, abs=0.005)


@pytest.mark.parametrize(("cells", "decibels"), [(1, 16.6), (1.5, 24.5), (2, 32.5), (3, 48.5)])
def test_laplacian_limits_at_2_65_bits_per_cell(laplacian, cells, decibels):
    assert decibel(laplacian, 2.65 * cells) == pytest.approx(decibels, abs=0.1)


@pytest.mark.parametrize(("cells", "decibels"), [(1, 15.9), (1.5, 23.9), (2, 31.9), (3, 47.8)])
def test_gaussian_limits_at_2_65_bits_per_cell(gaussian, cells, decibels):
    assert decibel(gaussian, 2.65 * cells) == pytest.approx(decibels, abs=0.1)


def test_laplacian_lies_between_the_shannon_bound_and_the_gaussian(laplacian):
    rate = np.array([laplacian.rate_at(d) for d in DISTORTIONS])
    bound = shannon_lower_bound(LAPLACIAN_ENTROPY, DISTORTIONS)
    assert (rate >= bound - 1e-3).all()
    assert (rate <= -0.5 * np.log2(DISTORTIONS) + 1e-9).all()
    high_rate = DISTORTIONS < 0.03
    assert (rate - bound)[high_rate].max() < 0.003
    at_low_rate = laplacian.rate_at(0.8) - shannon_lower_bound(LAPLACIAN_ENTROPY, 0.8)
    assert at_low_rate > 0.03  # the bound is loose where the Laplacian's peak counts


def test_curves_are_convex_and_start_at_the_variance(gaussian, laplacian):
    for curve in (gaussian, laplacian, gaussian_curve(3.0)):
        assert_convex(curve)
        assert curve.rate_at(curve.distortion[0] * 1.01) == 0.0
    assert gaussian.distortion_at(0.0) == pytest.approx(1.0, abs=1e-4)


def test_reading_a_curve_both_ways_agrees(laplacian):
    for bits in np.linspace(0.05, 15.9, 40):
        assert laplacian.rate_at(laplacian.distortion_at(bits)) == pytest.approx(bits, abs=1e-9)


def test_gaussian_curve_ends_where_told():
    curve = gaussian_curve(4.0, least_distortion=1e-6)
    assert curve.distortion[-1] == pytest.approx(4e-6)
    assert curve.rate_at(0.0) == pytest.approx(0.5 * np.log2(1e6))
    assert curve.rate_at(1.0) == pytest.approx(1.0, abs=1e-3)


def test_coin_described_by_its_own_faces_has_the_hamming_curve():
    coin = np.array([-1.0, 1.0])
    curve = rate_distortion(coin, np.array([0.5, 0.5]), reproductions=coin)
    for wrong in (0.01, 0.05, 0.11, 0.3, 0.45):
        entropy = -wrong * np.log2(wrong) - (1 - wrong) * np.log2(1 - wrong)
        assert curve.rate_at(4 * wrong) == pytest.approx(1 - entropy, abs=0.004)
    assert curve.rate_at(2.0) == 0.0  # either face, always: right half the time


def test_a_single_reproduction_leaves_its_error():
    curve = rate_distortion(
        np.array([0.0, 2.0]), np.array([0.5, 0.5]), reproductions=np.array([2.0])
    )
    assert (curve.rate_at(0.0), curve.distortion_at(5.0)) == (0.0, 2.0)


@pytest.mark.parametrize("slope", [0.3, 0.8, 2.0, 6.0])
def test_small_alphabet_against_the_plain_iteration(slope):
    x, p = np.array([-1.0, 0.0, 2.0, 2.5]), np.array([0.3, 0.4, 0.2, 0.1])
    bits, distortion = plain_blahut_arimoto(x, p, x, slope)
    fixed = rate_distortion(x, p, reproductions=x)
    assert fixed.rate_at(distortion) == pytest.approx(bits, abs=0.005)
    anywhere = np.linspace(-1, 2.5, 141)
    bits, distortion = plain_blahut_arimoto(x, p, anywhere, slope)
    free = rate_distortion(x, p)
    assert free.rate_at(distortion) == pytest.approx(bits, abs=0.005)
    assert free.rate_at(distortion) <= fixed.rate_at(distortion) + 1e-3
    assert_convex(free)


@pytest.mark.slow
def test_small_alphabet_against_dit():
    dit = pytest.importorskip("dit.rate_distortion.blahut_arimoto")
    x, p = np.array([-1.0, 0.0, 2.0, 2.5]), np.array([0.3, 0.4, 0.2, 0.1])
    error = (x[:, None] - x) ** 2
    curve = rate_distortion(x, p, reproductions=x)
    for beta in (0.6, 1.0, 2.0, 4.0, 10.0):
        oracle, _ = dit.blahut_arimoto(
            p, beta, distortion=lambda *_: error, max_iters=20_000, restarts=1
        )
        assert curve.rate_at(oracle.distortion) == pytest.approx(oracle.rate, abs=0.005)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 9))
def test_discrete_source_ends_at_its_entropy_without_error(seed, size):
    rng = np.random.default_rng(seed)
    x, p = rng.normal(size=size), rng.dirichlet(np.ones(size))
    curve = rate_distortion(x, p)
    assert curve.rate_at(0.0) == pytest.approx(-(p @ np.log2(p)), abs=1e-9)
    assert curve.distortion_at(0.0) == pytest.approx(p @ (x - p @ x) ** 2, abs=1e-9)
    assert_convex(curve)
    moved = rate_distortion(-3 * x + 1, p)  # 9 times the distortion at every rate
    assert moved.rate_at(0.9) == pytest.approx(curve.rate_at(0.1), abs=0.01)


def test_point_mass_costs_its_own_entropy_at_high_rate():
    values, masses = grid_of(norm(), 12)
    for atom in (0.3, 0.9):
        curve = density_curve(
            values, masses * (1 - atom), entropy_bits=GAUSSIAN_ENTROPY, atom_probability=atom
        )
        assert_convex(curve)
        entropy = -atom * np.log2(atom) - (1 - atom) * np.log2(1 - atom)
        fine = 1e-10
        limit = entropy + (1 - atom) * 0.5 * np.log2((1 - atom) / fine)
        assert curve.rate_at(fine) == pytest.approx(limit, abs=0.005)
        coarse = 0.1 * (1 - atom)
        pruned_first = entropy + (1 - atom) * 0.5 * np.log2((1 - atom) / coarse)
        assert curve.rate_at(coarse) < pruned_first - 0.1


def test_handing_over_to_the_limit_early_or_late_makes_no_difference():
    values, masses = grid_of(laplace(scale=0.5**0.5), 24)
    early, late = (
        density_curve(
            values,
            masses * 0.5,
            entropy_bits=LAPLACIAN_ENTROPY,
            atom_probability=0.5,
            asymptote_bits=bits,
        )
        for bits in (3.5, 5.5)
    )
    for distortion in np.geomspace(0.4, 1e-6, 50):
        assert early.rate_at(distortion) == pytest.approx(late.rate_at(distortion), abs=0.03)


@pytest.mark.parametrize(
    ("rates", "distortions", "message"),
    [
        ([0.0, 1.0], [1.0], "one shape"),
        ([0.0, 1.0], [1.0, np.nan], "finite"),
        ([0.5, 1.0], [1.0, 0.5], "from 0"),
        ([0.0, 1.0], [0.5, 1.0], "falling"),
    ],
)
def test_what_is_no_curve_is_refused(rates, distortions, message):
    with pytest.raises(InputError, match=message):
        RateDistortion(np.array(rates), np.array(distortions))


def test_hull_drops_what_time_sharing_beats():
    curve = convex_curve(np.array([2.0, 0.0, 1.0, 3.0]), np.array([0.1, 1.0, 0.9, 0.2]))
    np.testing.assert_array_equal(curve.rate_bits, [0.0, 2.0])
    np.testing.assert_array_equal(curve.distortion, [1.0, 0.1])


def test_impossible_sources_are_refused():
    with pytest.raises(InputError, match=r"sum 0\.9"):
        rate_distortion(np.array([0.0, 1.0]), np.array([0.5, 0.4]))
    with pytest.raises(InputError, match="finite"):
        rate_distortion(np.array([0.0, np.inf]), np.array([0.5, 0.5]))
    with pytest.raises(InputError, match="one shape"):
        rate_distortion(np.zeros(2), np.ones(1))
    with pytest.raises(InputError, match="reproductions"):
        rate_distortion(np.array([0.0, 1.0]), np.full(2, 0.5), reproductions=np.array([]))
    with pytest.raises(InputError, match="rise"):
        density_curve(np.array([1.0, 0.0]), np.full(2, 0.5), entropy_bits=0.0)
    with pytest.raises(InputError, match="together with the atom"):
        density_curve(np.arange(2.0), np.full(2, 0.5), entropy_bits=0.0, atom_probability=0.3)
    with pytest.raises(InputError, match="variance"):
        gaussian_curve(0.0)


def test_entropy_from_spacings_is_unbiased_and_scales():
    for seed in range(3):
        draws = np.sort(np.random.default_rng(seed).normal(size=20_000))
        assert differential_entropy(draws) == pytest.approx(GAUSSIAN_ENTROPY, abs=0.03)
        wider = differential_entropy(8 * draws)
        assert wider == pytest.approx(differential_entropy(draws) + 3, abs=1e-9)


def test_empirical_curve_needs_finite_weights():
    with pytest.raises(InputError, match="empty"):
        empirical_curve(np.zeros(0))
    with pytest.raises(InputError, match="finite"):
        empirical_curve(np.array([0.0, np.nan]))
