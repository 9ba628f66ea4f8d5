"""Lower convex hulls, and with them the least of many lines, for every value at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.compiled import compiled


def least_lines(
    a: NDArray[np.float64], b: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return for each value v (increasing) the index of the least line b - 2 v a.

    Only lines on the lower envelope can win: they are found by a hull of the points (a, b).
    """
    order = np.argsort(a, kind="stable")
    hull: NDArray[np.int64] = _lower_hull(a[order], b[order])
    chosen = order[hull]
    slope = np.diff(b[chosen]) / (2 * np.diff(a[chosen]))  # v at which the next line takes over
    return chosen[np.searchsorted(slope, values)]


def falling_hull(cost: NDArray[np.float64], loss: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the options, by rising cost and falling loss, that no mixture of others beats.

    Args:
        cost: Cost of each option, shape (options,).
        loss: Its loss, same shape.

    Example:
        >>> falling_hull(np.array([0.0, 2.0, 1.0, 3.0]), np.array([9.0, 1.0, 7.0, 1.0])).tolist()
        [0, 1]
    """
    order = np.lexsort((loss, cost))
    least = np.minimum.accumulate(loss[order])
    falls = np.append(True, least[1:] < least[:-1])[: order.size]
    order = order[falls]
    hull: NDArray[np.int64] = order[_lower_hull(cost[order], loss[order])]
    return hull


@compiled()
def _lower_hull(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices of the lower convex hull of points sorted by a."""
    hull = np.empty(a.size, np.int64)
    size = 0
    for i in range(a.size):
        if size and a[i] == a[hull[size - 1]]:
            if b[i] >= b[hull[size - 1]]:
                continue
            size -= 1
        while size >= 2:
            p, q = hull[size - 2], hull[size - 1]
            if (b[q] - b[p]) * (a[i] - a[p]) < (b[i] - b[p]) * (a[q] - a[p]):
                break
            size -= 1
        hull[size] = i
        size += 1
    return hull[:size]
