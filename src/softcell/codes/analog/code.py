"""Weights of one tensor to levels and back: signs, classes, ranges, averaged cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.bfloat16 import ceiling
from softcell.channel import Channel
from softcell.codes.analog.position_map import POSITIONS, Decoder, decoder
from softcell.codes.analog.value_range import PLACES, ValueRange, map_of
from softcell.codes.code import (
    RUN_CELLS,
    Block,
    ColumnCodec,
    Design,
    Part,
    StoredTensor,
    require_each_row,
    salvaged_bytes,
)
from softcell.compiled import compiled
from softcell.errors import InputError

_RUN_WEIGHTS = 1 << 18


@dataclass(frozen=True, eq=False)
class AnalogCode:
    """How the weights of one tensor, rows by columns, are written to cells.

    A row is an output channel. Each weight belongs to a class: 0 if it is left out (its value is
    zero and the mask says so), otherwise the range it falls into. It takes `cells[row, class - 1]`
    cells, one after another, all programmed to the same level; their readings are averaged.

    Args:
        sign: Signs are stored apart and ranges hold magnitudes.
        mask: The class of every weight is stored apart; otherwise all are of class 1.
        ranges: Range of each class; with signs apart each begins where the one before ends.
        cells: Cells for a weight, shape (rows, ranges), from 1 to 255.
    """

    sign: bool
    mask: bool
    ranges: tuple[ValueRange, ...]
    cells: NDArray[np.uint8] = field(repr=False)

    def __post_init__(self) -> None:
        if self.cells.ndim != 2 or self.cells.shape[1] != len(self.ranges) or not self.ranges:
            raise InputError("cells need shape (rows, ranges) with at least one range")
        if self.cells.size and self.cells.min() < 1:
            raise InputError("every weight that is stored needs at least one cell")
        if len(self.ranges) > 1 and not self.mask:
            raise InputError("several ranges need a mask that says which weight is in which")

    def require_rows(self, rows: int) -> None:
        """Make sure that there are cells for so many rows, and ranges that can be stored."""
        require_each_row(self.cells[:, 0], rows)
        low = 0.0
        for each in self.ranges:
            expected, low = low if self.sign else -each.high, each.high
            blind = each.start == each.stop == 0
            places = min(each.start, each.stop) >= 0 and max(each.start, each.stop) <= PLACES
            if each.low != expected or each.high < each.low or ceiling(each.high) != each.high:
                raise InputError(f"{each} is no range of values")
            if not places or (each.start == each.stop and not blind):
                raise InputError(f"{each} is no part of a cell's response")

    def encode(self, rows: NDArray[np.float32], design: Design) -> Iterator[Block]:
        """Yield the side information, and the levels of the cells, a run of weights at a time."""
        from softcell.codes.analog.side_information import encode_side

        yield Block(Part.SIDE, encode_side(self, rows))
        tables = tables_of(self, design.channel, design.channel)
        step = max(_RUN_WEIGHTS // rows.shape[1], 1)
        for first in range(0, len(rows), step):
            for left in range(0, rows.shape[1], _RUN_WEIGHTS):
                part = rows[first : first + step, left : left + _RUN_WEIGHTS]
                levels = encode_rows(part, self.classes(part), self, tables, first)
                yield Block(Part.LEVELS, levels)

    @classmethod
    def decode(cls, stored: StoredTensor) -> NDArray[np.float32]:
        """Return the weights: classes and signs from the store, sizes from the cells."""
        from softcell.codes.analog.side_information import decode_side

        side = decode_side(stored.data, (stored.rows, stored.columns))
        row_cells = side.code.row_cells(side.classes)
        stored.require_cells(int(row_cells.sum()))
        out = np.zeros(side.classes.shape, np.float32)
        if not stored.cells:  # every weight is a zero of the mask
            return out
        tables = tables_of(side.code, stored.design.channel, stored.law.average)

        def decode(block: _Run) -> None:
            place = block.rows, block.columns
            out[place] = decode_rows(
                stored.read(block.start, block.stop),
                side.classes[place],
                side.negative[place],
                side.code,
                tables,
                block.rows.start,
            )

        stored.each(decode, _runs(side.code, side.classes, row_cells))
        return out

    @classmethod
    def salvage(cls, stored: StoredTensor) -> NDArray[np.float32]:
        """Return the weights whose signs are there, if nothing else is lost."""
        from softcell.codes.analog.side_information import decode_side

        side = decode_side(stored.data, (stored.rows, stored.columns))
        signs = -(-int(np.count_nonzero(side.classes)) // 8) if side.code.sign else 0
        return salvaged_bytes(cls, stored, len(stored.data) - signs)

    def columns(self, rows: NDArray[np.float32], design: Design) -> ColumnCodec:
        """Return how columns become levels."""
        from softcell.codes.analog.columns import AnalogColumns

        return AnalogColumns(self, rows, design.channel)

    def classes(self, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the class of each weight of some rows, same shape."""
        if not self.mask:
            return np.ones(rows.shape, np.uint8)
        result: NDArray[np.uint8] = (rows != 0).astype(np.uint8)
        size = np.abs(rows)
        for value_range in self.ranges[:-1]:
            result += size > np.float32(value_range.high)
        return result

    def row_cells(self, classes: NDArray[np.uint8], first_row: int = 0) -> NDArray[np.int64]:
        """Return the number of cells of some rows.

        Args:
            classes: Classes of the weights of these rows, shape (rows, columns).
            first_row: Number of the first of these rows in the tensor.
        """
        cells = self.cells[first_row : first_row + len(classes)].astype(np.int64)
        if not self.mask:
            alike: NDArray[np.int64] = cells[:, 0] * classes.shape[1]
            return alike
        total = np.zeros(len(classes), np.int64)
        for c in range(len(self.ranges)):
            total += (classes == c + 1).sum(axis=1) * cells[:, c]
        return total


