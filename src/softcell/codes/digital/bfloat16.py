"""Sixteen-bit floating-point numbers with the range of float32, for scales."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def round_up(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the smallest bfloat16 at or above each value (at least 0, finite), as its bits.

    Example:
        >>> float(expand(round_up(np.array([1.001], np.float32)))[0])
        1.0078125
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0xFFFF) >> 16).astype(np.uint16)


def expand(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return float32 values of bfloat16 bits, same shape."""
    return (np.ascontiguousarray(bits, np.uint16).astype(np.uint32) << 16).view(np.float32)
