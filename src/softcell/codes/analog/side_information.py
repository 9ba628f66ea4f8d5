"""Side information of an analog code as bytes: ranges, cell counts, signs and mask."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.bfloat16 import expand, round_up
from softcell.codes.analog.class_coder import decode_classes, encode_classes
from softcell.codes.analog.code import AnalogCode
from softcell.codes.analog.value_range import PLACES, ValueRange
from softcell.codes.row_counts import ByteReader, decode_counts, encode_counts, leads, width_of
from softcell.errors import FormatError

_SIGN, _MASK, _PER_ROW = 1, 2, 4

_RUN = 1 << 18
"""Classes coded at a time."""


@dataclass(frozen=True, eq=False)
class SideInformation:
    """What the decoder of an analog tensor must know without error.

    Args:
        code: The tensor's code.
        classes: Class of each weight, shape (rows, columns).
        negative: 1 for a negative weight, same shape; zeros unless signs are stored apart.
    """

    code: AnalogCode
    classes: NDArray[np.uint8] = field(repr=False)
    negative: NDArray[np.uint8] = field(repr=False)


def encode_side(code: AnalogCode, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the side information of a tensor as bytes.

    Args:
        code: Its code; ends of ranges as `ceiling` gives them.
        rows: Its weights, shape (rows, columns).
    """
    per_row = not leads(code.cells)
    flags = _SIGN * code.sign | _MASK * code.mask | _PER_ROW * per_row
    parts = [struct.pack("<BB", flags, len(code.ranges))]
    for r in code.ranges:
        bits = int(round_up(np.array([r.high], np.float32))[0])
        parts.append(struct.pack("<HBB", bits, r.start, r.stop))
    for column in code.cells.T:
        parts.append(encode_counts(column, per_row))
    weights = rows.reshape(-1)
    if code.mask:
        classes = np.empty(weights.size, np.uint8)
        for run in _runs(weights.size):
            classes[run] = code.classes(weights[run])
        parts.append(_encode_classes(classes, len(code.ranges) + 1))
    if code.sign:
        negative = weights < 0
        parts.append(np.packbits(negative[classes > 0] if code.mask else negative).tobytes())
    return np.frombuffer(b"".join(parts), np.uint8)


def decode_side(data: NDArray[np.uint8], shape: tuple[int, int]) -> SideInformation:
    """Return the side information of a tensor of rows and columns from its bytes.

    Raises:
        FormatError: The bytes are too short, too long, or contradict themselves.
    """
    reader = ByteReader(data.tobytes())
    flags, count = reader.unpack("<BB")
    sign, mask, per_row = bool(flags & _SIGN), bool(flags & _MASK), bool(flags & _PER_ROW)
    if not 1 <= count <= 8 or flags > 7 or (count > 1 and not mask):
        raise FormatError("side information names an impossible code")
    ranges, low = [], 0.0
    for _ in range(count):
        ranges.append(_decode_range(reader, low, symmetric=not sign))
        low = ranges[-1].high
    cells = np.stack([decode_counts(reader, shape[0], per_row) for _ in ranges], axis=1)
    code = AnalogCode(sign, mask, tuple(ranges), cells)
    classes = np.ones(shape, np.uint8)
    if mask:
        classes = _decode_classes(reader, shape[0] * shape[1], count + 1).reshape(shape)
    negative = np.zeros(shape, np.uint8)
    if sign:
        stored = classes > 0
        total = int(stored.sum())
        bits = np.frombuffer(reader.take((total + 7) // 8), np.uint8)
        negative[stored] = np.unpackbits(bits, count=total)
    reader.finish()
    return SideInformation(code, classes, negative)


def side_bits(code: AnalogCode, class_counts: NDArray[np.integer]) -> float:
    """Return the size of a tensor's side information in bits: an upper estimate, 64 bits wide.

    Args:
        code: Its code.
        class_counts: Weights of each class, 0 included, shape (ranges + 1,).
    """
    rows, ranges = code.cells.shape
    if leads(code.cells):
        cells = 8 * 5 * ranges
    else:
        cells = sum(8 * (2 + -(-rows * width_of(column) // 8)) for column in code.cells.T)
    total: float = 16.0 + 32 * ranges + cells
    if code.mask:
        frequencies = _frequencies(class_counts)
        share = frequencies / frequencies.sum(dtype=np.float64)
        # The state that the coder ends in takes two words of 32 bits at most.
        total += 16 * (ranges + 1) + 32 + 64 - float(class_counts @ np.log2(share))
    if code.sign:
        total += 8 * -(-int(class_counts[1:].sum()) // 8)
    return total


def _decode_range(reader: ByteReader, low: float, *, symmetric: bool) -> ValueRange:
    bits, start, stop = reader.unpack("<HBB")
    high = float(expand(np.array([bits], np.uint16))[0])
    if not (low <= high < np.inf and max(start, stop) <= PLACES):
        raise FormatError("side information gives an impossible range")
    return ValueRange(-high if symmetric else low, high, start, stop)


def _runs(size: int) -> Iterator[slice]:
    return (slice(start, min(start + _RUN, size)) for start in range(0, size, _RUN))


def _frequencies(counts: NDArray[np.integer]) -> NDArray[np.uint16]:
    """Return the frequencies that stand for class counts, each at least 1."""
    share = counts / max(int(counts.sum()), 1)
    return np.maximum(np.rint(share * 65535), 1).astype(np.uint16)


def _encode_classes(classes: NDArray[np.uint8], kinds: int) -> bytes:
    """Entropy-code the classes with their own frequencies."""
    counts = np.zeros(kinds, np.int64)
    for run in _runs(classes.size):
        counts += np.bincount(classes[run], minlength=kinds)
    frequencies = _frequencies(counts)
    words = encode_classes(classes, frequencies)
    head = frequencies.astype("<u2").tobytes() + struct.pack("<I", len(words))
    return head + words.astype("<u4").tobytes()


def _decode_classes(reader: ByteReader, count: int, kinds: int) -> NDArray[np.uint8]:
    frequencies = np.frombuffer(reader.take(2 * kinds), "<u2").astype(np.uint16)
    if frequencies.min() < 1:
        raise FormatError("side information gives a class no probability")
    (length,) = reader.unpack("<I")
    words = np.frombuffer(reader.take(4 * length), "<u4").astype(np.uint32)
    return decode_classes(words, count, frequencies)
