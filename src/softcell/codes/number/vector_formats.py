"""Short formats of vectors: normalisation parameters and biases, few but not to be forgotten."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.codes.number.formats import FORMATS, NumberFormat
from softcell.errors import InputError

FLOAT12 = "float12"
CONSTANT = "constant"

_MANTISSA_BITS = 6
_TOP_FIELD = 31
"""Largest exponent field; field 0 holds zero and the subnormal numbers, as in IEEE 754."""

_BIAS = 128
"""What is added to the exponent of the largest numbers to make a byte of it."""


def _encode_float12(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round to 1 sign bit, 5 exponent bits and 6 mantissa bits.

    v = (-1)^s (1 + m / 64) 2^(e - 31 + top),  e = 1 .. 31
    v = (-1)^s (m / 64) 2^(top - 30),  e = 0

    where top, the exponent of the largest number, is stored once, as a byte. A number is rounded to
    the nearest, with a relative error of at most 2^-7 from 2^(top - 30) upward, and an absolute one
    of at most 2^(top - 37) below. Two numbers of 12 bits, the first in the upper bits, take three
    bytes.
    """
    flat = values.reshape(-1).astype(np.float64)
    exponents = np.frexp(flat)[1] - 1
    step = np.ldexp(1.0, exponents - _MANTISSA_BITS)
    largest = float(np.abs(np.rint(flat / step) * step).max())
    top = int(np.clip(np.frexp(largest)[1] - 1, -_BIAS, _BIAS - 1)) if largest else -_BIAS
    lowest = top - _TOP_FIELD + 1
    # A subnormal number is as fine as the smallest normal ones. Rounding up may end a binade; the
    # carry goes into the exponent field, as the code words of positive numbers are in order.
    exponents = np.where(flat, np.maximum(exponents, lowest), lowest)
    whole = np.rint(np.ldexp(np.abs(flat), _MANTISSA_BITS - exponents)).astype(np.int64)
    word = whole + ((exponents - lowest) << _MANTISSA_BITS)
    # Above the largest number there is none only at the very end of float32.
    word = np.minimum(word, (_TOP_FIELD + 1 << _MANTISSA_BITS) - 1)
    word |= np.signbit(flat).astype(np.int64) << 11
    if word.size % 2:
        word = np.append(word, 0)
    first, second = word[::2], word[1::2]
    triples = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
    data = triples.astype(np.uint8).reshape(-1)[: _float12_size(values.shape) - 1]
    return np.concatenate([np.array([top + _BIAS], np.uint8), data])


def _decode_float12(data: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float32]:
    count = int(np.prod(shape, dtype=np.int64))
    lowest = int(data[0]) - _BIAS - _TOP_FIELD + 1
    padded = np.zeros(3 * -(-count // 2), np.int64)
    padded[: len(data) - 1] = data[1:]
    a, b, c = padded.reshape(-1, 3).T
    word = np.stack([a << 4 | b >> 4, (b & 15) << 8 | c], axis=1).reshape(-1)[:count]
    exponent, mantissa = (word >> _MANTISSA_BITS) & _TOP_FIELD, word & 63
    normal = exponent > 0
    whole = mantissa + (normal.astype(np.int64) << _MANTISSA_BITS)
    size = np.ldexp(whole.astype(np.float64), lowest + np.maximum(exponent - 1, 0) - _MANTISSA_BITS)
    values: NDArray[np.float32] = np.where(word >> 11, -size, size).astype(np.float32)
    return values.reshape(shape)


def _float12_size(shape: tuple[int, ...]) -> int:
    return 1 + -(-3 * int(np.prod(shape, dtype=np.int64)) // 2)


def _encode_constant(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    if not is_constant(values):
        raise InputError("values differ and cannot be stored as one; store them as float16")
    return np.array([values.reshape(-1)[0]], np.float32).view(np.uint8)


def _decode_constant(data: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.full(shape, np.ascontiguousarray(data).view(np.float32)[0])


def is_constant(values: NDArray[np.float32]) -> bool:
    """Return whether all values of an array are the same to the bit.

    Example:
        >>> is_constant(np.ones(3, np.float32)), is_constant(np.array([0.0, -0.0], np.float32))
        (True, False)
    """
    bits = np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint32)
    return bits.size > 0 and bool((bits == bits[0]).all())


NUMBER_FORMATS = {
    **FORMATS,
    FLOAT12: NumberFormat(FLOAT12, _encode_float12, _decode_float12, _float12_size, lambda _: 1),
    CONSTANT: NumberFormat(CONSTANT, _encode_constant, _decode_constant, lambda _: 4, lambda _: 0),
}
"""All formats of a tensor: those of `FORMATS`, which are schemes as well, and those of vectors."""
