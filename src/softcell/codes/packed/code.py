"""One tensor in packed cells, column after column, so that each column can be written by itself."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel, Law, gray_index, gray_label
from softcell.codes.code import RUN_CELLS, Block, Design, Part, StoredTensor, require_each_row
from softcell.codes.entropy.index_coding import decode_indices, encode_indices, stream_size
from softcell.codes.maps.stored_maps import Maps, maps_of, pack_map
from softcell.codes.packed.design import PackedMap, kept_packed_map, map_name, packed_estimates
from softcell.codes.row_counts import ByteReader
from softcell.codes.store.hard_store import DigitalStore
from softcell.codes.store.store import hard
from softcell.errors import FormatError, InputError

NONE, THIRD, HALF, SINGLE, DOUBLE, TRIPLE = range(6)
"""Classes of rows: no cell; one for three weights, for two, or for one; two or three for one."""

CELLS = np.array([0, 1 / 3, 1 / 2, 1, 2, 3])
"""Cells of a weight, by class."""

SHARING: Mapping[int, int] = {THIRD: 3, HALF: 2}
"""Rows whose weights share cells, by class."""

PER_OCTAVE = 8
"""Scales are this many to an octave."""

_LEAST = -126 * PER_OCTAVE
_LARGEST = 127 * PER_OCTAVE


@dataclass(frozen=True, eq=False)
class PackedCode:
    """How the rows of a tensor are put into cells.

    A row has a class, which says how many cells a weight of it has, and a scale: its weights are
    stored as values in [-1, 1] times the scale. Rows of the classes THIRD and HALF are taken in
    threes and twos in their order, whose weights in the same column share a cell. In classes DOUBLE
    and TRIPLE, robust cells, with the levels of the digital store, come before the one that is
    decoded by its map.

    Args:
        classes: Class of each row, shape (rows,); a multiple of three of them THIRD, of two HALF.
        scales: Scale of each row in eighths of octaves, shape (rows,): 2**(scale / 8).

    Raises:
        InputError: The arrays are not such a code.

    Example:
        >>> code = PackedCode(np.array([HALF, SINGLE, HALF], np.uint8), np.zeros(3, np.int32))
        >>> code.column_cells
        2
    """

    classes: NDArray[np.uint8] = field(repr=False)
    scales: NDArray[np.int32] = field(repr=False)

    def __post_init__(self) -> None:
        if self.classes.ndim != 1 or self.classes.shape != self.scales.shape:
            raise InputError("a packed code needs one class and one scale for each row")
        if self.classes.size and self.classes.max() > TRIPLE:
            raise InputError(f"classes of rows go from 0 to {TRIPLE}, got {self.classes.max()}")
        for kind, number in SHARING.items():
            if (count := np.count_nonzero(self.classes == kind)) % number:
                raise InputError(f"{count} rows cannot share cells in groups of {number}")
        if self.scales.size and not _LEAST <= self.scales.min() <= self.scales.max() <= _LARGEST:
            raise InputError("a scale is out of float32's range; rescale the tensor")

    def require_rows(self, rows: int) -> None:
        """Make sure that there are classes and scales for so many rows."""
        require_each_row(self.classes, rows)

    def encode(self, rows: NDArray[np.float32], design: Design) -> Iterator[Block]:
        """Yield the side information, and the levels of the cells, columns after columns."""
        yield Block(Part.SIDE, encode_packed_side(self))
        codec = self.columns(rows, design)
        step = max(RUN_CELLS // max(self.rows, 1), 1)
        for first in range(0, rows.shape[1] if self.column_cells else 0, step):
            yield Block(Part.LEVELS, codec.encode(rows[:, first : first + step]).reshape(-1))

    @classmethod
    def decode(cls, stored: StoredTensor) -> NDArray[np.float32]:
        """Return the weights; rows without a cell are zero."""
        code, rows, columns = (
            decode_packed_side(stored.data, stored.rows),
            stored.rows,
            stored.columns,
        )
        stored.require_cells(code.cells(columns))
        out = np.zeros((rows, columns), np.float32)
        if not stored.cells:
            return out
        codec = PackedCodec(code, stored.design.maps, hard(stored.design.store))
        width = code.column_cells
        step = max(RUN_CELLS // max(rows, width), 1)

        def place(first: int) -> None:
            last = min(first + step, columns)
            values = stored.read(first * width, last * width)
            out[:, first:last] = codec.decode(values.reshape(-1, width), stored.law.average)

        stored.each(place, range(0, columns, step))
        return out

    def columns(self, rows: NDArray[np.float32], design: Design) -> PackedCodec:
        """Return how columns become levels."""
        return PackedCodec(self, design.maps, hard(design.store))

    def maps(self, design: Design) -> dict[str, NDArray[np.uint8]]:
        """Return the maps of all its classes."""
        codec = PackedCodec(self, design.maps, hard(design.store))
        return {
            map_name(each.values, each.parts): pack_map(each.distortion, each.part, each.levels)
            for each in codec.maps
        }

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.classes)

    @cached_property
    def reach(self) -> NDArray[np.float32]:
        """Largest weight that each row holds, shape (rows,)."""
        return np.exp2(self.scales / PER_OCTAVE).astype(np.float32)

    @cached_property
    def shared(self) -> dict[int, NDArray[np.int64]]:
        """Rows that share cells, by class; shape (cells of a column, rows that share one)."""
        return {
            kind: np.flatnonzero(self.classes == kind).reshape(-1, number)
            for kind, number in SHARING.items()
        }

    @cached_property
    def alone(self) -> NDArray[np.int64]:
        """Rows whose weights have a cell for their map alone."""
        return np.flatnonzero(self.classes >= SINGLE)

    @cached_property
    def robust(self) -> NDArray[np.int64]:
        """Row of each robust cell of a column; a row's first holds its highest digit."""
        return np.repeat(self.alone, self.classes[self.alone] - SINGLE)

    @property
    def column_cells(self) -> int:
        """Cells of a column: robust ones, then shared ones, then one for each row of its own."""
        return len(self.robust) + sum(map(len, self.shared.values())) + len(self.alone)

    def cells(self, columns: int) -> int:
        """Return the cells of the tensor."""
        return self.column_cells * columns


