"""Sixteen-bit floating-point numbers with the range of float32, for scales."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.errors import InputError

_LARGEST = 0x7F7F


def round_up(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the smallest bfloat16 at or above each value (at least 0, finite), as its bits.

    Above 3.39e38 there is none that is finite: such values take the largest.

    Example:
        >>> float(expand(round_up(np.array([1.001], np.float32)))[0])
        1.0078125
    """
    positive = np.ascontiguousarray(values, np.float32) + np.float32(0)  # no -0.0
    bits = positive.view(np.uint32).astype(np.uint64)
    upper: NDArray[np.uint16] = np.minimum((bits + 0xFFFF) >> 16, _LARGEST).astype(np.uint16)
    return upper


def expand(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return float32 values of bfloat16 bits, same shape."""
    wide = np.ascontiguousarray(bits, np.uint16).astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def ceiling(value: float) -> float:
    """Return the smallest bfloat16 at or above a value (at least 0, finite), as it is stored.

    Example:
        >>> ceiling(1.001)
        1.0078125
    """
    return float(expand(round_up(np.array([value], np.float32)))[0])


def require_bfloat16(value: float, what: str) -> None:
    """Make sure that a number is one that a bfloat16 holds.

    Raises:
        InputError: It is not.
    """
    if ceiling(value) != value:
        raise InputError(f"its {what} is a bfloat16, got {value}")
