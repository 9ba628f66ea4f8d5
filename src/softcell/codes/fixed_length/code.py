"""Fixed-length indices: uniform quantisation, top bits error-free, the others raw in cells.

Layout of the side information, format 1:

    byte 0       bits 0-2: label bits of a cell; bits 3-7: number of formats
    3 bytes each bits 0-3: index bits, bits 4-7: protected ones; step, bfloat16, little-endian
    n bytes      the format of each row, as an index stream of shape (1, rows), if there are several
    the rest     the protected bits, packed
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.bfloat16 import ceiling, expand, round_up
from softcell.channel import Channel
from softcell.codes.code import (
    RUN_CELLS,
    Block,
    Design,
    Part,
    StoredTensor,
    require_each_row,
    salvaged_bytes,
)
from softcell.codes.entropy.index_coding import decode_indices, encode_indices, stream_size
from softcell.codes.store.modulation import Modulation, design_modulation
from softcell.errors import FormatError, InputError

MOST_BITS = 8
"""Most bits of an index."""

_MOST_FORMATS = 31


@dataclass(frozen=True)
class IndexFormat:
    """How a weight becomes an index of so many bits.

    An index i from 0 to 2^bits - 1 stands for (i + 1/2 - 2^(bits - 1)) * step.

    Args:
        bits: Bits of an index, 1 to 8.
        protected: Its top bits that are stored error-free.
        step: Distance of reconstruction values, a bfloat16 from 1e-30; 0 where all weights are 0.

    Raises:
        InputError: A number is out of range.
    """

    bits: int
    protected: int
    step: float

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MOST_BITS:
            raise InputError(f"an index has 1 to {MOST_BITS} bits, got {self.bits}")
        if not 0 <= self.protected <= self.bits:
            raise InputError(f"of {self.bits} bits {self.protected} cannot be protected")
        if self.step and not 1e-30 <= self.step < np.inf:
            raise InputError(f"a step must be 0 or finite and from 1e-30, got {self.step}")
        if ceiling(self.step) != self.step:
            raise InputError(f"a step must be a bfloat16, got {self.step}; see `ceiling`")

    @property
    def raw(self) -> int:
        """Bits that are stored without protection."""
        return self.bits - self.protected


@dataclass(frozen=True, eq=False)
class FixedLengthCode:
    """How the weights of one tensor, rows by columns, become fixed-length indices in cells.

    Raw bits of all rows form one stream, the most significant first, which fills the most
    reliable label bit of all cells, then the next. A raw bit that is read wrong moves one weight
    by a power of two steps and touches no other: nothing is entropy-coded.

    Args:
        label_bits: Raw bits in one cell: 1, 2 or 3.
        formats: Formats of rows, 1 to 31.
        rows: Which of them each row takes, shape (rows,).

    Raises:
        InputError: The parts do not make a code.

    Example:
        >>> formats = (IndexFormat(4, 1, 0.25), IndexFormat(3, 0, 0.5))
        >>> code = FixedLengthCode(2, formats, np.array([0, 1, 1], np.uint8))
        >>> code.raw_bits(10), code.cells(10), code.protected_bits(10)
        (90, 45, 10)
    """

    label_bits: int
    formats: tuple[IndexFormat, ...]
    rows: NDArray[np.uint8] = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.label_bits <= 3:
            raise InputError(f"a cell holds 1 to 3 raw bits, got {self.label_bits}")
        if not 1 <= len(self.formats) <= _MOST_FORMATS:
            raise InputError(f"a tensor has 1 to {_MOST_FORMATS} formats, got {len(self.formats)}")
        if self.rows.size and self.rows.max() >= len(self.formats):
            raise InputError(f"row format {self.rows.max()} of {len(self.formats)}")

    def require_rows(self, rows: int) -> None:
        """Make sure that there is a format for each of so many rows."""
        require_each_row(self.rows, rows)

    def encode(self, rows: NDArray[np.float32], design: Design) -> Iterator[Block]:
        """Yield the side information, the protected bits, and the levels of the raw ones."""
        from softcell.codes.fixed_length.cells import encode_weights

        bits, levels = encode_weights(rows, self, design.channel)
        yield Block(Part.SIDE, encode_side(self))
        yield Block(Part.WEIGHTS, np.packbits(bits))
        yield Block(Part.LEVELS, levels)

    @classmethod
    def decode(cls, stored: StoredTensor) -> NDArray[np.float32]:
        """Return the weights: protected bits from the store, the others from the cells."""
        from softcell.codes.fixed_length.cells import decode_weights

        code, packed = decode_side(stored.data, stored.rows)
        cells, protected = code.cells(stored.columns), code.protected_bits(stored.columns)
        stored.require_cells(cells)
        if len(packed) != -(-protected // 8):
            raise FormatError(f"it holds {len(packed)} bytes of protected bits")
        modulation, width = code.modulation(stored.design.channel), code.label_bits
        ratios = np.empty(cells * width, np.int8)

        def detect(start: int) -> None:
            stop = min(start + RUN_CELLS, cells)
            detected = modulation.detect(stored.law.average, stored.read(start, stop))
            ratios[start * width : stop * width] = detected

        stored.each(detect, range(0, cells, RUN_CELLS))
        bits = np.unpackbits(packed, count=protected)
        return decode_weights(bits, ratios, code, stored.columns, modulation)

    @classmethod
    def salvage(cls, stored: StoredTensor) -> NDArray[np.float32]:
        """Return the weights whose protected bits are there."""
        if any(start == 0 for start, _ in stored.lost):
            raise FormatError("its side information is lost")
        _, packed = decode_side(stored.data, stored.rows)
        return salvaged_bytes(cls, stored, len(stored.data) - len(packed))

    def raw_bits(self, columns: int) -> int:
        """Return the number of raw bits of the tensor."""
        return int(self._of_rows("raw").sum()) * columns

    def protected_bits(self, columns: int) -> int:
        """Return the number of protected bits of the tensor."""
        return int(self._of_rows("protected").sum()) * columns

    def cells(self, columns: int) -> int:
        """Return the cells of the raw bits."""
        return -(-self.raw_bits(columns) // self.label_bits)

    def modulation(self, channel: Channel) -> Modulation:
        """Return levels and labels of the cells; `channel` is the law designed for."""
        return design_modulation(channel, 1 << self.label_bits)

    def row_tables(
        self, columns: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
        """Return bits and step of each row, shape (rows,), and where its bits are.

        The stream holds all raw bits, then all protected ones, either from the most significant
        on; bit s of a row begins at the third array's [row, s], shape (rows, 8).
        """
        bits, raw = self._of_rows("bits"), self._of_rows("raw")
        significance = np.arange(MOST_BITS)
        places = np.zeros((len(bits), MOST_BITS), np.int64)
        is_raw = significance < raw[:, None]
        is_protected = ~is_raw & (significance < bits[:, None])
        end = 0
        for chosen in (is_raw, is_protected):
            for s in range(MOST_BITS - 1, -1, -1):
                rows = np.flatnonzero(chosen[:, s])
                places[rows, s] = end + columns * np.arange(len(rows))
                end += columns * len(rows)
        steps = np.array([each.step for each in self.formats], np.float32)
        return bits, steps[self.rows], places

    def _of_rows(self, name: str) -> NDArray[np.int64]:
        return np.array([getattr(each, name) for each in self.formats], np.int64)[self.rows]


def encode_side(code: FixedLengthCode) -> NDArray[np.uint8]:
    """Return what a decoder must know of a code as bytes."""
    parts = [bytes([code.label_bits | len(code.formats) << 3])]
    for each in code.formats:
        step = int(round_up(np.array([each.step], np.float32))[0])
        parts.append(struct.pack("<BH", each.bits | each.protected << 4, step))
    if len(code.formats) > 1:
        parts.append(encode_indices(code.rows[None, :].astype(np.int32)))
    return np.frombuffer(b"".join(parts), np.uint8)


def decode_side(data: NDArray[np.uint8], rows: int) -> tuple[FixedLengthCode, NDArray[np.uint8]]:
    """Return the code of a tensor from the bytes of `encode_side`, and what follows them.

    Raises:
        FormatError: The bytes are too short or name an impossible code.
    """
    content = data.tobytes()
    count = content[0] >> 3 if content else 0
    at = 1 + 3 * count
    if len(content) < at:
        raise FormatError(f"side information of {len(content)} bytes ends within its formats")
    formats = []
    chosen = np.zeros(rows, np.uint8)
    try:
        for first in range(1, at, 3):
            both, step = struct.unpack_from("<BH", content, first)
            value = float(expand(np.array([step], np.uint16))[0])
            formats.append(IndexFormat(both & 15, both >> 4, value))
        if count > 1:
            size = stream_size(content[at:])
            chosen = decode_indices(content[at : at + size], (1, rows))[0]
            at += size
            if chosen.size and not 0 <= chosen.min() <= chosen.max() < count:
                raise FormatError("side information gives a row a format that there is not")
        code = FixedLengthCode(content[0] & 7, tuple(formats), chosen.astype(np.uint8))
    except (InputError, IndexError) as error:
        raise FormatError(str(error)) from None
    return code, data[at:]
