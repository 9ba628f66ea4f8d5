"""Quantisation indices to bytes and back, without loss, near or below their first-order entropy.

The stream is a byte for the mean magnitude, one for the lag of a sign's further neighbours, the
number of bytes that follow (seven bits a byte, least first, the uppermost bit set in all but the
last), and the arithmetic-coded decisions of `index_kernels`.

Why a coder of its own: contexts depend on the index just decoded, which a library that codes
arrays in one call cannot follow; and per call in Python it is a thousand times too slow. On
ResNet-20, rounded at steps of 0.5 sigma, a static model for each tensor cannot need less than 3.03
bits per weight (first-order entropy), 3.06 with its table; this coder needs 2.78, and decodes some
15 million weights per second. On independent samples it is within 0.3 % of the entropy.
`benchmarks/limits/entropy_coding.py` measures all of these.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from softcell.codes.entropy.index_coder import STATE_BYTES, IndexCoder, Models
from softcell.codes.entropy.index_models import CLASSES, initial_models, mean_code
from softcell.codes.entropy.sign_kernels import agreements
from softcell.codes.entropy.trellis import Trellis
from softcell.errors import FormatError, InputError

# Indices lie strictly between -LARGEST and LARGEST.
LARGEST = 1 << 31
_LARGEST_LAG = 32
# Bytes that its length may take.
_LONGEST_NUMBER = 6
_LAG_SAMPLE = 1 << 18
# A decision takes 2^-12 of the interval away at least, an index so 3.5e-4 bits: a byte holds no
# more than 22,700. The rounding of short intervals is far from three times that.
_MOST_PER_BYTE = 1 << 16

_SCALAR = Trellis()
_NO_CLASSES = np.empty((1, 0), np.uint8)


def encode_indices(
    indices: NDArray[np.int32], *, trellis: Trellis = _SCALAR, start: int = 0
) -> bytes:
    """Code indices to bytes.

    Args:
        indices: Shape (rows, columns), each above -2^31. Rows that belong together (a filter's
            weights) and columns that do (an input's) are what the contexts look at.
        trellis: The trellis that the indices follow, if any.
        start: State in which their paths through it begin.

    Returns:
        The stream, always the same for the same indices.

    Raises:
        InputError: The indices are not a matrix of int32, or one is -2^31.

    Example:
        >>> stream = encode_indices(np.array([[0, -1, 2], [0, 1, 5]], np.int32))
        >>> decode_indices(stream, (2, 3)).tolist()
        [[0, -1, 2], [0, 1, 5]]
    """
    return trace_indices(indices, trellis=trellis, start=start)[0]


def trace_indices(
    indices: NDArray[np.int32],
    *,
    trellis: Trellis = _SCALAR,
    classes: NDArray[np.uint8] = _NO_CLASSES,
    start: int = 0,
) -> tuple[bytes, Models]:
    """Code indices and return, beside the stream, the models as they are at its end.

    ``classes``, of the indices' shape, is filled with the class in which each was coded.
    """
    if indices.ndim != 2 or indices.dtype != np.int32:
        raise InputError(
            "expected int32 indices of shape (rows, columns), "
            f"not {indices.dtype} of shape {indices.shape}"
        )
    if not indices.size:
        return b"", initial_models(trellis.quantisers)
    if int(indices.min()) <= -LARGEST:
        raise InputError(f"indices must lie above -2^31, not at {int(indices.min())}")
    indices = np.ascontiguousarray(indices)
    mean = mean_code(float(np.abs(indices).mean(dtype=np.float64)))
    lag = _strongest_lag(indices)
    coder = IndexCoder(indices, mean, lag, trellis, classes, start)
    data = b"".join(coder.encoded())
    return bytes([mean, lag]) + _number(len(data)) + data, coder.models


def decode_indices(
    data: bytes, shape: tuple[int, int], *, trellis: Trellis = _SCALAR, start: int = 0
) -> NDArray[np.int32]:
    """Decode what `encode_indices` made, given the same shape, trellis and state.

    Returns:
        Indices, int32, shape (rows, columns).

    Raises:
        FormatError: The stream is shorter or longer than its indices, or its header is wrong. An
            altered stream that happens to end in the right place decodes to other indices.
    """
    if not math.prod(shape):
        if data:
            raise FormatError(f"expected no bytes for indices of shape {shape}, not {len(data)}")
        return np.zeros(shape, np.int32)
    coder, body = _decoder(data, shape, trellis, start)
    coder.decode(body)
    return coder.indices


def decode_beginning(
    data: bytes, shape: tuple[int, int], whole: int, *, trellis: Trellis = _SCALAR, start: int = 0
) -> NDArray[np.int32]:
    """Decode the first rows of a stream of which bytes are lost.

    Args:
        data: The stream, its bytes from `whole` on of any value.
        shape: Rows and columns, at least one of each.
        whole: Number of its first bytes that are what was written.
        trellis: The trellis that the indices follow.
        start: State in which their paths through it begin.

    Returns:
        Those rows that hang on these bytes alone, shape (rows from 0 on, columns).
    """
    try:
        coder, body = _decoder(data, shape, trellis, start)
    except FormatError:
        return np.zeros((0, shape[1]), np.int32)
    rows = coder.decode_beginning(body, whole - (len(data) - len(body)))
    return coder.indices[:rows]


def _decoder(
    data: bytes, shape: tuple[int, int], trellis: Trellis, start: int
) -> tuple[IndexCoder, NDArray[np.uint8]]:
    """Return what decodes a stream, and its bytes.

    Raises:
        FormatError: The stream's header is wrong, or it is too short for its indices.
    """
    size, begin = _extent(data)
    if begin + size != len(data):
        raise FormatError(
            f"index stream of {begin + size} bytes expected, not of {len(data)}: it is truncated, "
            "or something follows it"
        )
    mean, lag = data[0], data[1]
    if mean >= CLASSES or not 1 <= lag <= _LARGEST_LAG:
        raise FormatError(
            f"index stream has mean class {mean} and lag {lag}; below {CLASSES} and 1 to "
            f"{_LARGEST_LAG} were expected: it is damaged or of another kind"
        )
    if math.prod(shape) > (size + STATE_BYTES) * _MOST_PER_BYTE:
        raise FormatError(f"index stream of {size} bytes cannot hold indices of shape {shape}")
    try:
        indices = np.zeros(shape, np.int32)
    except MemoryError:
        raise FormatError(f"indices of shape {shape} need more memory than there is") from None
    body = np.frombuffer(data, np.uint8, offset=begin).copy()
    return IndexCoder(indices, mean, lag, trellis, _NO_CLASSES, start), body


def stream_size(data: bytes) -> int:
    """Return how many of these bytes are the index stream that they begin with.

    Raises:
        FormatError: The stream's header is truncated, or more bytes belong to it than there are.

    Example:
        >>> stream = encode_indices(np.array([[3, -1]], np.int32))
        >>> stream_size(stream + b"more") == len(stream)
        True
    """
    size, begin = _extent(data)
    if begin + size > len(data):
        raise FormatError(
            f"index stream of {begin + size} bytes expected, {len(data)} are left: it is truncated"
        )
    return begin + size


def _number(value: int) -> bytes:
    """Write a number, seven bits a byte."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _extent(data: bytes) -> tuple[int, int]:
    """Return how many bytes follow the header of an index stream, and where they begin."""
    size = 0
    for place in range(2, min(len(data), 2 + _LONGEST_NUMBER)):
        size |= (data[place] & 127) << 7 * (place - 2)
        if data[place] < 128:
            return size, place + 1
    raise FormatError(f"index stream of {len(data)} bytes: its header is truncated or damaged")


def _strongest_lag(indices: NDArray[np.int32]) -> int:
    """Return the distance to the left, from 2, at which signs agree or disagree the most.

    In a convolution's rows, where taps follow each other, that is the width of its kernel.
    """
    signs = np.sign(indices[: max(_LAG_SAMPLE // indices.shape[1], 1)]).astype(np.int8)
    found = np.abs(agreements(signs, min(_LARGEST_LAG, indices.shape[1] - 1)))
    return max(int(found.argmax()), 2) if found.size else 2
