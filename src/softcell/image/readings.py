"""Where readings come from: a simulated chip, or measurements of a real one."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from softcell.devices import SimulatedCells
from softcell.devices.measurements.numbers import mark_of
from softcell.errors import InputError
from softcell.image.cell_image import CellImage, Region
from softcell.image.plausible import Implausible, implausible, plausible_readings


class Readings(Protocol):
    """Readings of the cells of an image."""

    @property
    def age_seconds(self) -> float:
        """Age of the cells when they were read."""
        ...

    def read(self, region: Region, start: int, stop: int) -> NDArray[np.float32]:
        """Return the readings of cells start to stop of a region, on the device's axis."""
        ...


def simulated_chip(seed: int) -> str:
    """Return the name of the simulated chip of a seed."""
    return f"simulated:{seed}"


def require_chip(image: CellImage, chip: str) -> None:
    """Make sure that an image may be written to a chip.

    Raises:
        InputError: It came into being with another one, in a closed write loop.
    """
    own = image.header.chip
    if own not in (None, chip):
        simulated = own.startswith("simulated:")
        how = f"--seed {own[10:]}" if simulated else "its readings go to `softcell decode`"
        raise InputError(
            f"this image was written in a closed loop and is for chip {own} alone, not for {chip}; "
            f"read that chip ({how})"
        )


def own_seed(image: CellImage) -> int | None:
    """Return the seed of the one simulated chip that an image is for; None if it is for any.

    Raises:
        InputError: The image is for a real chip.
    """
    own = image.header.chip
    if own is None:
        return None
    kind, _, number = own.partition(":")
    if kind != "simulated" or not number.isdecimal():
        raise InputError(
            f"this image is for chip {own} alone; decode that chip's readings with "
            "`softcell decode`, and evaluate the weights"
        )
    return int(number)


class SimulatedChip:
    """A chip that the image is written to, aged and read once, all decided by a seed.

    Any part of the chip can be had by itself.

    Args:
        image: The image to write.
        seed: Which chip: an integer from 0.
        age_seconds: Age at which the chip is read, at least 0.
        read: Which of the reads of this chip at this age.
    """

    def __init__(self, image: CellImage, *, seed: int, age_seconds: float = 0.0, read: int = 0):
        if not (np.isfinite(age_seconds) and age_seconds >= 0):
            raise InputError(f"an age must be finite and at least 0 s, got {age_seconds}")
        self._cells = SimulatedCells(image.header.device, seed)
        require_chip(image, simulated_chip(seed))
        self._image, self._read = image, read
        self._age_seconds = float(age_seconds)

    @property
    def age_seconds(self) -> float:
        """Age of the cells when they are read, in seconds."""
        return self._age_seconds

    def read(self, region: Region, start: int, stop: int) -> NDArray[np.float32]:
        """Write, age and read cells start to stop of a region."""
        chip, levels = self._cells, self._image.levels(region, start, stop)
        cells = chip.device.age(chip.write(region.label, levels, start), self._age_seconds)
        return chip.read(region.label, cells, start, number=self._read)


class MeasuredReadings:
    """Readings that were measured on a chip, in the device's unit and the order of the export.

    A cell that gave none is NaN, or an empty field. What the device cannot have given at any level
    counts as none.

    Args:
        image: The image that the chip was programmed from.
        path: NumPy file (.npy) of shape (cells,), or CSV with a column `reading`; where it also has
            the columns `region` and `cell` of the export, its lines may be in any order.
        age_seconds: Age of the cells when they were measured.

    Raises:
        InputError: The file is not readable, or holds another number of readings than the image
            has cells.
    """

    def __init__(self, image: CellImage, path: Path | str, *, age_seconds: float = 0.0) -> None:
        self._image, self._device = image, image.header.device
        self._age_seconds = float(age_seconds)
        self._path = Path(path)
        self._start: dict[str, int] = {}
        sizes, at = {}, 0
        for region in image.regions():
            self._start[region.label], sizes[region.label] = at, region.cells
            at += region.cells
        self._values = measured_numbers(
            self._path,
            lambda region, cell: self._start[region] + cell if 0 <= cell < sizes[region] else -1,
            image.header.cells,
        )
        if not (np.isfinite(age_seconds) and age_seconds >= 0):
            raise InputError(f"an age must be finite and at least 0 s, got {age_seconds}")
        cells = image.header.cells
        if self._values.shape != (cells,):
            raise InputError(
                f"{path}: readings of shape {self._values.shape}; this image has {cells} cells and "
                f"needs shape ({cells},), in the order of `softcell export`"
            )

    @property
    def _ages(self) -> tuple[float, ...]:
        """Ages that the cells may have: a wrong one that was told is no reason to drop readings."""
        return 0.0, self._age_seconds, self._image.header.ages.last

    @property
    def age_seconds(self) -> float:
        """Age of the cells when they were measured, in seconds."""
        return self._age_seconds

    def read(self, region: Region, start: int, stop: int) -> NDArray[np.float32]:
        """Return measured readings, converted to the device's axis."""
        first = self._start[region.label]
        values = self._values[first + start : first + stop]
        return plausible_readings(values, self._device, self._ages)

    def implausible(self) -> Implausible:
        """Return how many readings are missing or cannot be, and what is likely wrong."""
        regions = list(self._image.regions())
        levels = [self._image.levels(region, 0, region.cells) for region in regions]
        return implausible(self._values, self._device, self._ages, np.concatenate(levels))


