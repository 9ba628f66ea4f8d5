"""Laws of readings that are mixtures of normal distributions."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import ndtr

_REACH = 8.5  # standard deviations beyond which a component has no probability left
_STEPS = 64  # knots of the table of the normal tail for each standard deviation
_TAIL_AT = np.arange(int(_REACH * _STEPS) + 2) / _STEPS
_TAIL = ndtr(-_TAIL_AT)
_DENSITY = np.exp(-0.5 * _TAIL_AT**2) / math.sqrt(2 * math.pi)


def normal_nodes(count: int, reach: float) -> tuple[NDArray, NDArray]:
    """Return evenly spaced nodes over +-reach and weights that sum to 1, each of shape (count,).

    Even spacing converges faster than any power for smooth integrands over a normal density.
    A single node is the mean.
    """
    if count == 1:
        return np.zeros(1), np.ones(1)
    nodes = np.linspace(-reach, reach, count)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()


@njit(cache=True, nogil=True, inline="always")
def _tail(x):
    """P(Z > x) for 0 <= x <= _REACH, by three terms of Taylor's series about the nearest knot."""
    k = np.uint32(np.int32(x * _STEPS + 0.5))
    at = _TAIL_AT[k]
    d = x - at
    return _TAIL[k] - _DENSITY[k] * d * (1.0 - d * (at / 2.0 - d * (at * at - 1.0) / 6.0))


@njit(cache=True, nogil=True)
def _accumulate(mean, deviation, weight, edges, out):
    bins = out.shape[1]
    for level in range(mean.shape[0]):
        row = out[level]
        for k in range(mean.shape[1]):
            centre, sd, share = mean[level, k], deviation[level, k], weight[k]
            home = min(max(np.searchsorted(edges, centre, side="right") - 1, 0), bins - 1)
            if sd <= 0.0:
                row[home] += share
                continue
            scale = 1.0 / sd
            # Out from the centre on both sides, so that the tails are differences of small numbers.
            inner = 0.5
            for j in range(home, 0, -1):
                x = (centre - edges[j]) * scale
                outer = _tail(x) if x < _REACH else 0.0
                row[j] += share * (inner - outer)
                inner = outer
                if x >= _REACH:
                    break
            row[0] += share * inner
            inner = 0.5
            for j in range(home, bins - 1):
                x = (edges[j + 1] - centre) * scale
                outer = _tail(x) if x < _REACH else 0.0
                row[j] += share * (inner - outer)
                inner = outer
                if x >= _REACH:
                    break
            row[bins - 1] += share * inner


def mixture_law(
    mean: NDArray, deviation: NDArray, weight: NDArray, edges: NDArray
) -> NDArray[np.float64]:
    """Return the bin probabilities of normal mixtures.

    Args:
        mean: Means, shape (levels, components).
        deviation: Standard deviations, same shape; 0 is a point mass.
        weight: Weights that sum to 1, shape (components,).
        edges: Increasing bin edges from -inf to inf, shape (bins + 1,).

    Returns:
        Probabilities, shape (levels, bins); rows sum to 1.

    Example:
        >>> edges = np.array([-np.inf, 0.0, np.inf])
        >>> mixture_law(np.zeros((1, 1)), np.ones((1, 1)), np.ones(1), edges).tolist()
        [[0.5, 0.5]]
    """
    out = np.zeros((mean.shape[0], len(edges) - 1))
    _accumulate(
        np.ascontiguousarray(mean, np.float64),
        np.ascontiguousarray(deviation, np.float64),
        np.ascontiguousarray(weight, np.float64),
        np.ascontiguousarray(edges, np.float64),
        out,
    )
    return out / out.sum(axis=1, keepdims=True)


def clipped_at_zero(law: NDArray[np.float64], edges: NDArray) -> NDArray[np.float64]:
    """Return the law of readings that stop at zero, shape (levels, bins) as the one given."""
    zero = int(np.searchsorted(edges, 0.0, side="right")) - 1
    clipped = law.copy()
    clipped[:, zero] += law[:, :zero].sum(axis=1)
    clipped[:, :zero] = 0
    return clipped
