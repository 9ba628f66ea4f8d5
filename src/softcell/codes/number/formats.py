"""Conventional payloads: every weight as a number of fixed length, to be stored error-free."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softcell.bfloat16 import expand, round_up
from softcell.errors import InputError
from softcell.weights.safetensors_header import rows_of

_VANISHED = 1e-4
"""Share of a tensor's power (1 % of its size) that may become zeros unsaid."""

_BLOCK = 1 << 18
"""Weights quantised at a time."""

Encoder = Callable[[NDArray[np.float32]], NDArray[np.uint8]]
Decoder = Callable[[NDArray[np.uint8], tuple[int, ...]], NDArray[np.float32]]


@dataclass(frozen=True)
class NumberFormat:
    """A fixed-length representation of a tensor's weights.

    Args:
        name: Name of the format.
        encode: Weights of any shape -> bytes.
        decode: Bytes and shape -> weights.
        size: Shape -> number of bytes.
        side: Shape -> bytes among them that are scales and not weights.
        native: Types of tensors whose own bytes are no longer, so that they are kept as they are.
    """

    name: str
    encode: Encoder
    decode: Decoder
    size: Callable[[tuple[int, ...]], int]
    side: Callable[[tuple[int, ...]], int]
    native: tuple[str, ...] = ()


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _float32(weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(weights, np.float32).reshape(-1).view(np.uint8)


def _from_float32(data: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.ascontiguousarray(data).view(np.float32).reshape(shape)


def _float16(weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    limit = float(np.finfo(np.float16).max)
    most = max(float(weights.max()), -float(weights.min()))
    if most > limit:
        raise InputError(f"a weight of {most:.4g} is beyond float16; store it as float32")
    kept = weights.astype(np.float16)
    vanished = (kept == 0) & (weights != 0)
    if vanished.any():
        lost, power = (
            float(np.square(each, dtype=np.float64).sum())
            for each in (
                weights[vanished],
                weights,
            )
        )
        if lost > _VANISHED * power:
            raise InputError(
                f"{int(vanished.sum())} of {weights.size} weights are below float16's smallest "
                "number and would become zeros; store it as float32"
            )
    return kept.reshape(-1).view(np.uint8)


def _from_float16(data: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.ascontiguousarray(data).view(np.float16).astype(np.float32).reshape(shape)


def _int8(weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Quantise symmetrically, w ~ s q with q in -127..127 and a bfloat16 step s for each row."""
    rows = weights.reshape(rows_of(weights.shape), -1)
    bits = round_up(np.maximum(rows.max(axis=1), -rows.min(axis=1)) / np.float32(127))
    # A row of zeros divides by 1. In float64, where no step is too small to divide by.
    step = np.where(bits > 0, expand(bits), 1).astype(np.float64)
    out = np.empty(2 * len(rows) + rows.size, np.uint8)
    out[: 2 * len(rows)] = bits.view(np.uint8)
    index = out[2 * len(rows) :].view(np.int8).reshape(rows.shape)
    for block in _blocks(rows.shape):
        index[block] = np.clip(np.rint(rows[block] / step[block[0], None]), -127, 127)
    return out


def _from_int8(data: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float32]:
    rows = rows_of(shape)
    step = expand(np.ascontiguousarray(data[: 2 * rows]).view(np.uint16))
    index = data[2 * rows :].view(np.int8).reshape(rows, -1)
    with np.errstate(over="ignore", invalid="ignore"):  # steps of code words that failed
        return (index * step[:, None]).reshape(shape)


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Yield blocks of a matrix of at most _BLOCK weights."""
    rows, columns = shape
    height = max(_BLOCK // columns, 1)
    for top in range(0, rows, height):
        for left in range(0, columns, _BLOCK):
            yield slice(top, top + height), slice(left, left + _BLOCK)


FORMATS = {
    "float32": NumberFormat(
        "float32",
        _float32,
        _from_float32,
        lambda shape: 4 * _count(shape),
        lambda _: 0,
        ("F16", "BF16"),
    ),
    "float16": NumberFormat(
        "float16", _float16, _from_float16, lambda shape: 2 * _count(shape), lambda _: 0, ("F16",)
    ),
    "int8": NumberFormat(
        "int8",
        _int8,
        _from_int8,
        lambda shape: 2 * rows_of(shape) + _count(shape),
        lambda shape: 2 * rows_of(shape),
    ),
}


def keeps_precision(weights: NDArray[np.float32]) -> bool:
    """Return whether float16 holds every weight to its 11 bits: none too large, none subnormal."""
    size = np.abs(weights[weights != 0])
    if size.size == 0:
        return True
    smallest = np.finfo(np.float16).smallest_normal
    return bool(size.max() <= np.finfo(np.float16).max and size.min() >= smallest)
