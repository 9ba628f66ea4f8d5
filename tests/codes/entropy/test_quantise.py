"""Rate-distortion-optimised quantisation: cost never worse, importance heeded, laws kept."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.codes.entropy.index_coding import decode_indices
from softcell.codes.entropy.quantise import OFFSET_BITS, dequantise, quantise
from softcell.codes.entropy.trellis import Trellis
from softcell.errors import InputError


def laplacian(shape: tuple[int, int], seed: int = 1) -> np.ndarray:
    values = np.random.default_rng(seed).laplace(size=shape) / np.sqrt(2)
    return values.astype(np.float32)


def cost(weights, found, multiplier, importance=1.0) -> float:
    """J by its definition, from the reconstruction and the stream alone."""
    error = found.weights().astype(np.float64) - weights
    side = OFFSET_BITS if found.offsets.any() else 0
    return float((importance * error**2).sum()) + multiplier * (8 * len(found.stream) + side)


@pytest.mark.parametrize("step", [0.1, 0.7, 2.0])
@pytest.mark.parametrize("trade_off", [0.03, 0.12, 0.3])
@pytest.mark.parametrize("shape", [(1, 30), (40, 50), (200, 150)])
def test_the_cost_is_never_above_that_of_rounding(step, trade_off, shape):
    weights = laplacian(shape)
    multiplier = trade_off * float(np.float32(step)) ** 2
    rounded = quantise(weights, step, trade_off=0)
    chosen = quantise(weights, step, trade_off=trade_off)
    assert chosen.cost == pytest.approx(cost(weights, chosen, multiplier), rel=1e-5)
    assert chosen.cost <= cost(weights, rounded, multiplier) * (1 + 1e-6)
    if weights.size > 10000 and step > 0.5:
        assert chosen.cost < 0.999 * cost(weights, rounded, multiplier)


def test_a_higher_price_of_bits_buys_fewer_of_them_for_more_distortion():
    weights = laplacian((150, 150))
    points = [quantise(weights, 0.7, trade_off=price) for price in (0.05, 0.12, 0.25)]
    sizes = [len(point.stream) for point in points]
    errors = [float(((point.weights() - weights) ** 2).mean()) for point in points]
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)


def test_without_a_price_every_weight_takes_its_nearest_index():
    weights = laplacian((80, 90))
    found = quantise(weights, 0.3, trade_off=0)
    np.testing.assert_array_equal(found.indices, np.rint(weights / np.float32(0.3)))
    assert not found.offsets.any()


@pytest.mark.parametrize("states", [1, 8])
def test_offsets_are_the_centroids_of_their_magnitudes(states):
    weights = laplacian((300, 300))
    trellis = Trellis(states)
    found = quantise(weights, 1.2, trellis=trellis)
    assert found.offsets.any()
    own = float(((found.weights() - weights) ** 2).sum())
    for place in range(3):
        for change in (-3, 3):
            moved = found.offsets.copy()
            moved[place] += change
            values = dequantise(found.indices, found.steps, moved, trellis)
            assert float(((values - weights) ** 2).sum()) > own


def test_the_stream_holds_the_indices():
    weights = laplacian((30, 40))
    for states in (1, 8):
        found = quantise(weights, 0.5, trellis=Trellis(states))
        decoded = decode_indices(found.stream, (30, 40), trellis=Trellis(states))
        np.testing.assert_array_equal(decoded, found.indices)


@pytest.mark.parametrize("states", [1, 8])
def test_important_weights_are_kept_better(states):
    weights = laplacian((100, 400))
    importance = np.ones((100, 1))
    importance[:50] = 100.0
    found = quantise(weights, 1.0, importance=importance, trade_off=0.1, trellis=Trellis(states))
    error = ((found.weights() - weights) ** 2).mean(axis=1)
    assert error[:50].mean() < 0.85 * error[50:].mean()
    zeros = (found.indices == 0).mean(axis=1)
    assert zeros[:50].mean() < zeros[50:].mean()


def test_a_weight_of_no_importance_takes_the_cheapest_index():
    weights = laplacian((100, 100))
    importance = np.ones((100, 100))
    importance[:, 50:] = 0
    found = quantise(weights, 0.5, importance=importance)
    assert (found.indices[:, 50:] == 0).mean() > 0.99
    assert (found.indices[:, :50] == 0).mean() < 0.6


@pytest.mark.parametrize("states", [1, 8])
def test_each_row_has_its_own_step(states):
    weights = laplacian((40, 300))
    scales = np.exp2(np.arange(40) % 5).astype(np.float32)
    alike = quantise(weights, 0.4, trellis=Trellis(states))
    scaled = quantise(
        weights * scales[:, None],
        0.4 * scales,
        importance=1 / scales[:, None] ** 2,
        trellis=Trellis(states),
    )
    np.testing.assert_array_equal(scaled.indices, alike.indices)
    np.testing.assert_array_equal(scaled.weights(), alike.weights() * scales[:, None])


@pytest.mark.parametrize("states", [1, 8])
def test_negated_weights_have_negated_indices_and_a_stream_about_as_long(states):
    weights = laplacian((60, 70))
    found = quantise(weights, 0.6, trellis=Trellis(states), passes=1)
    mirrored = quantise(-weights, 0.6, trellis=Trellis(states), passes=1)
    np.testing.assert_array_equal(mirrored.indices, -found.indices)
    assert abs(len(mirrored.stream) - len(found.stream)) < 0.01 * len(found.stream)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1)])
@pytest.mark.parametrize("states", [1, 4])
def test_the_smallest_matrices_work(shape, states):
    found = quantise(np.full(shape, 3.1, np.float32), 1.0, trellis=Trellis(states))
    assert found.weights().shape == shape
    np.testing.assert_allclose(found.weights(), 3.1, atol=0.6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": np.zeros(3, np.float32)}, "rows, columns"),
        ({"weights": np.array([[np.nan]], np.float32)}, "finite"),
        ({"steps": 0.0}, "from 1e-30"),
        ({"steps": [1.0, 2.0, 3.0]}, "2 rows"),
        ({"steps": np.inf}, "to 1e30"),
        ({"steps": 1e-29}, "2\\^-30"),
        ({"importance": np.ones((3, 3))}, "broadcast"),
        ({"importance": -1.0}, "at least 0"),
        ({"trade_off": -0.1}, "trade_off"),
        ({"passes": 0}, "passes"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    usual = {"weights": np.ones((2, 4), np.float32), "steps": 0.5}
    with pytest.raises(InputError, match=message):
        quantise(**{**usual, **arguments})