class PackedCodec:
    """Turns columns of a tensor into levels, and readings into columns.

    Args:
        code: The tensor's code.
        design: The law that its maps are designed for, or its maps.
        store: Digital store whose levels the robust cells have.
    """

    def __init__(self, code: PackedCode, design: Law | Maps, store: DigitalStore) -> None:
        self.code, self._store, own = code, store, maps_of(design)
        self._width = store.bits_per_symbol
        robust = code.classes[code.alone] - SINGLE
        numbers = [int(number) for number in np.unique(robust)]
        self._maps = {n: kept_packed_map(own, 1, 1 << self._width * n) for n in numbers}
        self._alone = {n: code.alone[robust == n] for n in numbers}
        # Place of each row of its own among the column's last cells, and of its robust cells.
        self._last = {n: np.flatnonzero(robust == n) for n in self._maps}
        self._first = {
            n: np.flatnonzero(np.repeat(robust, robust) == n).reshape(-1, n)
            for n in self._maps
            if n
        }
        used = {SHARING[kind]: rows for kind, rows in code.shared.items() if len(rows)}
        self._shared = {
            number: (kept_packed_map(own, number), rows) for number, rows in used.items()
        }
        self._tables: dict[tuple[int, int, str], NDArray[np.float32]] = {}

    @property
    def maps(self) -> tuple[PackedMap, ...]:
        """The maps that the code uses."""
        return *self._maps.values(), *(design for design, _ in self._shared.values())

    def encode(self, targets: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the level indices of columns.

        Args:
            targets: Weights, shape (rows, columns).

        Returns:
            Shape (columns, column_cells).
        """
        code, columns = self.code, targets.shape[1]
        values = targets / code.reach[:, None]
        digits = np.empty((columns, len(code.robust)), np.uint8)
        fine = np.empty((columns, len(code.alone)), np.uint8)
        for number, rows in self._alone.items():
            design = self._maps[number]
            place = design.places(values[rows])
            fine[:, self._last[number]] = design.levels[place].T
            part = design.part[place].T
            for digit in range(number):
                shift = self._width * (number - 1 - digit)
                digits[:, self._first[number][:, digit]] = part >> shift & (1 << self._width) - 1
        shared = [
            design.levels[tuple(design.places(values[each]) for each in rows.T)].T
            for design, rows in self._shared.values()
        ]
        return np.hstack([self._robust_levels(digits), *shared, fine])

    def decode(self, readings: NDArray[np.float32], law: Channel) -> NDArray[np.float32]:
        """Return the weights of columns.

        Args:
            readings: Shape (columns, column_cells); NaN for one that is missing.
            law: The law at the readings' age.

        Returns:
            Shape (rows, columns).
        """
        code, columns, robust = self.code, len(readings), len(self.code.robust)
        digits, unread = self._digits(readings[:, :robust], law), np.isnan(readings[:, :robust])
        bins = law.bins(readings[:, robust:])
        values = np.zeros((code.rows, columns), np.float32)
        at = 0
        for design, rows in self._shared.values():
            together = self._estimates(design, law)[bins[:, at : at + len(rows)]]
            for number, each in enumerate(rows.T):
                values[each] = together[..., number].T
            at += len(rows)
        for number, rows in self._alone.items():
            part = np.zeros((columns, len(rows)), np.int64)
            for digit in range(number):
                part = part << self._width | digits[:, self._first[number][:, digit]]
            place = bins[:, at + self._last[number]]
            found = self._estimates(self._maps[number], law)[part, place]
            if number:
                # Without one of its digits nothing is known of a weight: the mean of all.
                found[unread[:, self._first[number]].any(axis=2)] = 0
            values[rows] = found.T
        values *= code.reach[:, None]
        return values

    def places(self, column: int) -> NDArray[np.int64]:
        """Return the places of a column's cells, shape (column_cells,)."""
        return column * self.code.column_cells + np.arange(self.code.column_cells)

    def admissible(self, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the targets: any are taken."""
        return targets

    def encode_column(self, column: int, targets: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the level indices of one column, shape (column_cells,)."""
        indices: NDArray[np.uint8] = self.encode(targets[:, None])[0]
        return indices

    def decode_column(
        self,
        column: int,
        readings: NDArray[np.float32],
        targets: NDArray[np.float32],
        law: Channel,
    ) -> NDArray[np.float32]:
        """Return the weights of one column, shape (rows,); all is in the readings."""
        return self.decode(readings[None], law)[:, 0]

    def _estimates(self, design: PackedMap, law: Channel) -> NDArray[np.float32]:
        key = (design.values, design.parts, law.digest)
        if key not in self._tables:
            self._tables[key] = packed_estimates(design, law)
        return self._tables[key]

    def _robust_levels(self, digits: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return levels of digits, Gray-coded: a cell that is taken for its neighbour moves a
        weight to the next part.
        """
        if not digits.size:
            return digits
        bits = np.unpackbits(gray_label(digits).reshape(-1, 1), axis=1)[:, 8 - self._width :]
        levels = self._store.level_indices(np.packbits(bits), digits.size)
        return levels.reshape(digits.shape)

    def _digits(self, readings: NDArray[np.float32], law: Channel) -> NDArray[np.int64]:
        if not readings.size:
            return np.empty(readings.shape, np.int64)
        bits = self._store.detect(law, readings.reshape(-1)).reshape(-1, self._width)
        labels = bits.astype(np.int64) @ (1 << np.arange(self._width)[::-1])
        digits: NDArray[np.int64] = gray_index(labels)
        return digits.reshape(readings.shape)


def scale_index(scale: NDArray[np.floating]) -> NDArray[np.int32]:
    """Return scales in eighths of octaves, the nearest."""
    least = 2.0 ** (_LEAST / PER_OCTAVE)
    eighths: NDArray[np.floating] = np.rint(PER_OCTAVE * np.log2(np.maximum(scale, least)))
    return eighths.astype(np.int32)


def encode_packed_side(code: PackedCode) -> NDArray[np.uint8]:
    """Return classes and scales as bytes: base scale, then two index streams.

    Rows without cells have no scale.
    """
    used = code.classes != NONE
    scales = code.scales[used]
    base = int(scales.min()) if scales.size else 0
    data = struct.pack("<h", base) + encode_indices(code.classes[None].astype(np.int32))
    if scales.size:
        data += encode_indices((scales - base)[None])
    return np.frombuffer(data, np.uint8)


def decode_packed_side(data: NDArray[np.uint8], rows: int) -> PackedCode:
    """Return the code of a tensor from the bytes of `encode_packed_side`.

    Raises:
        FormatError: The bytes are too short or name an impossible code.
    """
    reader = ByteReader(data.tobytes())
    (base,) = reader.unpack("<h")
    rest = reader.rest()
    size = stream_size(rest)
    classes = decode_indices(rest[:size], (1, rows))[0]
    scales = np.full(rows, base, np.int32)
    used = classes != NONE
    if used.any():
        scales[used] += decode_indices(rest[size:], (1, int(used.sum())))[0]
    elif len(rest) > size:
        raise FormatError("it goes on after its classes")
    if classes.size and not 0 <= classes.min() <= classes.max() <= TRIPLE:
        raise FormatError("it names a class of rows that there is not")
    try:
        return PackedCode(classes.astype(np.uint8), scales)
    except InputError as error:
        raise FormatError(str(error)) from None
