"""Simulated cells, region by region: what is drawn for a cell follows from its seed and place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softcell.devices.device import Cells, Device, plain_levels
from softcell.streams import Stream

Places = int | NDArray[np.int64]
"""Where cells lie in their region: the place of the first of a run, or that of each."""


@dataclass(frozen=True)
class SimulatedCells:
    """The cells of a simulated chip.

    What is drawn for a cell depends on the seed, its region and its place alone, so that cells
    that are written one by one, in runs or in one go are the same. The labels of the random streams
    stand here and nowhere else; another label is another chip.

    Args:
        device: The kind of cells.
        seed: Which chip: an integer from 0.

    Raises:
        InputError: No such seed.

    Example:
        >>> from softcell.devices import IdealCell
        >>> chip = SimulatedCells(IdealCell(), seed=7)
        >>> chip.read("store", chip.write("store", np.array([0, 255], np.uint8))).tolist()
        [0.0, 1.0]
    """

    device: Device
    seed: int

    def __post_init__(self) -> None:
        self._stream("", 0)

    def write(self, region: str, levels: NDArray[np.uint8], at: Places = 0) -> Cells:
        """Write cells.

        Args:
            region: Name of the cells' region, such as "cells/conv1.weight" or "store".
            levels: Level index of each, shape (cells,).
            at: Where they lie in the region.
        """
        return self.device.write(plain_levels(levels), stream=self._stream(f"write/{region}", at))

    def verify(
        self, region: str, cells: Cells, at: Places = 0, *, number: int = 0
    ) -> NDArray[np.float32]:
        """Return a verifying read of each cell, shape (cells,): another than any read of `read`."""
        return self.device.read(cells, stream=self._stream(f"verify/{number}/{region}", at))

    def read(
        self, region: str, cells: Cells, at: Places = 0, *, number: int = 0
    ) -> NDArray[np.float32]:
        """Return the reading of each cell at its age, shape (cells,).

        Args:
            region: Name of the cells' region.
            cells: The cells, as `write` made them, or aged.
            at: Where they lie in the region.
            number: Which of the reads of this chip.
        """
        return self.device.read(cells, stream=self._stream(f"read/{number}/{region}", at))

    def _stream(self, label: str, at: Places) -> Stream:
        stream = Stream.of(self.seed, label)
        return stream.cells(at) if isinstance(at, np.ndarray) else stream.at(at)
