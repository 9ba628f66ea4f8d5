"""Laws of readings that are mixtures of normal distributions."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

NODES = 41
"""Quadrature nodes over a standard normal variable."""


def normal_nodes(count: int = NODES, reach: float = 5.0) -> tuple[NDArray, NDArray]:
    """Return evenly spaced nodes over +-reach and weights that sum to 1, each of shape (count,).

    Even spacing converges faster than any power for smooth integrands over a normal density.
    """
    nodes = np.linspace(-reach, reach, count)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()


@njit(cache=True, nogil=True)
def _accumulate(mean, deviation, weight, edges, out):
    bins = out.shape[1]
    for level in range(mean.shape[0]):
        for k in range(mean.shape[1]):
            centre, sd = mean[level, k], deviation[level, k]
            if sd <= 0.0:
                cell = np.searchsorted(edges, centre, side="right") - 1
                out[level, min(max(cell, 0), bins - 1)] += weight[k]
                continue
            scale = 1.0 / (sd * math.sqrt(2.0))
            first = max(np.searchsorted(edges, centre - 8.5 * sd, side="right") - 1, 0)
            last = min(np.searchsorted(edges, centre + 8.5 * sd, side="left"), bins)
            below = 0.0 if first == 0 else 0.5 * math.erfc((centre - edges[first]) * scale)
            for j in range(first, last):
                if j + 1 == bins:
                    above = 1.0
                else:
                    above = 0.5 * math.erfc((centre - edges[j + 1]) * scale)
                out[level, j] += weight[k] * (above - below)
                below = above


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
    args = (np.ascontiguousarray(a, np.float64) for a in (mean, deviation, weight, edges))
    _accumulate(*args, out)
    return out / out.sum(axis=1, keepdims=True)