@dataclass(frozen=True)
class Tables:
    """A code's maps and decoders as arrays for the kernels.

    Args:
        levels: Level indices by position, shape (ranges, POSITIONS).
        positions: Positions by reading, shape (ranges, entries).
        low: Reading of the first entry.
        step: Distance between two entries' readings.
        scale: Low and width of each range's values, shape (ranges, 2); the width of a symmetric
            range may be beyond float32.
    """

    levels: NDArray[np.uint8]
    positions: NDArray[np.float32]
    low: float
    step: float
    scale: NDArray[np.float64]


def tables_of(code: AnalogCode, design: Channel, at_reading: Channel) -> Tables:
    """Return the tables of a code.

    Args:
        code: The code.
        design: The law at the age that the code was designed for.
        at_reading: The law at the age of the cells that are read.
    """
    maps = [map_of(value_range, design) for value_range in code.ranges]
    decoders: list[Decoder] = [decoder(position_map, at_reading) for position_map in maps]
    return Tables(
        levels=np.stack([position_map.levels for position_map in maps]),
        positions=np.stack([each.positions for each in decoders]),
        low=decoders[0].low,
        step=decoders[0].step,
        scale=np.array([(r.low, r.high - r.low) for r in code.ranges], np.float64),
    )


def encode_rows(
    rows: NDArray[np.float32],
    classes: NDArray[np.uint8],
    code: AnalogCode,
    tables: Tables,
    first_row: int = 0,
) -> NDArray[np.uint8]:
    """Return the level index of every cell of some rows.

    Args:
        rows: Weights, shape (rows, columns), finite.
        classes: Their classes, same shape.
        code: The tensor's code.
        tables: Its tables.
        first_row: Number of the first of these rows in the tensor.

    Returns:
        Level indices, shape (cells,), in the order of the weights.
    """
    cells = code.cells[first_row : first_row + len(rows)]
    weight_cells = _weight_cells(classes, cells)
    out = np.empty(int(weight_cells.sum(dtype=np.int64)), np.uint8)
    _encode(rows, classes, cells, tables.levels, tables.scale, code.sign, out)
    return out


