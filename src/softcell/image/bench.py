"""A real chip on a bench, programmed a batch of cells at a time and read back at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.devices import LEVEL_VALUES, Device
from softcell.errors import InputError
from softcell.image.batch import Batch, Exchange
from softcell.image.cell_image import CellImage
from softcell.image.exchange_journal import ExchangeJournal
from softcell.image.plausible import Implausible, implausible, plausible_readings
from softcell.progress import Progress

BATCH_CELLS = 4096
"""Cells of a batch that no verifying read is needed of."""

_AGES = (0.0,)  # of a verifying read
_DEAD = 4  # cells in succession that may all read what cannot be


@dataclass(frozen=True)
class Unread:
    """Cells of which the write loop knew nothing: it took them for missing.

    Args:
        missing: Cells that could not be read.
        implausible: Cells whose readings the device cannot have given.
        reason: What is likely wrong with those; "" if there is none.
    """

    missing: int = 0
    implausible: int = 0
    reason: str = ""

    def and_of(self, found: Implausible) -> Unread:
        """Return these and those of one more batch."""
        reasons = dict.fromkeys(f"{self.reason}; {found.reason}".split("; "))
        return Unread(
            self.missing + found.missing,
            self.implausible + found.count,
            "; ".join(filter(None, reasons)),
        )


class Bench:
    """A chip that a lab script programs and reads: the memory of a write loop on real hardware.

    A cell without a reading, or with one that the device cannot give, is missing to the loop, as it
    will be to the decoder.

    Args:
        device: What the chip's cells are taken to be.
        exchange: How batches get to the script, and readings back.
        journal: Keeps what is exchanged; what it holds is not exchanged again. None for nowhere.
    """

    def __init__(
        self, device: Device, exchange: Exchange, journal: ExchangeJournal | None = None
    ) -> None:
        self._device, self._exchange, self._journal = device, exchange, journal
        self._units = device.level_axis.to_unit(LEVEL_VALUES)
        self._programmed: dict[str, list[NDArray[np.int64]]] = {}
        self._batches = 0
        self._believed = False
        self._strange = 0
        self.unread = Unread()

    def program(
        self, region: str, places: NDArray[np.int64], levels: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Have cells programmed and return their verifying readings, shape (cells,).

        Returns:
            Readings on the device's reading axis, NaN where one is missing or cannot be.

        Raises:
            InputError: As many readings as cells did not come, one is no number, or none of a batch
                can be of this device.
        """
        if not len(places):
            return np.empty(0, np.float32)
        self._programmed.setdefault(region, []).append(places)
        values = self._send(region, places, levels, verify=True)
        return plausible_readings(values, self._device, _AGES)

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
        self, region: str, places: NDArray[np.int64], levels: NDArray[np.uint8], *, verify: bool
    ) -> NDArray[np.float64]:
        """Return the readings of a batch in their unit, shape (cells,), (0,) without `verify`."""
        batch = Batch(self._batches, region, places, levels, self._units[levels], verify)
        self._batches += 1
        journal = self._journal
        if journal is not None and journal.waiting:
            values = journal.readings(batch)
            self._judge(batch, values)
            return values
        if journal is not None:
            journal.reserve(batch)
        answer = self._exchange(batch)
        values = _numbers(answer, batch) if verify else np.empty(0)
        self._judge(batch, values, refuse=True)
        if journal is not None:
            journal.keep(batch, values)
        return values

    def _judge(self, batch: Batch, values: NDArray[np.float64], *, refuse: bool = False) -> None:
        """Count what cannot be believed.

        Raises:
            InputError: It is all of the batch, and not a few dead cells.
        """
        if not len(values):
            return
        found = implausible(values, self._device, _AGES, batch.level_indices)
        self._strange = self._strange + found.count if found.whole else 0
        if refuse and found.whole and (self._strange >= _DEAD or not self._believed):
            low, high = np.nanmin(values), np.nanmax(values)
            raise InputError(
                f"{batch}: none of its readings, {low:g} to {high:g}, can be of "
                f"{self._device.name}: {found.reason}; mend it, and go on; answer null for cells "
                "that cannot be read"
            )
        self._believed |= found.count + found.missing < found.cells
        self.unread = self.unread.and_of(found)


def _numbers(readings: Sequence[Any] | NDArray[np.float64], batch: Batch) -> NDArray[np.float64]:
    """Return the readings of a batch, NaN for one that is missing, shape (cells,).

    Raises:
        InputError: They are no numbers, or not one for each cell.
    """
    if any(isinstance(each, list | tuple) for each in readings):
        raise InputError(_wanted(batch, "lists"))
    try:
        values = np.array([_number(each) for each in readings], np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{batch}: the readings are not all numbers, or null") from None
    if values.shape != batch.places.shape:
        raise InputError(_wanted(batch, f"{values.size}"))
    return values


def _wanted(batch: Batch, got: str) -> str:
    return f"{batch}: expected {len(batch.places)} readings, one for each cell, got {got}"


def _number(reading: Any) -> float:
    if isinstance(reading, bool):
        raise TypeError
    if reading is None or (isinstance(reading, str) and not reading.strip()):
        return float("nan")
    return float(reading)
