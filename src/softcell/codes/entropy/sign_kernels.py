"""The inner loop that looks for the period of signs along rows."""

from __future__ import annotations

import numpy as np

from softcell.compiled import compiled


@compiled()
def agreements(signs, most):
    """Return by how much more signs agree than disagree, for each distance along a row.

    Args:
        signs: -1, 0 or 1, int8, shape (rows, columns).
        most: Largest distance, below columns.

    Returns:
        Shape (most + 1,); 0 for distances 0 and 1.
    """
    total = np.zeros(most + 1, np.int64)
    for row in range(signs.shape[0]):
        for lag in range(2, most + 1):
            agreed = np.int32(0)
            for column in range(lag, signs.shape[1]):
                agreed += np.int32(signs[row, column]) * np.int32(signs[row, column - lag])
            total[lag] += agreed
    return total
