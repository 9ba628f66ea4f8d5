"""Tensors as the matrices that are stored: finite float32, output channels by the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.errors import InputError
from softcell.weights import Weights
from softcell.weights.safetensors_header import rows_of

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
"""Types of floating-point tensors, as safetensors files name them."""


def as_rows(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a tensor's weights as output channels by the rest, float32."""
    return np.ascontiguousarray(weights, np.float32).reshape(rows_of(weights.shape), -1)


def finite_weights(weights: Weights, name: str) -> NDArray[np.float32]:
    """Return a floating-point tensor as float32.

    Raises:
        InputError: A weight is NaN, infinite, or beyond float32.
    """
    return finite(weights.read(name), name)


def finite(values: NDArray[np.generic], name: str) -> NDArray[np.float32]:
    """Return the values of a floating-point tensor as float32.

    Raises:
        InputError: A weight is NaN, infinite, or beyond float32.
    """
    with np.errstate(over="ignore"):
        result = values.astype(np.float32, copy=False)
    bad = int(result.size - np.isfinite(result).sum())
    if bad and np.isfinite(values).all():
        raise InputError(f"tensor {name!r} holds {bad} weights beyond float32; rescale it first")
    if bad:
        raise InputError(
            f"tensor {name!r} holds {bad} weights that are NaN or infinite; "
            "repair the network first"
        )
    return result
