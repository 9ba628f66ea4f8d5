"""Entropy-coded quantisation: a matrix of weights to a self-contained stream of bytes and back.

Layout of a stream, formats 1 to 4:

    byte 0       bits 0-2: trellis (place in `trellis.STATES`); bit 3: a step for each row;
                 bit 4: reconstruction offsets; bits 5-7: format, 2 if every column has a path of
                 its own through the trellis, else 1; 4 and 3 likewise if it is in stretches
    2 bytes      step, bfloat16, little-endian
    3 bytes      offsets, int8, if there are any
    n bytes      the rows' steps, if they have their own: eighths of octaves above the step, as an
                 index stream of shape (1, rows)
    the rest     the index stream, or stretches as `stretches` has them

The number of weights is not in the stream: whoever has it knows the tensor's shape.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softcell.bfloat16 import expand, round_up
from softcell.codes.entropy.column_quantise import indices_of
from softcell.codes.entropy.index_coding import (
    decode_beginning,
    decode_indices,
    encode_indices,
    stream_size,
)
from softcell.codes.entropy.quantise import PASSES, dequantise, quantise
from softcell.codes.entropy.stretches import Stretch, encode_stretches, stretches
from softcell.codes.entropy.trellis import STATES, Trellis
from softcell.codes.entropy.trellis_kernels import OFFSETS
from softcell.codes.row_counts import ByteReader
from softcell.errors import FormatError, InputError

_BY_ROW, _BY_COLUMN = 1, 2  # formats
_IN_STRETCHES = 2  # added to either
_ROW_STEPS = 1 << 3
_OFFSETS = 1 << 4
# Steps of rows are this many to an octave, over at most so many octaves.
_PER_OCTAVE = 8
_OCTAVES = 64
# 2^(n / 8), n = 0 to 7, as numbers rather than as a function that may round differently elsewhere.
_EIGHTHS = np.array(
    [
        1.0,
        1.0905077326652577,
        1.189207115002721,
        1.2968395546510096,
        1.4142135623730951,
        1.5422108254079407,
        1.681792830507429,
        1.8340080864093424,
    ]
)

HEADER = 3
"""Bytes before the offsets."""

SCALAR = Trellis()


def encode(
    weights: NDArray[np.float32],
    steps: ArrayLike,
    *,
    importance: ArrayLike | None = None,
    trade_off: float | None = None,
    trellis: Trellis = SCALAR,
    passes: int = PASSES,
) -> bytes:
    """Quantise weights and code them to bytes.

    Args:
        weights: Finite, shape (rows, columns); for a convolution, a row holds a filter.
        steps: From 1e-30 to 1e30, one for all or one for each row. One step is rounded up to
            bfloat16; those of rows to eighths of octaves (within 4.5 %) above the least.
        importance: Weight of every squared error, any shape that broadcasts to the weights'.
        trade_off: Price of a bit in units of the mean of importance * step^2; 0 is rounding;
            default 0.12, or 0.08 in a trellis.
        trellis: Trellis of more than one state for trellis-coded quantisation.
        passes: Times that indices are chosen anew under the coder's code lengths.

    Returns:
        The stream, the same for the same arguments.

    Raises:
        InputError: An argument is out of range or of another shape.

    Example:
        >>> weights = np.array([[0.5, -1.0, 2.25], [0.0, 0.5, -1.0]], np.float32)
        >>> stream = encode(weights, 0.25, trade_off=0)
        >>> bool((decode(stream, (2, 3)) == weights).all())
        True
    """
    if trellis.by_column:
        raise InputError("a trellis by column is for weights that are quantised column by column")
    weights = np.asarray(weights, np.float32)
    base, eighths = _round_steps(steps, weights.shape[0] if weights.ndim else 0)
    stored = _row_steps(base, eighths)
    quantised = quantise(
        weights,
        stored if eighths is not None else stored[0],
        importance=importance,
        trade_off=trade_off,
        trellis=trellis,
        passes=passes,
    )
    return _stream(base, eighths, trellis, quantised.offsets, quantised.indices, quantised.stream)


def encode_quantised(
    weights: NDArray[np.float32], steps: ArrayLike, *, trellis: Trellis = SCALAR
) -> bytes:
    """Code weights to bytes that were quantised already, without loss.

    Args:
        weights: What `ColumnQuantiser` made of a matrix, shape (rows, columns).
        steps: Its steps, one for each row, as `stored_steps` gives them.
        trellis: Its trellis.

    Returns:
        The stream; `decode` gives the very weights back.

    Raises:
        InputError: A weight is none that the steps give.
    """
    base, eighths = _round_steps(steps, len(weights))
    by_row = np.broadcast_to(_row_steps(base, eighths), (len(weights),))
    indices = indices_of(weights, by_row, trellis)
    stream = encode_indices(indices, trellis=trellis)
    return _stream(base, eighths, trellis, np.zeros(OFFSETS, np.int8), indices, stream)


def _stream(
    base: NDArray[np.uint16],
    eighths: NDArray[np.int32] | None,
    trellis: Trellis,
    offsets: NDArray[np.int8],
    indices: NDArray[np.int32],
    whole: bytes,
) -> bytes:
    """Put a stream together of what its indices are in one stream."""
    form = _BY_COLUMN if trellis.by_column else _BY_ROW
    cut = encode_stretches(indices, trellis, whole)
    form += _IN_STRETCHES if cut is not None else 0
    head = STATES.index(trellis.states) | (form << 5)
    parts = [struct.pack("<H", int(base[0]))]
    if offsets.any():
        head |= _OFFSETS
        parts.append(offsets.tobytes())
    if eighths is not None:
        head |= _ROW_STEPS
        parts.append(encode_indices(eighths[None, :]))
    return b"".join([bytes([head]), *parts, whole if cut is None else cut])


def decode(data: bytes, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Decode what `encode` made of weights of the given shape.

    Returns:
        Weights, float32, shape (rows, columns).

    Raises:
        FormatError: The stream is truncated, of another format, or does not end where weights of
            this shape do. An altered stream may instead decode to other weights: protect it.
    """
    out = np.empty(shape, np.float32)
    found = _parsed(data, shape)
    for each in found.stretches:
        indices = decode_indices(each.data, each.shape, trellis=found.trellis, start=each.start)
        out[each.place] = dequantise(
            indices, found.steps[each.place[0]], found.offsets, found.trellis, each.start
        )
    return out


