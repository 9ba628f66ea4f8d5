import numpy as np
import pytest
from scipy.stats import norm

from softcell.errors import InfeasibleError, InputError
from softcell.evaluate.bounds import (
    ModelBound,
    TensorSource,
    empirical_curve,
    gaussian_curve,
    least_bits,
    least_cells_per_weight,
    least_distortion,
    tensor_source,
)


def weights_of(name: str, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    draw = rng.normal(size=count) if name == "gaussian" else rng.laplace(size=count)
    return draw.astype(np.float32)


def decibel(curve, bits: float) -> float:
    return float(-10 * np.log10(curve.distortion_at(bits)))


@pytest.mark.parametrize(("name", "decibels"), [("gaussian", 15.95), ("laplacian", 16.6)])
def test_curve_of_drawn_weights_is_that_of_their_distribution(name, decibels):
    curve = empirical_curve(weights_of(name, 100_000))
    assert decibel(curve, 2.65) == pytest.approx(decibels, abs=0.1)
    assert decibel(curve, 7.95) == pytest.approx(decibels + 5.3 * 6.0206, abs=0.15)
    small = empirical_curve(weights_of(name, 2304))
    assert decibel(small, 2.65) == pytest.approx(decibels, abs=0.35)


def test_curve_does_not_depend_on_scale_sign_or_order():
    weights = weights_of("laplacian", 5000)
    curve = empirical_curve(weights)
    for other in (weights * 2.0**-60, -weights, weights[::-1].reshape(50, 100)):
        same = empirical_curve(other)
        assert decibel(same, 2.0) == pytest.approx(decibel(curve, 2.0), abs=0.02)
        assert decibel(same, 9.0) == pytest.approx(decibel(curve, 9.0), abs=0.02)


def test_the_mean_of_the_weights_is_free():
    moved = empirical_curve(weights_of("gaussian", 20_000).astype(np.float64) + 30.0)
    assert moved.distortion_at(0.0) == pytest.approx(1.0, abs=1e-3)
    assert decibel(moved, 2.65) == pytest.approx(15.95, abs=0.1)


def test_pruned_weights_are_a_point_mass():
    # Magnitude pruning to 30 %: ends at H(0.3) + 0.3 (h(kept) - log2 sqrt(2 pi e D / 0.3)).
    weights = weights_of("gaussian", 100_000)
    weights[np.abs(weights) < norm.isf(0.15)] = 0.0
    variance = float(weights.var())
    curve = empirical_curve(weights)
    grid = np.linspace(norm.isf(0.15), 9, 200_001)
    density = norm.pdf(grid) / 0.15
    kept = 1 - np.trapezoid(density * np.log2(density), grid)  # the sign, and one side
    entropy = -0.3 * np.log2(0.3) - 0.7 * np.log2(0.7)
    for db in (30, 50, 80):
        error = variance * 10 ** (-db / 10)
        bits = entropy + 0.3 * (kept - 0.5 * np.log2(2 * np.pi * np.e * error / 0.3))
        assert curve.rate_at(10 ** (-db / 10)) == pytest.approx(bits, abs=0.02)


def test_weights_on_few_values_end_at_their_entropy():
    ternary = np.tile([0.0, 0.0, 0.1, -0.1], 1000)
    curve = empirical_curve(ternary)
    assert curve.rate_at(0.0) == pytest.approx(1.5, abs=1e-9)
    assert curve.distortion_at(0.0) == pytest.approx(1.0)
    assert curve.distortion[-1] == 0.0


def test_a_constant_tensor_needs_nothing():
    for weights in (np.full(100, 0.1, np.float32), np.ones(1), np.zeros((3, 3))):
        curve = empirical_curve(weights)
        assert curve.rate_at(0.0) == 0.0
        assert curve.distortion_at(0.0) == 0.0


@pytest.mark.parametrize("count", [2, 3, 16, 63])
def test_a_tensor_of_few_weights_is_taken_as_gaussian(count):
    curve = empirical_curve(weights_of("laplacian", count))
    assert curve.rate_at(0.01) == pytest.approx(0.5 * np.log2(100), abs=1e-3)


@pytest.mark.parametrize("count", [64, 65, 100, 400])
def test_curves_of_small_tensors_are_sound(count):
    curve = empirical_curve(weights_of("gaussian", count))
    assert decibel(curve, 4.0) == pytest.approx(24.1, abs=1.5)
    slope = np.diff(curve.distortion) / np.diff(curve.rate_bits)
    assert (np.diff(slope) >= 1e-9 * slope[:-1]).all()


def test_curve_ends_at_the_number_format():
    weights = weights_of("gaussian", 20_000)
    ends = {
        name: empirical_curve(stored).rate_bits[-1]
        for name, stored in {
            "float32": weights,
            "float16": weights.astype(np.float16).astype(np.float32),
            "int8": np.rint(weights.reshape(100, 200) * 24).clip(-127, 127) * np.float32(0.01),
        }.items()
    }
    assert ends["float32"] == pytest.approx(25.2, abs=0.2)
    assert ends["float16"] == pytest.approx(12.2, abs=0.2)
    assert 6.0 < ends["int8"] < 7.0
    rows = np.rint(
        weights.reshape(100, 200) / np.abs(weights.reshape(100, 200)).max(1)[:, None] * 127
    )
    scales = np.geomspace(0.01, 0.05, 100).astype(np.float32)[:, None]
    assert 5.5 < empirical_curve(rows.astype(np.float32) * scales).rate_bits[-1] < 8.0


def test_a_large_tensor_is_sampled_faithfully():
    part = weights_of("laplacian", 50_000)
    whole = np.concatenate([part * 1.0001**k for k in range(8)])
    assert decibel(empirical_curve(whole), 2.65) == pytest.approx(16.6, abs=0.1)


def two_gaussians(first: float = 4.0, second: float = 0.25) -> ModelBound:
    return ModelBound(
        (
            TensorSource(300, gaussian_curve(), first, 1.0),
            TensorSource(100, gaussian_curve(), second, 1.0),
        )
    )


@pytest.mark.parametrize("water", [3.0, 1.0, 0.25, 0.01, 1e-5])
def test_two_gaussians_fill_with_water(water):
    # D_t = min(water, variance_t), R_t = 1/2 log2(variance_t / D_t)
    model = two_gaussians()
    distortion = 300 * min(water, 4.0) + 100 * min(water, 0.25)
    bits = 150 * np.log2(4.0 / min(water, 4.0)) + 50 * np.log2(0.25 / min(water, 0.25))
    assert least_bits(model, distortion) == pytest.approx(bits, abs=0.4 + 1e-3 * bits)
    assert least_distortion(model, bits) == pytest.approx(distortion, rel=5e-3)


def test_sensitivity_counts_as_variance_does():
    # f (w - w')^2 is the squared error of sqrt(f) w.
    weighted = ModelBound(
        (
            TensorSource(300, gaussian_curve(), 1.0, 4.0),
            TensorSource(100, gaussian_curve(), 0.5, 0.5),
        )
    )
    for distortion in (900.0, 300.0, 10.0, 0.1):
        assert least_bits(weighted, distortion) == pytest.approx(
            least_bits(two_gaussians(), distortion), rel=1e-9
        )


def test_scaling_all_sensitivities_scales_the_distortion_alone():
    curve = empirical_curve(weights_of("laplacian", 3000))
    plain = ModelBound((TensorSource(10, curve, 2.0, 1.0), TensorSource(40, curve, 0.3, 5.0)))
    scaled = ModelBound((TensorSource(10, curve, 2.0, 7.0), TensorSource(40, curve, 0.3, 35.0)))
    for bits in (5.0, 60.0, 500.0):
        assert least_distortion(scaled, bits) == pytest.approx(7 * least_distortion(plain, bits))


def test_no_other_allocation_is_better():
    curves = [empirical_curve(weights_of(name, 4000)) for name in ("gaussian", "laplacian")]
    counts, variances, sensitivities = (100, 250), (1.0, 0.2), (1.0, 3.0)
    model = ModelBound(
        tuple(map(TensorSource, counts, curves, variances, sensitivities)),
    )
    rng = np.random.default_rng(0)
    for _ in range(200):
        rates = rng.uniform(0, 5, size=2)
        distortion = sum(
            n * f * v * curve.distortion_at(rate)
            for n, curve, v, f, rate in zip(counts, curves, variances, sensitivities, rates)
        )
        bits = float(np.dot(counts, rates))
        assert least_bits(model, distortion) <= bits * (1 + 1e-9)
        assert least_distortion(model, bits) <= distortion * (1 + 1e-9)


def test_model_curve_is_monotone_and_convex():
    tensors = [weights_of("laplacian", n, seed=n) for n in (40, 300, 2000)]
    model = ModelBound(
        (
            *(tensor_source(w, f) for w, f in zip(tensors, (1.0, 30.0, 0.01))),
            tensor_source(np.ones(9)),
        )
    )
    bits = [least_bits(model, d) for d in np.linspace(0, model.curve.distortion[0], 300)]
    assert (np.diff(bits) <= 0).all()
    assert (np.diff(bits, 2) >= -1e-6 * bits[0]).all()
    assert bits[-1] == 0.0


def test_one_tensor_is_its_own_bound():
    weights = 0.02 * weights_of("laplacian", 6000)
    model = ModelBound((tensor_source(weights, 2.0),))
    curve = empirical_curve(weights)
    error = 0.01 * float(weights.var(dtype=np.float64))
    assert least_bits(model, 6000 * 2 * error) == pytest.approx(
        6000 * curve.rate_at(0.01), rel=1e-6
    )


def test_nothing_is_spent_on_what_nobody_feels():
    deaf = TensorSource(1000, gaussian_curve(), 1.0, 0.0)
    felt = TensorSource(10, gaussian_curve(), 1.0, 1.0)
    assert least_bits(ModelBound((deaf, felt)), 2.5) == pytest.approx(10.0, rel=1e-3)
    assert least_bits(ModelBound((deaf,)), 0.0) == 0.0


def test_cells_per_weight_count_all_weights():
    model = two_gaussians()
    # 400 weights in the bound, 800 in the model: the pruned half costs nothing but counts.
    cells = least_cells_per_weight(model, 100.0, 2.5, 800)
    assert cells == pytest.approx(least_bits(model, 100.0) / 2.5 / 800)
    assert cells == pytest.approx(600 / 2000, rel=0.01)


def test_bad_arguments_are_refused():
    model = two_gaussians()
    with pytest.raises(InputError, match="weighted_distortion"):
        least_bits(model, -1.0)
    with pytest.raises(InputError, match="total_bits"):
        least_distortion(model, float("nan"))
    with pytest.raises(InfeasibleError, match="capacity_bits"):
        least_cells_per_weight(model, 1.0, 0.0, 10)
    with pytest.raises(InputError, match="weights_total"):
        least_cells_per_weight(model, 1.0, 1.0, 0)
    with pytest.raises(InputError, match="count"):
        TensorSource(0, gaussian_curve(), 1.0, 1.0)
    with pytest.raises(InputError, match="sensitivity"):
        TensorSource(1, gaussian_curve(), 1.0, -1.0)
    with pytest.raises(InputError, match="sources"):
        ModelBound(())
