"""Points of the rate-distortion curve of a discrete source under squared error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicHermiteSpline
from scipy.sparse import csr_array

from softcell.channel.blahut_arimoto import Evaluation, maximise
from softcell.codes.maps.lower_envelope import falling_hull
from softcell.errors import InputError
from softcell.evaluate.bounds.curve import RateDistortion, convex_curve, distortion_grid

_REACH = 8.0
"""Width at which the Gaussian kernel is cut off, in its standard deviations (e^-32)."""

_LN2 = float(np.log(2.0))


class _Effort(NamedTuple):
    """When to stop an iteration: at a certified gap, or after so many steps."""

    tolerance_nats: float
    max_iterations: int


_QUICK = _Effort(1e-3, 100)
_THOROUGH = _Effort(1e-4, 1000)


class SlopePoint(NamedTuple):
    """A point of the curve, where dR/dD = -1 / (2 width^2) nats."""

    rate_bits: float
    distortion: float
    width: float


def rate_distortion(
    values: np.ndarray, probabilities: np.ndarray, *, reproductions: np.ndarray | None = None
) -> RateDistortion:
    """Compute the rate-distortion curve of a discrete source under squared error.

    R(D) = min I(X; Y) over p(y|x) with E (X - Y)^2 <= D; it ends at (0, H(X)).

    Args:
        values: Values of the source, shape (V,), finite.
        probabilities: Their probabilities, shape (V,), >= 0, sum to 1.
        reproductions: Values that a description may use, shape (Y,); any real number if
            None. With a fixed alphabet the curve ends where that alphabet allows.

    Returns:
        The curve, within about 0.005 bit.

    Raises:
        InputError: The values are not finite, or the probabilities not probabilities.

    Example:
        >>> coin = rate_distortion(np.array([-1.0, 1.0]), np.array([0.5, 0.5]))
        >>> round(coin.rate_at(0.0), 3), coin.rate_at(1.0)
        (1.0, 0.0)

    Source:
        Blahut, IEEE Trans. Inf. Theory 18, 460 (1972), algorithm of section IV.
    """
    x, p = _alphabet(values, probabilities)
    variance = float(p @ (x - p @ x) ** 2)
    if len(x) == 1 or variance == 0:  # also values too close together to square
        return RateDistortion(np.zeros(1), np.zeros(1))
    # Once the kernel is narrow beside the closest pair, every value has its own reproduction.
    narrowest = max(float(np.diff(x).min()) / 7, 1e-5 * variance**0.5)
    widths = kernel_widths(8 * variance, narrowest**2, bits_apart=0.15)
    if reproductions is not None:
        y = np.unique(np.asarray(reproductions, dtype=np.float64))
        if not (y.size and np.isfinite(y).all()):
            raise InputError("reproductions: expected at least one finite value")
        blind = float((p @ (x[:, None] - y) ** 2).min())
        if len(y) == 1:
            return RateDistortion(np.zeros(1), np.full(1, blind))
        points = [point_at(x, p, y, w, reach=np.inf, effort=_THOROUGH) for w in widths]
        best = points[-1]
        return curve_through(points, blind, end=(best.rate_bits, best.distortion))
    # Few values want few reproductions, in just the right places; many blur them anyway.
    steps, effort = (8, _THOROUGH) if len(x) <= 64 else (2, _QUICK)
    points = []
    for width in widths:
        y = np.union1d(lattice(x, width, steps=steps), x)
        points.append(point_at(x, p, y, width, effort=effort))
        if points[-1].distortion < 1e-9 * variance:
            break
    return curve_through(points, variance, end=(float(-(p @ np.log2(p))), 0.0))


def kernel_widths(widest_square: float, least_square: float, *, bits_apart: float) -> np.ndarray:
    """Space kernel widths w evenly in rate; w^2 = -1 / (2 dR/dD), R in nats.

    For a Gaussian source w^2 is the distortion itself, so that rate 0 starts at the variance;
    other sources hold a little rate beyond it.
    """
    bits = 0.5 * np.log2(widest_square / least_square)
    count = max(int(np.ceil(bits / bits_apart)), 1) + 1
    return np.sqrt(np.geomspace(widest_square, least_square, count))


def lattice(x: np.ndarray, width: float, *, steps: int = 2) -> np.ndarray:
    """Give reproductions on multiples of a part of the kernel width, near the sorted values x."""
    step = width / steps
    y = step * np.arange(np.floor(x[0] / step), np.ceil(x[-1] / step) + 1)
    above = np.minimum(np.searchsorted(x, y), len(x) - 1)
    nearest = np.minimum(np.abs(y - x[above]), np.abs(y - x[np.maximum(above - 1, 0)]))
    kept: np.ndarray = y[nearest <= 4 * width]
    return kept


def point_at(
    x: np.ndarray,
    p: np.ndarray,
    y: np.ndarray,
    width: float,
    *,
    reach: float = _REACH,
    effort: _Effort = _QUICK,
) -> SlopePoint:
    """Find the point of the curve with slope dR/dD = -1 / (2 width^2) nats.

    R + D / (2 w^2) = min_q -sum_x p(x) log sum_y q(y) exp(-(x - y)^2 / (2 w^2))

    Args:
        x: Values of the source, shape (V,), rising.
        p: Their probabilities, shape (V,), positive.
        y: Values of the reproduction, shape (Y,), rising, one within reach of each x.
        width: Kernel width w, in the unit of x.
        reach: Errors that the test channel may make at most, in widths.
        effort: When to stop; the quick one leaves about 0.001 bit on a smooth source.

    Returns:
        A test channel on the curve, or as little above it as the iteration left.
    """
    pattern = _square_errors(x, y, reach * width)
    # An error that no reproduction avoids only shifts the objective; without it, no underflow.
    floor = np.minimum.reduceat(pattern.data, pattern.indptr[:-1])
    excess = pattern.data - np.repeat(floor, np.diff(pattern.indptr))
    kernel = _with_data(pattern, np.exp(excess / (-2 * width**2)))
    transposed = kernel.T.tocsr()

    def likelihood(q: np.ndarray) -> Evaluation:
        total = np.maximum(kernel @ q, 1e-300)
        log_factors = np.log(np.maximum(transposed @ (p / total), 1e-300))
        return Evaluation(float(p @ np.log(total)), log_factors, max(float(log_factors.max()), 0.0))

    start = transposed @ (p / (kernel @ np.ones(len(y))))
    start = np.maximum(start, 1e-200)
    found = maximise(
        likelihood,
        start,
        tolerance=effort.tolerance_nats,
        max_iterations=effort.max_iterations,
    )
    q = found.distribution
    joint_error = _with_data(pattern, kernel.data * excess) @ q
    distortion = float((p / np.maximum(kernel @ q, 1e-300)) @ joint_error)
    nats = -found.value - distortion / (2 * width**2)
    return SlopePoint(max(nats, 0.0) / _LN2, distortion + float(p @ floor), width)


def curve_through(
    points: list[SlopePoint], variance: float, *, end: tuple[float, float] | None
) -> RateDistortion:
    """Join points smoothly: a cubic in log D that meets their slopes.

    Convexity bounds the curve between two points by their chord and by their tangents.

    Args:
        points: Points of the curve, in any order.
        variance: Distortion at rate 0.
        end: Rate and distortion of the best description, if it is not among the points.

    Returns:
        The convex curve from rate 0 to the last point or the end.
    """
    inside = [point for point in points if 1e-12 < point.distortion / variance < 1 - 1e-9]
    known = np.array([(0.0, variance, np.inf), *inside])
    rate, distortion, width = known[falling_hull(known[:, 0], known[:, 1])][::-1].T
    if len(rate) > 1:
        grid = distortion_grid(variance, float(distortion[0]))[::-1]
        slope = -1 / (2 * width**2 * _LN2)
        # The slope at rate 0 is not known; a parabola through the last two points tells it.
        chord = (rate[-2] - rate[-1]) / (distortion[-2] - distortion[-1])
        slope[-1] = min(2 * chord - slope[-2], 0.0)
        smooth = CubicHermiteSpline(np.log(distortion), rate, distortion * slope)(np.log(grid))
        right = np.clip(np.searchsorted(distortion, grid), 1, len(rate) - 1)
        tangents = [rate[i] + slope[i] * (grid - distortion[i]) for i in (right - 1, right)]
        chords = np.interp(grid, distortion, rate)
        smooth = np.minimum(np.maximum(smooth, np.maximum(*tangents)), chords)
        rate, distortion = np.append(rate, smooth), np.append(distortion, grid)
    if end is not None:
        rate, distortion = np.append(rate, end[0]), np.append(distortion, end[1])
    return convex_curve(np.maximum(rate, 0.0), distortion)


def _with_data(pattern: csr_array, data: np.ndarray) -> csr_array:
    return csr_array((data, pattern.indices, pattern.indptr), shape=pattern.shape)


def _square_errors(x: np.ndarray, y: np.ndarray, reach: float) -> csr_array:
    """Hold (x - y)^2 of the pairs within reach, a sparse (V, Y); zeros are kept."""
    low = np.searchsorted(y, x - reach)
    count = np.searchsorted(y, x + reach, side="right") - low
    start = np.concatenate(([0], np.cumsum(count)))
    column = np.arange(start[-1]) - np.repeat(start[:-1] - low, count)
    error = np.repeat(x, count) - y[column]
    return csr_array((error**2, column, start), shape=(len(x), len(y)))


def _alphabet(values: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check a discrete source; give its values rising and distinct, all of them possible."""
    x = np.asarray(values, dtype=np.float64)
    p = np.asarray(probabilities, dtype=np.float64)
    if x.ndim != 1 or x.shape != p.shape or not x.size:
        raise InputError(
            f"expected values and probabilities of one shape (V,), got {x.shape} and {p.shape}"
        )
    if not np.isfinite(x).all():
        raise InputError("values: expected finite numbers")
    if not (p >= 0).all() or abs(p.sum() - 1) > 1e-6:
        raise InputError(f"probabilities: expected >= 0 with sum 1, got sum {p.sum():.6g}")
    distinct, place = np.unique(x[p > 0], return_inverse=True)
    return distinct, np.bincount(place, weights=p[p > 0]) / p.sum()
