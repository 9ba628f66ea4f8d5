"""Cells that are to be programmed together on a real chip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Batch:
    """Cells that are to be programmed next.

    Args:
        number: Number of the batch, from 0.
        region: Name of the cells' region, such as "cells/conv1.weight" or "store".
        places: Places of the cells in the region, shape (cells,).
        level_indices: Index of each cell's level, 0 to 255, shape (cells,).
        levels: The levels in the unit of the device's level axis, shape (cells,).
        verify: Whether readings of the cells are wanted.
    """

    number: int
    region: str
    places: NDArray[np.int64] = field(repr=False)
    level_indices: NDArray[np.uint8] = field(repr=False)
    levels: NDArray[np.float64] = field(repr=False)
    verify: bool

    def __str__(self) -> str:
        return f"batch {self.number} ({self.region})"


Exchange = Callable[[Batch], Sequence[float | None] | NDArray[np.float64]]
"""Programs the cells of a batch and returns their readings, in the unit of the device's reading
axis: None or NaN for a cell that cannot be read. What it returns where `verify` is false is not
looked at."""
