"""Laws of readings that are mixtures of normal distributions."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from softcell.compiled import compiled

_REACH = 8.5  # standard deviations beyond which a component has no probability left
_STEPS = 64  # knots of the table of the normal tail for each standard deviation

_FEW = 1 << 16  # components over all levels up to which loops are not worth compiling
_BLOCK = 64  # levels at a time, so that what passes between operations stays in the cache


def normal_nodes(count: int, reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return evenly spaced nodes over +-reach and weights that sum to 1, each of shape (count,).

    Even spacing converges faster than any power for smooth integrands over a normal density.
    A single node is the mean.
    """
    if count == 1:
        return np.zeros(1), np.ones(1)
    nodes = np.linspace(-reach, reach, count)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()


@lru_cache(maxsize=1)
def _tables() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the knots, the normal tail and the normal density at them, shape (knots,)."""
    from scipy.special import ndtr

    at = np.arange(int(_REACH * _STEPS) + 2) / _STEPS
    return at, ndtr(-at), np.exp(-0.5 * at**2) / math.sqrt(2 * math.pi)


@compiled(inline="always")
def _tail(x, knots, tail, density):
    """P(Z > x) for 0 <= x <= _REACH, by three terms of Taylor's series about the nearest knot."""
    k = np.uint32(np.int32(x * _STEPS + 0.5))
    at = knots[k]
    d = x - at
    return tail[k] - density[k] * d * (1.0 - d * (at / 2.0 - d * (at * at - 1.0) / 6.0))


@compiled()
def _accumulate(mean, deviation, weight, edges, out, knots, tail, density):
    bins = out.shape[1]
    for level in range(mean.shape[0]):
        row = out[level]
        for k in range(mean.shape[1]):
            centre, sd, share = mean[level, k], deviation[level, k], weight[level, k]
            home = min(max(np.searchsorted(edges, centre, side="right") - 1, 0), bins - 1)
            if sd <= 0.0:
                row[home] += share
                continue
            scale = 1.0 / sd
            # Out from the centre on both sides, so that the tails are differences of small numbers.
            inner = 0.5
            for j in range(home, 0, -1):
                x = (centre - edges[j]) * scale
                outer = _tail(x, knots, tail, density) if x < _REACH else 0.0
                row[j] += share * (inner - outer)
                inner = outer
                if x >= _REACH:
                    break
            row[0] += share * inner
            inner = 0.5
            for j in range(home, bins - 1):
                x = (edges[j + 1] - centre) * scale
                outer = _tail(x, knots, tail, density) if x < _REACH else 0.0
                row[j] += share * (inner - outer)
                inner = outer
                if x >= _REACH:
                    break
            row[bins - 1] += share * inner


def _accumulate_few(mean, deviation, weight, edges, out):
    """Do as `_accumulate` does, to the bit, on whole arrays: without a compiler to wait for."""
    for first in range(0, len(mean), _BLOCK):
        rows = slice(first, first + _BLOCK)
        for k in range(mean.shape[1]):
            part = weight[rows, k]
            _add_component(mean[rows, k], deviation[rows, k], part, edges, out[rows])


def _add_component(centre, sd, share, edges, out):
    bins = out.shape[1]
    home = np.searchsorted(edges, centre, side="right") - 1
    home = np.minimum(np.maximum(home, 0), bins - 1)
    points, level = np.flatnonzero(sd <= 0.0), np.flatnonzero(sd > 0.0)
    out[points, home[points]] += share[points]
    if not len(level):
        return
    # The bins within reach of each level: as many for all of them, from a first one of its own.
    centre, sd, share, home = centre[level], sd[level], share[level], home[level]
    low = np.maximum(np.searchsorted(edges, centre - _REACH * sd) - 1, 0)
    width = min(int((np.searchsorted(edges, centre + _REACH * sd) - low).max()) + 1, bins)
    low = np.minimum(low, bins - width)
    place = low[:, None] + np.arange(width + 1)
    tails = edges[place]
    tails -= centre[:, None]
    tails *= (1.0 / sd)[:, None]
    tails = _tails(tails)
    each, at = np.arange(len(level)), home - low
    left, right = 0.5 - tails[each, at], 0.5 - tails[each, at + 1]
    beside = tails[:, :-1] - tails[:, 1:]
    place = place[:, :-1]
    np.negative(beside, out=beside, where=place < home[:, None])
    beside[each, at] = 0.0
    beside *= share[:, None]
    out.reshape(-1)[place + level[:, None] * bins] += beside
    out[level, home] += share * left
    out[level, home] += share * right