def decode_rows(
    readings: NDArray[np.float32],
    classes: NDArray[np.uint8],
    negative: NDArray[np.uint8],
    code: AnalogCode,
    tables: Tables,
    first_row: int = 0,
) -> NDArray[np.float32]:
    """Return the weights of some rows, estimated from their cells' readings.

    Args:
        readings: Readings in the order of `encode_rows`, shape (cells,). A missing one (NaN) is
            left out of the average; a weight without any takes the middle of its range.
        classes: Classes of the weights, shape (rows, columns).
        negative: 1 for a negative weight, same shape; only read where signs are stored apart.
        code: The tensor's code.
        tables: Its tables.
        first_row: Number of the first of these rows in the tensor.
    """
    cells = code.cells[first_row : first_row + len(classes)]
    out = np.empty(classes.shape, np.float32)
    low, inverse = np.float32(tables.low), np.float32(1 / tables.step)
    _decode(
        readings,
        classes,
        negative,
        cells,
        tables.positions,
        low,
        inverse,
        tables.scale,
        code.sign,
        out,
    )
    return out


@dataclass(frozen=True)
class _Run:
    """Weights that are decoded together, and where their cells are in their region."""

    rows: slice
    columns: slice
    start: int
    stop: int


def _runs(
    code: AnalogCode, classes: NDArray[np.uint8], row_cells: NDArray[np.int64]
) -> Iterator[_Run]:
    """Yield whole rows of at most RUN_CELLS cells together, and longer rows in pieces."""
    ends = np.cumsum(row_cells)
    columns = classes.shape[1]
    first, start = 0, 0
    while first < len(ends):
        stop_row = max(int(np.searchsorted(ends, start + RUN_CELLS, side="right")), first + 1)
        rows = slice(first, stop_row)
        width = columns
        if row_cells[first] > RUN_CELLS:
            width = max(RUN_CELLS // int(code.cells[first].max()), 1)
        for left in range(0, columns, width):
            piece = slice(left, left + width)
            cells = int(ends[stop_row - 1]) - start
            if width < columns:
                cells = int(code.row_cells(classes[rows, piece], first)[0])
            yield _Run(rows, piece, start, start + cells)
            start += cells
        first = stop_row


def _weight_cells(classes: NDArray[np.uint8], cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the cells of each weight, same shape as classes."""
    padded = np.concatenate([np.zeros((len(cells), 1), np.uint8), cells], axis=1)
    return np.take_along_axis(padded, classes.astype(np.intp), axis=1)


@compiled()
def _encode(rows, classes, cells, levels, scale, sign, out):
    steps = np.float64(POSITIONS - 1)
    at = 0
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            kind = classes[i, j]
            if kind == 0:
                continue
            low, width = scale[kind - 1, 0], scale[kind - 1, 1]
            value = abs(rows[i, j]) if sign else rows[i, j]
            position = (value - low) / width if width > 0 else 0.0
            position = min(max(position, 0.0), 1.0)
            level = levels[kind - 1, int(position * steps + 0.5)]
            for _ in range(cells[i, kind - 1]):
                out[at] = level
                at += 1


@compiled()
def _decode(readings, classes, negative, cells, positions, low, inverse, scale, sign, out):
    last = positions.shape[1] - 1
    at = 0
    for i in range(classes.shape[0]):
        for j in range(classes.shape[1]):
            kind = classes[i, j]
            if kind == 0:
                out[i, j] = np.float32(0.0)
                continue
            count = cells[i, kind - 1]
            total = np.float32(0.0)
            seen = 0
            for _ in range(count):
                if not np.isnan(readings[at]):
                    total += readings[at]
                    seen += 1
                at += 1
            if seen == 0:
                middle = np.float32(scale[kind - 1, 0] + 0.5 * scale[kind - 1, 1])
                out[i, j] = -middle if sign and negative[i, j] else middle
                continue
            place = (total / np.float32(seen) - low) * inverse
            place = min(max(place, np.float32(0.0)), np.float32(last))
            k = min(int(place), last - 1)
            left = positions[kind - 1, k]
            position = left + (place - np.float32(k)) * (positions[kind - 1, k + 1] - left)
            value = np.float32(scale[kind - 1, 0] + position * scale[kind - 1, 1])
            out[i, j] = -value if sign and negative[i, j] else value
