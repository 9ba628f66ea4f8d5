"""One tensor by coarse-to-fine maps: bits for each row, robust cells first, fine cells after."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.bfloat16 import expand, require_bfloat16, round_up
from softcell.channel import Law, gray_index, gray_label
from softcell.codes.coarse import design as maps
from softcell.codes.coarse.columns import CoarseColumns
from softcell.codes.coarse.design import coarse_map
from softcell.codes.code import (
    RUN_CELLS,
    Block,
    Design,
    Part,
    StoredTensor,
    require_each_row,
    salvaged_bytes,
)
from softcell.codes.maps.source import SHAPES
from softcell.codes.maps.stored_maps import Maps, maps_of, pack_map
from softcell.codes.row_counts import ByteReader, decode_counts, encode_counts, leads
from softcell.codes.store.store import Store, hard
from softcell.compiled import compiled
from softcell.errors import FormatError, InputError


@dataclass(frozen=True, eq=False)
class CoarseCode:
    """How the weights of one tensor, rows by columns, are divided between robust and fine cells.

    Args:
        shape: Index of the density that its maps are designed for.
        deviation: Root mean square of its weights, as a bfloat16.
        bits: Coarse bits of a weight of each row, shape (rows,).
        protected: Coarse bits are stored error-free, among the side information, and not in robust
            cells of the tensor's own: a hybrid of digital and analog storage.
    """

    shape: int
    deviation: float
    bits: NDArray[np.uint8] = field(repr=False)
    protected: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.shape < len(SHAPES):
            raise InputError(f"shape must be 0 to {len(SHAPES) - 1}, got {self.shape}")
        if self.bits.size and self.bits.max() > maps.MOST_BITS:
            raise InputError(f"a weight has at most {maps.MOST_BITS} coarse bits")
        if not 0 <= self.deviation < np.inf:
            raise InputError(f"the deviation must be finite and at least 0, got {self.deviation}")

    def require_rows(self, rows: int) -> None:
        """Make sure that there are bits for so many rows, and a deviation that can be stored."""
        require_each_row(self.bits, rows)
        require_bfloat16(self.deviation, "deviation")

    def encode(self, rows: NDArray[np.float32], design: Design) -> Iterator[Block]:
        """Yield side information, the coarse bits (protected or in robust cells), fine cells."""
        bits, fine = encode_parts(rows, self, design.law)
        packed = np.packbits(bits)
        yield Block(Part.SIDE, encode_coarse_side(self))
        if self.protected:
            yield Block(Part.WEIGHTS, packed)
        else:
            robust = self.coarse_cells(rows.shape[1], design.store)
            yield Block(Part.LEVELS, design.store.level_indices(packed, robust))
        yield Block(Part.LEVELS, fine)

    @classmethod
    def decode(cls, stored: StoredTensor) -> NDArray[np.float32]:
        """Return the weights: robust cells give their parts, fine cells the place in them."""
        code, packed = decode_coarse_side(stored.data, stored.rows)
        rows, columns, law = stored.rows, stored.columns, stored.law
        store = hard(stored.design.store)
        coarse = code.coarse_cells(columns, store)
        stored.require_cells(coarse + rows * columns)
        if len(packed) != (-(-code.coarse_bits(columns) // 8) if code.protected else 0):
            raise FormatError(f"it holds {len(packed)} bytes of coarse bits")
        width = store.bits_per_symbol
        stream, unread = np.empty(coarse * width, np.uint8), np.zeros(coarse * width, np.uint8)

        def detect(start: int) -> None:
            stop = min(start + RUN_CELLS, coarse)
            readings, place = stored.read(start, stop), slice(start * width, stop * width)
            stream[place] = store.detect(law.average, readings)
            missing = np.isnan(readings)
            if missing.any():
                unread[place] = np.repeat(missing, width)

        if code.protected:
            stream = np.unpackbits(packed, count=code.coarse_bits(columns))
        else:
            stored.each(detect, range(0, coarse, RUN_CELLS))
        parts = decode_parts(stream, code, columns)
        tables = decoding_tables(code, stored.design.maps, law)
        out = np.empty((rows, columns), np.float32)
        step = max(RUN_CELLS // columns, 1)

        def place(first: int) -> None:
            last = min(first + step, rows)
            values = stored.read(coarse + first * columns, coarse + last * columns)
            part = parts[first:last]
            out[first:last] = decode_fine(values, part, code, tables, law.bins, first)

        stored.each(place, range(0, rows, step))
        if unread.any():
            # Without its robust cells nothing is known of a weight: the mean of all.
            out[decode_parts(unread, code, columns) > 0] = 0
        return out

    @classmethod
    def salvage(cls, stored: StoredTensor) -> NDArray[np.float32]:
        """Return the weights whose protected bits are there."""
        _, packed = decode_coarse_side(stored.data, stored.rows)
        return salvaged_bytes(cls, stored, len(stored.data) - len(packed))

    def columns(self, rows: NDArray[np.float32], design: Design) -> CoarseColumns:
        """Return how the columns of fine cells become levels."""
        return CoarseColumns(self, rows.shape[1], design.law, hard(design.store))

    def maps(self, design: Design) -> dict[str, NDArray[np.uint8]]:
        """Return the maps of all numbers of coarse bits."""
        found = [
            coarse_map(design.maps, self.shape, bits) for bits in np.unique(self.bits).tolist()
        ]
        return {
            maps.map_name(self.shape, each.bits): pack_map(each.distortion, each.parts, each.levels)
            for each in found
        }

    def coarse_bits(self, columns: int) -> int:
        """Return the number of coarse bits of the tensor."""
        return int(self.bits.sum(dtype=np.int64)) * columns

    def coarse_cells(self, columns: int, store: Store) -> int:
        """Return the number of robust cells of the tensor; none if its bits are protected."""
        return 0 if self.protected else -(-self.coarse_bits(columns) // store.bits_per_symbol)


def encode_coarse_side(code: CoarseCode) -> NDArray[np.uint8]:
    """Return shape, deviation and bits of each row as bytes."""
    bits = int(round_up(np.array([code.deviation], np.float32))[0])
    counts = code.bits + np.uint8(1)
    per_row = not leads(counts)
    head = struct.pack("<BHB", code.shape, bits, per_row | code.protected << 1)
    return np.frombuffer(head + encode_counts(counts, per_row), np.uint8)


def decode_coarse_side(data: NDArray[np.uint8], rows: int) -> tuple[CoarseCode, NDArray[np.uint8]]:
    """Return the code of a tensor from the bytes of `encode_coarse_side`, and what follows them.

    Raises:
        FormatError: The bytes are too short or name an impossible code.
    """
    reader = ByteReader(data.tobytes())
    shape, bits, flags = reader.unpack("<BHB")
    deviation = float(expand(np.array([bits], np.uint16))[0])
    counts = decode_counts(reader, rows, bool(flags & 1))
    try:
        code = CoarseCode(shape, deviation, counts - np.uint8(1), bool(flags & 2))
    except InputError as error:
        raise FormatError(str(error)) from None
    return code, np.frombuffer(reader.rest(), np.uint8)


def encode_parts(
    rows: NDArray[np.float32], code: CoarseCode, law: Law
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the coarse bits of a tensor, one a byte, and the levels of its fine cells.

    Args:
        rows: Weights, shape (rows, columns), finite.
        code: The tensor's code.
        law: The law that the code is designed for.

    Returns:
        Bits, shape (coarse bits,), and level indices, shape (rows * columns,).
    """
    parts = np.empty(rows.shape, np.uint8)
    fine = np.empty(rows.shape, np.uint8)
    for bits in np.unique(code.bits):
        design = maps.design_map(law, code.shape, int(bits))
        for row in np.flatnonzero(code.bits == bits):
            maps.encode(
                rows[row],
                code.deviation,
                design.reach,
                design.parts,
                design.levels,
                parts[row],
                fine[row],
            )
    stream = np.empty(code.coarse_bits(rows.shape[1]), np.uint8)
    _spread_bits(parts, code.bits, stream)
    return stream, fine.reshape(-1)