def _tails(x):
    """P(Z > |x|), and 0 from _REACH on, operation by operation as `_tail`; x is overwritten."""
    np.minimum(np.abs(x, out=x), _REACH, out=x)
    at = x * _STEPS
    at += 0.5
    k = at.astype(np.int32)
    np.divide(k, _STEPS, out=at)
    d = x - at
    curve = at * at
    curve -= 1.0
    curve *= d
    curve /= 6.0
    at /= 2.0
    at -= curve
    at *= d
    np.subtract(1.0, at, out=at)
    _, tail, density = _tables()
    np.take(density, k, out=curve, mode="clip")
    curve *= d
    curve *= at
    np.take(tail, k, out=at, mode="clip")
    at -= curve
    at[x >= _REACH] = 0.0
    return at


def mixture_law(
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
    weight: NDArray[np.float64],
    edges: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the bin probabilities of normal mixtures.

    Args:
        mean: Means, shape (levels, components).
        deviation: Standard deviations, same shape; 0 is a point mass.
        weight: Weights that sum to 1, shape (components,), or (levels, components).
        edges: Increasing bin edges from -inf to inf, shape (bins + 1,).

    Returns:
        Probabilities, shape (levels, bins); rows sum to 1.

    Example:
        >>> edges = np.array([-np.inf, 0.0, np.inf])
        >>> mixture_law(np.zeros((1, 1)), np.ones((1, 1)), np.ones(1), edges).tolist()
        [[0.5, 0.5]]
    """
    out = np.zeros((mean.shape[0], len(edges) - 1))
    mean, deviation, weight, edges = (
        np.ascontiguousarray(each, np.float64) for each in (mean, deviation, weight, edges)
    )
    weight = np.ascontiguousarray(np.broadcast_to(weight, mean.shape))
    if mean.size <= _FEW:
        _accumulate_few(mean, deviation, weight, edges, out)
    else:
        _accumulate(mean, deviation, weight, edges, out, *_tables())
    law: NDArray[np.float64] = out / out.sum(axis=1, keepdims=True)
    return law


def mixture_span(
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
    weight: NDArray[np.float64],
    outside: float,
) -> tuple[float, float]:
    """Return readings beyond which no level has more than a probability, on either side.

    Args:
        mean: Means, shape (levels, components).
        deviation: Standard deviations, same shape.
        weight: Weights that sum to 1, same shape.
        outside: The probability, above 0.
    """
    from scipy.special import ndtr

    scale = np.maximum(deviation, 1e-300)
    ends = []
    for sign in (-1.0, 1.0):
        centre = sign * mean
        low, high = centre.min(axis=1), (centre + _REACH * deviation).max(axis=1)
        for _ in range(40):
            middle = (low + high) / 2
            beyond = (weight * ndtr((centre - middle[:, None]) / scale)).sum(axis=1)
            low, high = np.where(beyond > outside, (middle, high), (low, middle))
        ends.append(sign * float(high.max()))
    return ends[0], ends[1]


def clipped_at_zero(law: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the law of readings that stop at zero, shape (levels, bins) as the one given."""
    zero = int(np.searchsorted(edges, 0.0, side="right")) - 1
    clipped = law.copy()
    clipped[:, zero] += law[:, :zero].sum(axis=1)
    clipped[:, :zero] = 0
    return clipped
