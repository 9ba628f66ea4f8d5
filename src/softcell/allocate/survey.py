"""What a plan needs to know of a tensor, gathered in one pass over its weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from softcell.codes.analog.value_range import Histogram
from softcell.codes.families import FAMILIES, RAW
from softcell.codes.number.formats import keeps_precision
from softcell.codes.number.vector_formats import CONSTANT, FLOAT12, NUMBER_FORMATS, is_constant
from softcell.codes.schemes import Scheme
from softcell.errors import InputError
from softcell.progress import Progress
from softcell.weights import TensorInfo, Weights, tensor_of_bytes
from softcell.weights.finite import FLOATS, finite_weights

_RUN = 1 << 18
_NOTHING = Histogram(np.zeros(1), np.zeros(1))

Known = dict[tuple[str, str, int], "TensorSurvey"]
"""What is known of tensors, by name, kind of the scheme and bits of a number in vectors."""


@dataclass(frozen=True, eq=False)
class TensorSurvey:
    """Statistics of one tensor.

    Args:
        info: Its name, shape and type.
        kind: Family of its code, or the number format that stores it error-free: "float32",
            "float16", "int8", "float12", "constant", or "raw" for its own bytes.
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
    def coded(self) -> bool:
        """Whether it is a matrix that gets a code."""
        return self.kind in FAMILIES

    @property
    def stored_bytes(self) -> int:
        """Bytes in the store of a tensor that gets no code."""
        if self.kind == RAW:
            return self.info.nbytes
        return NUMBER_FORMATS[self.kind].size(self.info.shape) if self.info.size else 0

    @property
    def rows(self) -> int:
        """Output channels."""
        return self.info.rows

    @property
    def columns(self) -> int:
        """Weights of one output channel."""
        return self.info.columns


def survey(
    weights: Weights,
    scheme: Scheme,
    *,
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None,
    vector_bits: int = 16,
    keep: Collection[str] = (),
    known: Known | None = None,
    progress: Progress | None = None,
) -> list[TensorSurvey]:
    """Look at every tensor once.

    Args:
        weights: The network's tensors.
        scheme: The scheme that will store them.
        sensitivity: Diagonal Fisher information by tensor, of the tensor's shape. See
            `loss_weights` for tensors without, or where it is 0 throughout.
        vector_bits: Bits of a number in vectors, 16 or 12, where the scheme codes matrices.
        keep: Names of tensors that are stored as they are, byte by byte.
        known: Of earlier surveys of these weights, to save reading them again; added to.
        progress: Called after every tensor.

    Raises:
        InputError: There is no weight at all, a weight is not finite, or a sensitivity is not a
            Fisher information of its tensor; or vectors are to have another number of bits.
    """
    if vector_bits not in (12, 16):
        raise InputError(f"numbers in vectors have 16 or 12 bits, got {vector_bits}")
    if unknown := sorted(set(keep) - set(weights.names)):
        raise InputError(f"there is no tensor {unknown[0]!r} to keep; name one of the network's")
    result, known = [], {} if known is None else known
    for done, name in enumerate(weights.names, start=1):
        key = name, scheme.kind, vector_bits
        if name in keep:
            result.append(TensorSurvey(weights.info(name), RAW, _NOTHING))
        else:
            if key not in known:
                known[key] = _survey(weights, name, scheme, vector_bits)
            result.append(known[key])
        if progress:
            progress("survey", done, len(weights.names))
    if sum(each.info.size for each in result) == 0:
        raise InputError("the network has no weights: nothing to store")
    analog = [each for each in result if each.coded]
    given = {
        each.info.name: _felt_by_row(sensitivity[each.info.name], each.info)
        for each in analog
        if sensitivity is not None and each.info.name in sensitivity
    }
    # Nothing that came back to a matrix says nothing of it: it must not get lost for that.
    felt = {name: rows for name, rows in given.items() if rows.any()}
    if given and not felt:
        raise InputError(
            "the sensitivity is 0 for every weight of the matrices; compute it on other inputs, or "
            "leave it out"
        )
    if sensitivity is not None and analog and not felt and scheme.has("sensitivity"):
        raise InputError(
            f"the sensitivity has no tensor {analog[0].info.name!r}, nor any other of the "
            "network's matrices; compute it on the same network"
        )
    overall = loss_weights(
        {each.info.name: each.variance for each in analog},
        {name: float(rows.mean()) for name, rows in felt.items()},
    )
    return [
        replace(
            each,
            importance=felt.get(each.info.name, np.full(each.rows, overall[each.info.name])),
        )
        if each.coded
        else each
        for each in result
    ]


