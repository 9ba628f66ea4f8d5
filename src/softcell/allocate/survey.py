"""What a plan needs to know of a tensor, gathered in one pass over its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.scheme import Scheme
from softcell.codes.analog.value_range import Histogram
from softcell.codes.digital.conventional import keeps_precision
from softcell.errors import InputError
from softcell.weights import TensorInfo, Weights

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

_FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True, eq=False)
class TensorSurvey:
    """Statistics of one tensor.

    Args:
        info: Its name, shape and type.
        kind: "analog", or the number format that stores it error-free: "float32", "float16",
            "int8", or "raw" for its own bytes.
        magnitudes: Sizes of the weights that are not zero.
        zeros: Number of weights that are zero.
        variance: Mean square of the weights.
        importance: What the loss feels of a squared error of one weight, shape (rows,).
    """

    info: TensorInfo
    kind: str
    magnitudes: Histogram = field(repr=False)
    zeros: int = 0
    variance: float = 0.0
    importance: NDArray[np.float64] = field(default_factory=lambda: np.ones(1), repr=False)

    @property
    def rows(self) -> int:
        """Output channels."""
        return self.info.shape[0] if len(self.info.shape) > 1 else 1

    @property
    def columns(self) -> int:
        """Weights of one output channel."""
        return self.info.size // self.rows


def as_rows(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a tensor's weights as output channels by the rest, float32."""
    rows = weights.shape[0] if weights.ndim > 1 else 1
    return np.ascontiguousarray(weights, np.float32).reshape(rows, -1)


def finite_weights(weights: Weights, name: str) -> NDArray[np.float32]:
    """Return a floating-point tensor as float32.

    Raises:
        InputError: A weight is NaN, infinite, or beyond float32.
    """
    values = weights.read(name)
    with np.errstate(over="ignore"):
        result = values.astype(np.float32, copy=False)
    bad = int(result.size - np.isfinite(result).sum())
    if bad:
        raise InputError(
            f"tensor {name!r} holds {bad} weights that are NaN or infinite; repair the network first"
        )
    return result


def survey(
    weights: Weights,
    scheme: Scheme,
    *,
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None,
    progress: Progress | None = None,
) -> list[TensorSurvey]:
    """Look at every tensor once.

    Args:
        weights: The network's tensors.
        scheme: The scheme that will store them.
        sensitivity: Diagonal Fisher information by tensor, of the tensor's shape. Without it a
            relative error counts the same in every tensor.
        progress: Called after every tensor.

    Raises:
        InputError: There is no weight at all, a weight is not finite, or a sensitivity has another
            shape than its tensor.
    """
    result = []
    for done, name in enumerate(weights.names, start=1):
        result.append(_survey(weights, name, scheme, sensitivity))
        if progress:
            progress("survey", done, len(weights.names))
    if sum(each.info.size for each in result) == 0:
        raise InputError("the network has no weights: nothing to store")
    return result


def _survey(
    weights: Weights,
    name: str,
    scheme: Scheme,
    sensitivity: Mapping[str, NDArray[np.floating]] | None,
) -> TensorSurvey:
    info = weights.info(name)
    nothing = Histogram(np.zeros(1), np.zeros(1))
    if info.dtype not in _FLOATS or info.size == 0:
        return TensorSurvey(info, "raw", nothing)
    values = finite_weights(weights, name)
    kind = _kind(info, values, scheme)
    rows = as_rows(values)
    variance = float(np.einsum("ij,ij->", rows, rows, dtype=np.float64) / rows.size)
    if kind != "analog":
        return TensorSurvey(info, kind, nothing, variance=variance)
    sizes = np.abs(rows)
    stored = sizes[sizes > 0]
    zeros = rows.size - stored.size
    if sensitivity is not None and name in sensitivity:
        fisher = np.asarray(sensitivity[name])
        if fisher.shape != info.shape:
            raise InputError(
                f"sensitivity of {name!r} has shape {fisher.shape}, the tensor {info.shape}"
            )
        importance = as_rows(fisher).mean(axis=1, dtype=np.float64)
    else:
        importance = np.full(rows.shape[0], 1 / variance if variance > 0 else 0.0)
    histogram = Histogram.of(stored if zeros else sizes)
    return TensorSurvey(info, kind, histogram, zeros, variance, importance)


def _kind(info: TensorInfo, values: NDArray[np.float32], scheme: Scheme) -> str:
    if scheme.number_format is None:
        if len(info.shape) > 1:
            return "analog"
        return _exact(info, values)
    if scheme.number_format == "int8" and len(info.shape) < 2:
        return _exact(info, values)
    if scheme.number_format == "float32" and info.dtype in ("F16", "BF16"):
        return "raw"
    if scheme.number_format == "float16" and info.dtype == "F16":
        return "raw"
    return scheme.number_format


def _exact(info: TensorInfo, values: NDArray[np.float32]) -> str:
    """Return the format of a vector: biases and normalisation parameters keep their precision."""
    if info.dtype in ("F16", "BF16"):
        return "raw"
    return "float16" if keeps_precision(values) else "float32"
