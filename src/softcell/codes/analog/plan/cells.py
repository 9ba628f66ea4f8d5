"""How many cells each row gets: evenly, or where they take most from the expected loss."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

MOST = 15
"""Most cells averaged for one weight: beyond, a cell gains less than 0.3 dB."""


def even_cells(
    rows: int, mean_cells: float, weights: NDArray[np.integer] | None = None
) -> NDArray[np.uint8]:
    """Return cells per weight for each row with a given mean, at least 1.

    The first rows get one more cell than the last; the mean is not exceeded.

    Args:
        rows: Number of rows.
        mean_cells: Mean number of cells of a weight; what is below 1 counts as 1.
        weights: Number of weights in each row, shape (rows,); by default all equal.

    Example:
        >>> even_cells(4, 1.5).tolist(), even_cells(4, 1.5, np.array([9, 1, 5, 5])).tolist()
        ([2, 2, 1, 1], [2, 2, 1, 1])
    """
    mean_cells = min(max(mean_cells, 1.0), float(MOST))
    base = int(mean_cells)
    ends = np.arange(1, rows + 1) if weights is None else np.cumsum(weights)
    more = ends <= (mean_cells - base) * float(ends[-1]) + 1e-9 if rows else np.zeros(0)
    return (base + more * (base < MOST)).astype(np.uint8)


def sensitive_cells(
    gain: NDArray[np.float64], weights: NDArray[np.integer], budget: float
) -> NDArray[np.uint8]:
    """Share cells among groups so that sum weights gain / cells is least.

    Averaging r cells leaves 1/r of a weight's variance, so that the (r+1)-th cell of a group gains
    gain / (r (r + 1)) for each cell spent. Cells go in the order of that gain.

    Args:
        gain: Expected loss of one weight of each group when it has one cell, shape (groups,), at
            least 0.
        weights: Number of weights in each group, same shape.
        budget: Cells to spend; each weight gets at least one in any case.

    Returns:
        Cells per weight for each group, from 1 to MOST, shape (groups,); 1 for an empty group.

    Example:
        >>> sensitive_cells(np.array([1.0, 8.0]), np.array([10, 10]), 40).tolist()
        [1, 3]
    """
    some = np.flatnonzero((gain > 0) & (weights > 0))
    result = np.ones(len(gain), np.uint8)
    spare = budget - float(weights.sum())
    if some.size == 0 or spare <= 0:
        return result
    result[some] = _shared(gain[some], weights[some], spare + float(weights[some].sum()))
    return result


def _shared(
    gain: NDArray[np.float64], weights: NDArray[np.integer], budget: float
) -> NDArray[np.int64]:
    def cells_at(threshold: float) -> NDArray[np.int64]:
        """Return the cells whose gain is at least the threshold."""
        wanted = np.floor((np.sqrt(1 + 4 * gain / threshold) + 1) / 2)
        return np.clip(wanted, 1, MOST).astype(np.int64)

    high = float(gain.max())
    low = max(float(gain.min()) / (2 * MOST * (MOST + 1)), 1e-200 * high)
    for _ in range(64):
        middle = float(np.sqrt(low) * np.sqrt(high))
        if (weights * cells_at(middle)).sum() > budget:
            low = middle
        else:
            high = middle
    cells = cells_at(high)
    # What is left is too little for all groups that would be next: one after another, those
    # whose cells gain equally much in their order.
    left = budget - float((weights * cells).sum())
    waiting = np.flatnonzero((cells < MOST) & (weights <= left))
    gained = gain[waiting] / (cells[waiting] * (cells[waiting] + 1))
    queue = list(zip((-gained).tolist(), waiting.tolist()))
    heapify(queue)
    smallest = float(weights.min())
    while queue and left >= smallest:
        _, group = heappop(queue)
        if weights[group] > left:
            continue
        cells[group] += 1
        left -= float(weights[group])
        if cells[group] < MOST:
            heappush(queue, (-gain[group] / (cells[group] * (cells[group] + 1)), group))
    return cells
