"""How many cells each row gets: evenly, or where they take most from the expected loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST = 15
"""Most cells averaged for one weight: beyond, a cell gains less than 0.3 dB."""


def even_cells(rows: int, mean_cells: float) -> NDArray[np.uint8]:
    """Return cells per weight for each row with a given mean, at least 1.

    The first rows get one more cell than the last; the mean is not exceeded.

    Example:
        >>> even_cells(4, 1.5).tolist()
        [2, 2, 1, 1]
    """
    mean_cells = min(max(mean_cells, 1.0), float(MOST))
    base = int(mean_cells)
    more = int((mean_cells - base) * rows + 1e-9)
    return (base + (np.arange(rows) < more)).astype(np.uint8)


def sensitive_cells(
    gain: NDArray[np.float64], weights: NDArray[np.integer], budget: float
) -> NDArray[np.uint8]:
    """Share cells among groups so that sum weights gain / cells is least.

    Averaging r cells leaves 1/r of a weight's variance, so that the (r+1)-th cell of a group gains
    gain / (r (r + 1)) for each cell spent. Cells go in the order of that gain.

    Args:
        gain: Expected loss of one weight of each group when it has one cell, shape (groups,).
        weights: Number of weights in each group, same shape.
        budget: Cells to spend; each weight gets at least one in any case.

    Returns:
        Cells per weight for each group, from 1 to MOST, shape (groups,).

    Example:
        >>> sensitive_cells(np.array([1.0, 8.0]), np.array([10, 10]), 40).tolist()
        [1, 3]
    """

    def cells_at(threshold: float) -> NDArray[np.int64]:
        wanted = np.ceil((np.sqrt(1 + 4 * gain / threshold) - 1) / 2)
        return np.clip(wanted, 1, MOST).astype(np.int64)

    positive = gain[gain > 0]
    if positive.size == 0 or budget <= weights.sum():
        return np.ones(len(gain), np.uint8)
    low, high = float(positive.min()) / (MOST * (MOST + 1)) / 2, float(positive.max())
    for _ in range(100):
        middle = float(np.sqrt(low * high))
        if (weights * cells_at(middle)).sum() > budget:
            low = middle
        else:
            high = middle
    cells = cells_at(high)
    # Groups whose next cell gains equally much share what is left, in their order.
    left = budget - float((weights * cells).sum())
    next_gain = np.where(cells < MOST, gain / (cells * (cells + 1)), 0)
    for group in np.argsort(-next_gain, kind="stable"):
        if next_gain[group] <= 0 or left < weights.min():
            break
        if weights[group] <= left:
            cells[group] += 1
            left -= float(weights[group])
    return cells.astype(np.uint8)