def salvage(
    data: bytes, shape: tuple[int, int], lost: Iterable[tuple[int, int]]
) -> NDArray[np.float32]:
    """Decode what does not hang on lost bytes: of each stretch the rows before the first of them.

    Args:
        data: The stream.
        shape: Rows and columns.
        lost: Runs of lost bytes, from and to.

    Returns:
        Weights, shape (rows, columns), NaN where they are lost.

    Raises:
        FormatError: All of them are.
    """
    out = np.full(shape, np.nan, np.float32)
    found, runs = _parsed(data, shape), sorted(lost)
    if runs and runs[0][0] < found.stretches[0].offset:
        raise FormatError("the beginning of its stream is lost")
    for each in found.stretches:
        end = each.offset + len(each.data)
        inside = [max(a, each.offset) for a, b in runs if a < end and b > each.offset]
        if inside:
            whole = min(inside) - each.offset
            indices = decode_beginning(
                each.data, each.shape, whole, trellis=found.trellis, start=each.start
            )
        else:
            indices = decode_indices(each.data, each.shape, trellis=found.trellis, start=each.start)
        known, steps = out[each.place][: len(indices)], found.steps[each.place[0]]
        known[:] = dequantise(
            indices, steps[: len(indices)], found.offsets, found.trellis, each.start
        )
    return out


@dataclass(frozen=True, eq=False)
class _Parsed:
    """A stream before its indices are decoded."""

    trellis: Trellis
    steps: NDArray[np.float32]
    offsets: NDArray[np.int8]
    stretches: tuple[Stretch, ...]