def decode_parts(stream: NDArray[np.uint8], code: CoarseCode, columns: int) -> NDArray[np.uint8]:
    """Return the part of each weight, shape (rows, columns), from the robust cells' bits."""
    parts = np.empty((len(code.bits), columns), np.uint8)
    _gather_bits(stream, code.bits, parts)
    return parts


def decoding_tables(
    code: CoarseCode, design: Law | Maps, at_reading: Law
) -> dict[int, NDArray[np.float32]]:
    """Return the estimates by number of coarse bits, for cells read under the second law.

    Over several ages they are those of a decoder that is not told which.

    Args:
        code: The tensor's code.
        design: The law that it was designed for, or its maps.
        at_reading: The law of its cells when they are read.
    """
    found = maps_of(design)
    return {
        int(bits): maps.estimates(coarse_map(found, code.shape, int(bits)), at_reading.average)
        for bits in np.unique(code.bits)
    }


def decode_fine(
    readings: NDArray[np.float32],
    parts: NDArray[np.uint8],
    code: CoarseCode,
    tables: dict[int, NDArray[np.float32]],
    bins: Callable[[NDArray[np.float32]], NDArray[np.int64]],
    first_row: int,
) -> NDArray[np.float32]:
    """Return the weights of some rows from their fine cells' readings and their parts.

    Args:
        readings: One reading a weight, shape (rows * columns,).
        parts: Parts of these rows, shape (rows, columns).
        code: The tensor's code.
        tables: Its tables.
        bins: Gives the bin of each reading.
        first_row: Number of the first of these rows in the tensor.
    """
    out = np.empty(parts.shape, np.float32)
    place = bins(readings).reshape(parts.shape)
    for i in range(len(parts)):
        table = tables[int(code.bits[first_row + i])]
        maps.decode(parts[i], place[i], table, code.deviation, out[i])
    return out


@compiled()
def _spread_bits(parts, bits, stream):
    """Write parts bit by bit, in pairs from the top; each pair Gray-coded as the levels are.

    A robust cell that is taken for its neighbour then moves a weight to the next part of its
    scale, and not to one far away.
    """
    at = 0
    for i in range(parts.shape[0]):
        for j in range(parts.shape[1]):
            left = int(bits[i])
            while left > 0:
                if left >= 2:
                    label = gray_label((parts[i, j] >> (left - 2)) & 3)
                    stream[at] = label >> 1
                    stream[at + 1] = label & 1
                    at += 2
                    left -= 2
                else:
                    stream[at] = parts[i, j] & 1
                    at += 1
                    left = 0


@compiled()
def _gather_bits(stream, bits, parts):
    at = 0
    for i in range(parts.shape[0]):
        for j in range(parts.shape[1]):
            left = int(bits[i])
            part = 0
            while left > 0:
                if left >= 2:
                    part = part * 4 + gray_index(stream[at] * 2 + stream[at + 1])
                    at += 2
                    left -= 2
                else:
                    part = part * 2 + stream[at]
                    at += 1
                    left = 0
            parts[i, j] = part
