"""Convex curves of loss against cells, by row, as the steps in which rows climb them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Curve:
    """What each further step costs the rows of a tensor, and what it takes from the expected loss.

    Args:
        gain: What a cell of each step takes from the loss, falling along a row, shape
            (rows, steps); steps of 0 or less are not taken.
        cost: Cells (or bits) of each step, of a shape that broadcasts to that of the gain.
    """

    gain: NDArray[np.float64] = field(repr=False)
    cost: NDArray[np.floating] | NDArray[np.integer] = field(repr=False)
