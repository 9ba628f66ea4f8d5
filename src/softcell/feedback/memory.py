"""Memories that are programmed a column at a time and read back at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel
from softcell.codes.code import ColumnCodec
from softcell.devices import Device, SimulatedCells
from softcell.errors import InputError
from softcell.feedback.loop import StoreColumn


class Memory(Protocol):
    """Cells that can be programmed and verified: simulated, or on a bench."""

    def program(
        self, region: str, places: NDArray[np.int64], levels: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Program cells and return a verifying read of each.

        Args:
            region: Name of the cells' region, such as "cells/conv1.weight".
            places: Places of the cells in the region, shape (cells,).
            levels: Level index of each, 0 to 255, shape (cells,).

        Returns:
            Readings on the device's reading axis, shape (cells,).
        """
        ...


@dataclass(frozen=True)
class SimulatedMemory:
    """Cells of a simulated chip.

    This is the chip that an image would be written to in one go with the same seed.

    Args:
        device: The kind of cells.
        seed: Which chip: an integer from 0.
        verify_reads: Verifying reads of a cell, which are averaged; from 1.

    Raises:
        InputError: No verifying read, or no such seed.
    """

    device: Device
    seed: int
    verify_reads: int = 1

    def __post_init__(self) -> None:
        if self.verify_reads < 1:
            raise InputError(f"expected at least 1 verifying read, got {self.verify_reads}")
        _ = self._chip  # a bad seed is reported here, not in the loop

    @cached_property
    def _chip(self) -> SimulatedCells:
        return SimulatedCells(self.device, self.seed)

    def program(
        self, region: str, places: NDArray[np.int64], levels: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Write cells and return the mean of their verifying reads, shape (cells,)."""
        cells = self._chip.write(region, levels, places)
        total = np.zeros(len(places), np.float32)
        for number in range(self.verify_reads):
            total += self._chip.verify(region, cells, places, number=number)
        return total / np.float32(self.verify_reads)


def into(memory: Memory, region: str, codec: ColumnCodec, law: Channel) -> StoreColumn:
    """Return how the feedback loop stores a column in a memory.

    Args:
        memory: Where columns are programmed.
        region: Name of the tensor's cells.
        codec: The tensor's code.
        law: Law of the cells at the age of the verifying read.
    """

    def store(column: int, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        levels = codec.encode_column(column, targets)
        readings = memory.program(region, codec.places(column), levels)
        return codec.decode_column(column, readings, targets, law)

    return store