def fitting_bits(weights: Weights, cells: float, bits_per_cell: float) -> int:
    """Return the bits of a number in vectors: 16 if so many cells hold them all, else 12.

    Args:
        weights: The network's tensors; vectors of one and the same number count as nothing.
        cells: Cells for vectors.
        bits_per_cell: What the digital store holds.

    Example:
        >>> from softcell.weights import StateDictWeights
        >>> network = StateDictWeights({"bias": np.arange(10, dtype=np.float32)})
        >>> fitting_bits(network, 80, 2.0), fitting_bits(network, 79, 2.0)
        (16, 12)
    """
    numbers = 0
    for name in weights.names:
        info = weights.info(name)
        if len(info.shape) < 2 and info.dtype in FLOATS and info.size:
            numbers += 0 if is_constant(finite_weights(weights, name)) else info.size
    return 16 if 16 * numbers <= cells * bits_per_cell else 12


def loss_weights(variances: Mapping[str, float], fisher: Mapping[str, float]) -> dict[str, float]:
    """Return what the loss feels of a squared error of one weight, tensor by tensor.

    That is the Fisher information. A tensor without is taken to feel an error, relative to its
    variance, as the median of the others does; where none has any, as 1.

    Args:
        variances: Variance of the weights of each tensor.
        fisher: Mean Fisher information of those tensors for which it is known.

    Example:
        >>> loss_weights({"a": 4.0, "b": 2.0}, {"a": 3.0})
        {'a': 3.0, 'b': 6.0}
    """
    relative = [fisher[name] * variances[name] for name in fisher if variances[name] > 0]
    typical = float(np.median(relative)) if relative else 1.0
    return {
        name: fisher[name] if name in fisher else (typical / variance if variance > 0 else 0.0)
        for name, variance in variances.items()
    }


def _survey(weights: Weights, name: str, scheme: Scheme, vector_bits: int) -> TensorSurvey:
    info = weights.info(name)
    if info.dtype not in FLOATS or info.size == 0:
        tensor_of_bytes(np.empty(0, np.uint8), info.dtype, name)  # refuses what cannot be restored
        return TensorSurvey(info, RAW, _NOTHING)
    values = finite_weights(weights, name)
    kind = _kind(info, values, scheme, vector_bits)
    if kind not in FAMILIES:
        return TensorSurvey(info, kind, _NOTHING)
    sizes = Histogram.of(values, magnitudes=True)
    some = sizes.values > 0
    magnitudes = Histogram(sizes.values[some], sizes.counts[some]) if some.any() else _NOTHING
    zeros = int(sizes.counts[~some].sum())
    flat = values.reshape(-1)
    squares = sum(
        float(np.sum(np.square(flat[start : start + _RUN], dtype=np.float64)))
        for start in range(0, flat.size, _RUN)
    )
    return TensorSurvey(info, kind, magnitudes, zeros, squares / info.size)


def _felt_by_row(fisher: NDArray[np.floating], info: TensorInfo) -> NDArray[np.float64]:
    """Return the mean Fisher information of each row."""
    fisher = np.asarray(fisher)
    if fisher.shape != info.shape:
        raise InputError(
            f"sensitivity of {info.name!r} has shape {fisher.shape}, the tensor {info.shape}"
        )
    if not (np.isfinite(fisher).all() and fisher.min() >= 0):
        raise InputError(
            f"sensitivity of {info.name!r} holds NaN, infinite or negative values; a Fisher "
            "information has none: compute it again"
        )
    felt: NDArray[np.float64] = fisher.reshape(info.shape[0], -1).mean(axis=1, dtype=np.float64)
    return felt


def _kind(info: TensorInfo, values: NDArray[np.float32], scheme: Scheme, vector_bits: int) -> str:
    if scheme.kind in FAMILIES:
        return scheme.kind if len(info.shape) > 1 else _short(info, values, vector_bits)
    number_format = NUMBER_FORMATS[scheme.kind]
    if info.dtype in number_format.native:
        return RAW
    if number_format.side(info.shape) and len(info.shape) < 2:
        return _exact(info, values)
    return scheme.kind


def _short(info: TensorInfo, values: NDArray[np.float32], vector_bits: int) -> str:
    """Return the format of a vector where it may be shorter than that of `_exact`."""
    if info.size > 2 and is_constant(values):
        return CONSTANT
    if vector_bits == 12 and NUMBER_FORMATS[FLOAT12].size(info.shape) < 2 * info.size:
        return FLOAT12
    return _exact(info, values)


def _exact(info: TensorInfo, values: NDArray[np.float32]) -> str:
    """Return the format of a vector: biases and normalisation parameters keep their precision."""
    if info.dtype in ("F16", "BF16"):
        return RAW
    return "float16" if keeps_precision(values) else "float32"