class CombinedReadings:
    """Several readings of one chip at one age: the mean of those that each cell has.

    Args:
        parts: The readings, at least one.

    Raises:
        InputError: There is none, or their ages differ.
    """

    def __init__(self, parts: Sequence[Readings]) -> None:
        ages = {each.age_seconds for each in parts}
        if len(ages) != 1:
            raise InputError(f"readings that are combined need one age, got {sorted(ages)} s")
        self.parts = tuple(parts)

    @property
    def age_seconds(self) -> float:
        """Age of the cells when they were read, in seconds."""
        return self.parts[0].age_seconds

    def read(self, region: Region, start: int, stop: int) -> NDArray[np.float32]:
        """Return the mean reading of cells start to stop; NaN where none gave one."""
        total, count = np.zeros(stop - start), np.zeros(stop - start, np.int64)
        for each in self.parts:
            values = each.read(region, start, stop)
            there = ~np.isnan(values)
            total[there] += values[there]
            count += there
        mean = np.full(stop - start, np.nan, np.float32)
        np.divide(total, count, out=mean, where=count > 0, casting="unsafe")
        return mean


_SEPARATORS = ",;\t"
"""What may stand between fields; beside the comma, decimal commas are read."""

Place = Callable[[str, int], int]
"""Where the reading of a cell of a region belongs; below 0 or a `KeyError` where there is none."""


def measured_numbers(path: Path, place: Place, cells: int) -> NDArray[Any]:
    """Return the numbers of a NumPy file (.npy), or of the column `reading` of a CSV file.

    Args:
        path: The file.
        place: Tells the places of lines that name their cell in the columns `region` and `cell`.
        cells: How many numbers there should be: where the column is the only one, empty lines at
            the end are cells that could not be read up to so many.

    Raises:
        InputError: The file is not readable or holds no numbers.
    """
    try:
        values = _from_csv(path, place, cells) if path.suffix.lower() == ".csv" else _from_npy(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, TokenError, csv.Error) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a readable .npy or .csv file ({reason})") from None
    if values.dtype.kind not in "fiu":
        raise InputError(f"{path}: expected an array of numbers, got {values.dtype}")
    return values


def _from_npy(path: Path) -> NDArray[Any]:
    # Unlike np.load, it takes no other kind of file. Mapping it finds out whether what its header
    # claims is there; it is then read, since a file that is cut while mapped ends the process.
    mapped = np.lib.format.open_memmap(path, mode="r")
    shape, order, kind, start = mapped.shape, mapped.flags.fnc, mapped.dtype, mapped.offset
    del mapped
    values = np.fromfile(path, kind, int(np.prod(shape)), offset=start)
    return values.reshape(shape, order="F" if order else "C")


def _from_csv(path: Path, place: Place, cells: int) -> NDArray[np.float64]:
    with open(path, encoding=_encoding(path), newline="") as file:
        first = file.readline()
        separator = max(_SEPARATORS, key=first.count)
        decimal = "." if separator == "," else ","
        header = [title.strip().lower() for title in next(csv.reader([first], delimiter=separator))]
        lines = csv.reader(file, delimiter=separator)
        if header.count("reading") != 1:
            raise InputError(f"{path}: expected a header line with a column named reading")
        column = header.index("reading")
        named = header.count("region") == header.count("cell") == 1
        values, places, empty = array("d"), array("q"), 0
        for fields in lines:
            if not fields:
                empty += len(header) == 1
                continue
            values.extend([math.nan] * empty)
            empty = 0
            try:
                values.append(_number(fields[column], decimal))
            except (IndexError, ValueError):
                raise InputError(
                    f"{path}, line {lines.line_num + 1}: expected a number in column reading, "
                    f"got {','.join(fields)[:80]!r}"
                ) from None
            if named:
                cell = dict(zip(header, fields))
                places.append(_place(place, cell, f"{path}, line {lines.line_num + 1}"))
        if len(values) < cells <= len(values) + empty:
            values.extend([math.nan] * (cells - len(values)))
    return _placed(np.array(values, np.float64), np.array(places, np.int64), path, named)


def _encoding(path: Path) -> str:
    with open(path, "rb") as file:
        return "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _number(text: str, decimal: str) -> float:
    """Return a reading: NaN for an empty field, infinity for an overflow.

    Raises:
        ValueError: It is none.
    """
    try:
        return float(text.replace(decimal, "."))
    except ValueError:
        mark = mark_of(text)
        if mark is None:
            raise
        return mark


def _place(place: Place, named: Mapping[str, str], where: str) -> int:
    region, cell = named.get("region", ""), named.get("cell", "")
    try:
        found = place(region, int(cell))
    except (KeyError, ValueError):
        found = -1
    if found < 0:
        raise InputError(f"{where}: there is no cell {cell[:20]!r} of region {region[:80]!r}")
    return found


def _placed(
    values: NDArray[np.float64], places: NDArray[np.int64], path: Path, named: bool
) -> NDArray[np.float64]:
    """Return values by their places, each of which must be there once."""
    if not named or not places.size:
        return values
    count = np.bincount(places)
    if (count > 1).any():
        twice = int((count > 1).sum())
        raise InputError(f"{path}: {twice} cells have more than one reading; give each cell once")
    if not count.all():
        raise InputError(
            f"{path}: {int((count == 0).sum())} cells have no reading; give each cell once"
        )
    ordered = np.empty_like(values)
    ordered[places] = values
    return ordered