def _parsed(data: bytes, shape: tuple[int, int]) -> _Parsed:
    """Return what a stream says of its weights.

    Raises:
        FormatError: It is truncated or of another format.
    """
    reader = ByteReader(data, "weights stream")
    head = reader.take(1, "header")[0]
    form, number = head >> 5, head & 7
    if not 1 <= form <= _BY_COLUMN + _IN_STRETCHES or number >= len(STATES):
        raise FormatError(
            f"weights stream begins with byte {head:#04x}, which is no header of format {_BY_ROW} "
            f"to {_BY_COLUMN + _IN_STRETCHES}: it is damaged or was written by another version"
        )
    trellis = Trellis(STATES[number], by_column=form % 2 == 0)
    base = np.frombuffer(reader.take(2, "step"), "<u2").astype(np.uint16)
    step = float(expand(base)[0])
    if not (np.isfinite(step) and step > 0):
        raise FormatError(f"weights stream has a step of {step}: it is damaged")
    offsets = np.zeros(OFFSETS, np.int8)
    if head & _OFFSETS:
        offsets = np.frombuffer(reader.take(OFFSETS, "offsets"), np.int8)
    eighths = None
    if head & _ROW_STEPS:
        side = reader.take(stream_size(reader.ahead()) if shape[0] else 0, "steps of rows")
        eighths = decode_indices(side, (1, shape[0]))[0]
        if eighths.size and not 0 <= eighths.min() <= eighths.max() <= _PER_OCTAVE * _OCTAVES:
            raise FormatError("weights stream has steps of rows out of range: it is damaged")
    steps = np.broadcast_to(_row_steps(base, eighths), (shape[0],))
    rest, every = reader.ahead(), (slice(0, shape[0]), slice(0, shape[1]))
    begin = len(data) - len(rest)
    parts = [Stretch(every, 0, rest, begin)]
    if form > _IN_STRETCHES:
        parts = list(stretches(rest, begin, shape, trellis))
    return _Parsed(trellis, steps, offsets, tuple(parts))


def stored_steps(steps: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return steps of rows as a stream keeps them, which are then kept as they are.

    Args:
        steps: From 1e-30 to 1e30, shape (rows,).

    Raises:
        InputError: A step is out of range, or they span too many octaves.

    Example:
        >>> kept = stored_steps(np.array([0.1, 0.3, 5.0]))
        >>> bool((stored_steps(kept) == kept).all())
        True
    """
    steps = np.asarray(steps)
    base, eighths = _round_steps(steps, len(steps))
    return np.broadcast_to(_row_steps(base, eighths), steps.shape).copy()


def _round_steps(
    steps: ArrayLike, rows: int
) -> tuple[NDArray[np.uint16], NDArray[np.int32] | None]:
    """Return the base step as bfloat16 and the rows' steps as eighths of octaves above it."""
    given = np.asarray(steps, np.float64).reshape(-1)
    if (
        given.size not in (1, rows)
        or not given.size
        or not np.all((given >= 1e-30) & (given <= 1e30))
    ):
        raise InputError(
            f"expected a step from 1e-30 to 1e30, or one for each of {rows} rows, "
            f"not shape {np.shape(steps)}"
        )
    base = round_up(given.min(keepdims=True).astype(np.float32))
    if np.ndim(steps) == 0 or given.size == 1:
        return base, None
    ratio = given / float(expand(base)[0])
    eighths = np.clip(np.rint(_PER_OCTAVE * np.log2(ratio)), 0, None)
    if eighths.max() > _PER_OCTAVE * _OCTAVES:
        raise InputError(
            f"steps of rows span more than {_OCTAVES} octaves: raise the least of them"
        )
    return base, eighths.astype(np.int32)


def _row_steps(base: NDArray[np.uint16], eighths: NDArray[np.int32] | None) -> NDArray[np.float32]:
    """Return the steps, float32: shape (1,) if all are the same, else (rows,)."""
    step = expand(base)
    if eighths is None:
        return step
    octaves, eighth = np.divmod(eighths, _PER_OCTAVE)
    with np.errstate(over="ignore"):
        wide = np.ldexp(np.float64(step[0]) * _EIGHTHS[eighth], octaves)
        return np.minimum(wide, np.finfo(np.float32).max).astype(np.float32)
