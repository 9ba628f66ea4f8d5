"""A real chip on a bench, programmed a batch of cells at a time and read back at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.devices import LEVEL_VALUES, Device
from softcell.errors import InputError
from softcell.image.cell_image import CellImage
from softcell.progress import Progress

BATCH_CELLS = 4096
"""Cells of a batch that no verifying read is needed of."""


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


Exchange = Callable[[Batch], Sequence[float] | NDArray[np.float64]]
"""Programs the cells of a batch and returns their readings, in the unit of the device's reading
axis; what it returns where `verify` is false is not looked at."""


class Bench:
    """A chip that a lab script programs and reads: the memory of a write loop on real hardware.

    Args:
        device: What the chip's cells are taken to be.
        exchange: How batches get to the script, and readings back.
    """

    def __init__(self, device: Device, exchange: Exchange) -> None:
        self._device, self._exchange = device, exchange
        self._units = device.level_axis.to_unit(LEVEL_VALUES)
        self._programmed: dict[str, list[NDArray[np.int64]]] = {}
        self._batches = 0

    def program(
        self, region: str, places: NDArray[np.int64], levels: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Have cells programmed and return their verifying readings, shape (cells,).

        Raises:
            InputError: As many readings as cells did not come, or one of them cannot be.
        """
        if not len(places):
            return np.empty(0, np.float32)
        self._programmed.setdefault(region, []).append(places)
        number = self._batches
        readings = self._send(region, places, levels, verify=True)
        where = f"batch {number} ({region})"
        try:
            values = np.array(readings, np.float64)
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"{where}: the readings are not all numbers") from None
        if values.shape != (len(places),):
            raise InputError(
                f"{where}: expected {len(places)} readings, one for each cell, got "
                f"{values.size if values.ndim else values}"
            )
        try:
            return self._device.reading_axis.from_unit(values).astype(np.float32)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    def program_rest(self, image: CellImage, progress: Progress | None = None) -> None:
        """Have all cells of an image programmed that the write loop has not: those of the digital
        store, and robust ones.

        Args:
            image: The image that came of the loop.
            progress: Called with (what, cells done, cells in all).
        """
        done, cells = 0, image.header.cells
        for region in image.regions():
            left = np.ones(region.cells, bool)
            for places in self._programmed.get(region.label, []):
                left[places] = False
            levels = image.levels(region, 0, region.cells)
            waiting = np.flatnonzero(left)
            for start in range(0, len(waiting), BATCH_CELLS):
                places = waiting[start : start + BATCH_CELLS]
                self._send(region.label, places, levels[places], verify=False)
            done += region.cells
            if progress:
                progress("program the rest", done, cells)

    def _send(
        self,
        region: str,
        places: NDArray[np.int64],
        levels: NDArray[np.uint8],
        *,
        verify: bool,
    ) -> Sequence[float] | NDArray[np.float64]:
        batch = Batch(self._batches, region, places, levels, self._units[levels], verify)
        self._batches += 1
        return self._exchange(batch)
