"""One tensor by joint maps: one cell or two for the weights of each row."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.bfloat16 import expand, require_bfloat16, round_up
from softcell.channel import READINGS, Law
from softcell.codes.coarse import design as maps
from softcell.codes.code import (
    RUN_CELLS,
    Block,
    ColumnCodec,
    Design,
    Part,
    StoredTensor,
    require_each_row,
)
from softcell.codes.joint.design import (
    TABLE_BINS,
    design_joint_map,
    joint_estimates,
    joint_map,
    map_name,
)
from softcell.codes.maps.source import SHAPES
from softcell.codes.maps.stored_maps import Maps, maps_of, pack_map
from softcell.codes.row_counts import ByteReader, decode_counts, encode_counts, leads
from softcell.errors import FormatError, InputError

MOST_JOINT_CELLS = 2
"""Most cells that hold a weight together."""


Tables = dict[int, NDArray[np.float32]]
"""Estimates by number of cells."""


@dataclass(frozen=True, eq=False)
class JointCode:
    """How many cells hold each weight of a tensor of rows by columns.

    A row's weights have one cell each, with the optimised map of one cell, or two, side by side.

    Args:
        shape: Index of the density that its maps are designed for.
        deviation: Root mean square of its weights, as a bfloat16.
        cells: Cells of a weight of each row, 1 or 2, shape (rows,).

    Raises:
        InputError: They make no code.
    """

    shape: int
    deviation: float
    cells: NDArray[np.uint8] = field(repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.shape < len(SHAPES):
            raise InputError(f"shape must be 0 to {len(SHAPES) - 1}, got {self.shape}")
        if self.cells.size and not 1 <= self.cells.min() <= self.cells.max() <= MOST_JOINT_CELLS:
            raise InputError(f"a joint map has 1 to {MOST_JOINT_CELLS} cells for each weight")
        if not 0 <= self.deviation < np.inf:
            raise InputError(f"the deviation must be finite and at least 0, got {self.deviation}")

    def require_rows(self, rows: int) -> None:
        """Make sure that there are cells for so many rows, and a deviation that can be stored."""
        require_each_row(self.cells, rows)
        require_bfloat16(self.deviation, "deviation")

    def encode(self, rows: NDArray[np.float32], design: Design) -> Iterator[Block]:
        """Yield the side information, and the levels of the cells."""
        yield Block(Part.SIDE, encode_joint_side(self))
        yield Block(Part.LEVELS, encode_joint(rows, self, design.law))

    @classmethod
    def decode(cls, stored: StoredTensor) -> NDArray[np.float32]:
        """Return the weights, each from the readings of its one or two cells."""
        code, columns, law = decode_joint_side(stored.data, stored.rows), stored.columns, stored.law
        starts = code.row_starts(columns)
        stored.require_cells(int(starts[-1]))
        tables = joint_tables(code, stored.design.maps, law)
        out = np.empty((stored.rows, columns), np.float32)
        step = max(RUN_CELLS // (2 * columns), 1)

        def place(first: int) -> None:
            some = slice(first, min(first + step, stored.rows))
            values = stored.read(int(starts[some.start]), int(starts[some.stop]))
            out[some] = decode_joint(values, code, tables, law.bins, some, columns)

        stored.each(place, range(0, stored.rows, step))
        return out

    def columns(self, rows: NDArray[np.float32], design: Design) -> ColumnCodec:
        """Return how columns become levels."""
        from softcell.codes.joint.columns import JointColumns

        return JointColumns(self, rows.shape[1], design.law)

    def maps(self, design: Design) -> dict[str, NDArray[np.uint8]]:
        """Return the maps of one cell and of two, as far as there are rows of such."""
        found: dict[str, NDArray[np.uint8]] = {}
        if (self.cells == 1).any():
            one = maps.coarse_map(design.maps, self.shape, 0)
            found[maps.map_name(self.shape, 0)] = pack_map(one.distortion, one.parts, one.levels)
        if (self.cells == MOST_JOINT_CELLS).any():
            two = joint_map(design.maps, self.shape)
            found[map_name(self.shape)] = pack_map(two.distortion, two.first, two.second)
        return found

    def row_starts(self, columns: int) -> NDArray[np.int64]:
        """Return the number of cells before each row, and of all, shape (rows + 1,)."""
        ends = np.cumsum(self.cells, dtype=np.int64) * columns
        return np.concatenate([np.zeros(1, np.int64), ends])


def encode_joint_side(code: JointCode) -> NDArray[np.uint8]:
    """Return shape, deviation and cells of each row as bytes."""
    bits = int(round_up(np.array([code.deviation], np.float32))[0])
    per_row = not leads(code.cells)
    head = struct.pack("<BHB", code.shape, bits, per_row)
    return np.frombuffer(head + encode_counts(code.cells, per_row), np.uint8)


def decode_joint_side(data: NDArray[np.uint8], rows: int) -> JointCode:
    """Return the code of a tensor from the bytes of `encode_joint_side`.

    Raises:
        FormatError: The bytes are of another length or name an impossible code.
    """
    reader = ByteReader(data.tobytes())
    shape, bits, per_row = reader.unpack("<BHB")
    deviation = float(expand(np.array([bits], np.uint16))[0])
    cells = decode_counts(reader, rows, bool(per_row))
    reader.finish()
    try:
        return JointCode(shape, deviation, cells)
    except InputError as error:
        raise FormatError(str(error)) from None


def encode_joint(rows: NDArray[np.float32], code: JointCode, law: Law) -> NDArray[np.uint8]:
    """Return the levels of a tensor's cells, row by row, the cells of a weight side by side.

    Args:
        rows: Weights, shape (rows, columns), finite.
        code: The tensor's code.
        law: The law that the code is designed for.

    Returns:
        Level indices, shape (cells,).

    Example:
        >>> from softcell.channel import channel_of
        >>> from softcell.devices import parse_device
        >>> cell = channel_of(parse_device("pcm-partial-reset"))
        >>> code = JointCode(SHAPES.index(2.0), 1.0, np.array([2, 1], np.uint8))
        >>> encode_joint(np.zeros((2, 5), np.float32), code, cell).shape
        (15,)
    """
    starts = code.row_starts(rows.shape[1])
    levels = np.empty(starts[-1], np.uint8)
    for count in np.unique(code.cells):
        reach, first, second = _levels(law, code.shape, int(count))
        for row in np.flatnonzero(code.cells == count):
            place = levels[starts[row] : starts[row + 1]]
            # With one cell for each weight both ends of the pair are the same cell.
            out = place[0::count], place[count - 1 :: count]
            maps.encode(rows[row], code.deviation, reach, first, second, *out)
    return levels


def joint_tables(code: JointCode, design: Law | Maps, at_reading: Law) -> Tables:
    """Return the estimates by number of cells, for cells read under the second law.

    A table of one cell has shape (1, READINGS + 1), one of two (TABLE_BINS + 1, TABLE_BINS + 1).

    Args:
        code: The tensor's code.
        design: The law that it was designed for, or its maps.
        at_reading: The law of its cells when they are read; over several ages the tables are
            those of a decoder that is not told which.
    """
    own = maps_of(design)
    tables: Tables = {}
    for count in np.unique(code.cells):
        if count == 1:
            found = maps.estimates(maps.coarse_map(own, code.shape, 0), at_reading.average)
        else:
            found = joint_estimates(joint_map(own, code.shape), at_reading)
        tables[int(count)] = found
    return tables


def decode_joint(
    readings: NDArray[np.float32],
    code: JointCode,
    tables: Tables,
    bins: Callable[[NDArray[np.float32]], NDArray[np.int64]],
    rows: slice,
    columns: int,
) -> NDArray[np.float32]:
    """Return the weights of some rows from the readings of their cells.

    Args:
        readings: Readings of these rows' cells, shape (cells,).
        code: The tensor's code.
        tables: Its tables.
        bins: Gives the bin of each reading.
        rows: Which rows of the tensor they are.
        columns: Weights in a row.

    Returns:
        Weights, shape (rows, columns).
    """
    place = bins(readings)
    counts = code.cells[rows]
    out = np.empty((len(counts), columns), np.float32)
    at = 0
    for i, count in enumerate(counts.tolist()):
        table = tables[count]
        own = place[at : at + count * columns]
        at += count * columns
        if count == 1:
            maps.decode(np.zeros(columns, np.int64), own, table, code.deviation, out[i])
        else:
            pair = own // (READINGS // TABLE_BINS)
            maps.decode(pair[0::2], pair[1::2], table, code.deviation, out[i])
    return out


def _levels(law: Law, shape: int, cells: int) -> tuple[float, NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the reach of a map and the levels of its first and its last cell."""
    if cells == 1:
        one = maps.design_map(law, shape, 0)
        return one.reach, one.levels, one.levels
    two = design_joint_map(law, shape)
    return two.reach, two.first, two.second
