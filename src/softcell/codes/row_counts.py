"""Numbers of rows as bytes, and the reader of side information."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from softcell.errors import FormatError

MOST_CELLS = 255
"""Largest number that a row can have."""


def leads(cells: NDArray[np.uint8]) -> bool:
    """Return whether each column is one number, with one more in its first rows alone."""
    step = np.diff(cells.astype(np.int64), axis=0)
    return bool(((step <= 0) & (step >= -1)).all() and (step.sum(axis=0) >= -1).all())


def width_of(column: NDArray[np.uint8]) -> int:
    """Return the bits that tell the column's numbers apart."""
    return int(column.max() - column.min()).bit_length()


def encode_counts(column: NDArray[np.uint8], per_row: bool) -> bytes:
    """Return one number for each row as bytes.

    Args:
        column: Numbers from 1 to MOST_CELLS, shape (rows,).
        per_row: Write each by itself; otherwise the least and how many of the first rows have one
            more, for a column that `leads`.
    """
    least = int(column.min())
    if not per_row:
        return struct.pack("<BI", least, int((column > least).sum()))
    width = width_of(column)
    shifts = np.arange(width - 1, -1, -1, dtype=np.uint8)
    bits = ((column - least)[:, None] >> shifts) & 1
    return struct.pack("<BB", least, width) + np.packbits(bits).tobytes()


def decode_counts(reader: ByteReader, rows: int, per_row: bool) -> NDArray[np.uint8]:
    """Return the numbers of `encode_counts`, shape (rows,).

    Raises:
        FormatError: The bytes end too early or give impossible numbers.
    """
    if not per_row:
        least, more = reader.unpack("<BI")
        if more > rows:
            raise FormatError("side information gives cells to more rows than there are")
        cells = np.full(rows, least, np.uint16)
        cells[:more] += 1
    else:
        least, width = reader.unpack("<BB")
        if width > 8:
            raise FormatError("side information gives cell counts of more than a byte")
        data = np.frombuffer(reader.take((rows * width + 7) // 8), np.uint8)
        bits = np.unpackbits(data, count=rows * width).reshape(rows, width)
        cells = np.full(rows, least, np.uint16)
        for place in range(width):
            cells += bits[:, place] * np.uint16(1 << width - 1 - place)
    if cells.min() < 1 or cells.max() > MOST_CELLS:
        raise FormatError(f"side information gives a weight no cell, or more than {MOST_CELLS}")
    return cells.astype(np.uint8)


class ByteReader:
    """Bytes taken from the front.

    Args:
        data: The bytes.
        what: What they are, for the error.
    """

    def __init__(self, data: bytes, what: str = "side information") -> None:
        self._data, self._what, self._at = data, what, 0

    def take(self, count: int, part: str = "") -> bytes:
        """Return the next bytes.

        Args:
            count: How many.
            part: What they are, for the error.

        Raises:
            FormatError: There are fewer.
        """
        if self._at + count > len(self._data):
            if part:
                size = f"of {len(self._data)} bytes"
                raise FormatError(f"{self._what} {size} ends within its {part}")
            raise FormatError(f"{self._what} is shorter than it says")
        self._at += count
        return self._data[self._at - count : self._at]

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def ahead(self) -> bytes:
        """Return what has not been taken, without taking it."""
        return self._data[self._at :]

    def rest(self) -> bytes:
        """Take what has not been taken."""
        return self.take(len(self._data) - self._at)

    def finish(self) -> None:
        if self._at != len(self._data):
            raise FormatError(f"{self._what} is longer than it says")


def runs(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers start, start + 1, ... of each run, one run after the other."""
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    numbers: NDArray[np.int64] = np.repeat(starts, counts) + within
    return numbers
