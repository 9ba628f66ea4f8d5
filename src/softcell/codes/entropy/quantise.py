"""Weights to quantisation indices: the choice that costs least in distortion plus rate.

An index is chosen so that

    J = sum of importance * (weight - reconstruction)^2 + lambda * bits

is least, with lambda = trade_off * mean of importance * step^2. Bits are the adaptive coder's own:
a pass of coding says in which class each index falls and what each decision costs there, the
indices are chosen again under these costs, and so on for a few passes. Plain rounding is
``trade_off`` 0. Of a large matrix all passes but the last see a sample: what an index costs in its
class, and where the centroids are, is known well enough from a hundred thousand weights.

Where a coarser step and a dearer bit gain alike, lambda = 2 ln 2 * distortion (6 dB per bit): 0.12
of a scalar quantiser's step^2 at high rates, where the error is uniform (2 ln 2 / 12), and 0.08 in
a trellis. Below one bit per weight the best lies higher, towards 0.2. Only a trellis is sensitive.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softcell.codes.entropy.code_lengths import code_lengths
from softcell.codes.entropy.index_coder import Models
from softcell.codes.entropy.index_coding import trace_indices
from softcell.codes.entropy.sample import sample
from softcell.codes.entropy.trellis import Trellis, row_runs
from softcell.codes.entropy.trellis_kernels import (
    OFFSETS,
    choose_indices,
    reconstruct,
    sum_centroids,
    weighted_distortion,
)
from softcell.errors import InputError

SCALAR_TRADE_OFF = 0.12
TRELLIS_TRADE_OFF = 0.08
PASSES = 3
# An offset is stored as a byte, in units of 1 / 256 of the step.
OFFSET_UNIT = 1 / 256
# Bits that storing the offsets costs.
OFFSET_BITS = 8 * OFFSETS
_LARGEST_MAGNITUDE = float(1 << 30)

WHOLE = 1 << 21
"""Most weights of a matrix that every pass sees."""
_SAMPLE = 1 << 17

_SCALAR = Trellis()


@dataclass(frozen=True, eq=False)
class Quantised:
    """Indices with all that turns them back into weights, and their coded stream.

    Args:
        indices: int32, shape (rows, columns).
        steps: Step of every row, float32, shape (rows,).
        offsets: How much nearer to zero magnitudes 1, 2 and 3 upwards are reconstructed, in
            256ths of the step; shape (3,), int8. None without a price of bits.
        trellis: Trellis that the indices follow.
        stream: What `index_coding.encode_indices` makes of the indices.
        cost: J, with the bits of stream and offsets.
    """

    indices: NDArray[np.int32]
    steps: NDArray[np.float32]
    offsets: NDArray[np.int8]
    trellis: Trellis
    stream: bytes
    cost: float

    def weights(self) -> NDArray[np.float32]:
        """Return the reconstruction, shape (rows, columns)."""
        return dequantise(self.indices, self.steps, self.offsets, self.trellis)


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known before a pass: the coder's models, the offsets in steps, the cost of a bit."""

    models: Models = field(repr=False)
    offsets: NDArray[np.float64]
    multiplier: float


def quantise(
    weights: NDArray[np.float32],
    steps: ArrayLike,
    *,
    importance: ArrayLike | None = None,
    trade_off: float | None = None,
    trellis: Trellis = _SCALAR,
    passes: int = PASSES,
    of: int = 0,
) -> Quantised:
    """Choose the indices of a matrix of weights.

    Args:
        weights: Finite, shape (rows, columns).
        steps: From 1e-30 to 1e30; one for all, or one for each row. In a trellis, neighbouring
            values of the two quantisers together lie half a step apart.
        importance: Weight of every squared error (Fisher information, for example), at least 0:
            any shape that broadcasts to (rows, columns), such as (rows, 1). Default 1.
        trade_off: lambda in units of the mean of importance * step^2, from 0; default 0.12, or 0.08
            in a trellis.
        trellis: A trellis of more than one state for trellis-coded quantisation.
        passes: Times that indices are chosen, from 1; the best of them counts. Of more than `WHOLE`
            weights, all but the last see a sample.
        of: Weights of the matrix that these are a sample of, to be treated as it would be.

    Returns:
        Indices, offsets and stream. In J never worse than rounding to the nearest (scalar only, up
        to `WHOLE` weights).

    Raises:
        InputError: An argument is out of range or of another shape.

    Example:
        >>> weights = np.array([[0.1, -0.9, 2.2], [0.0, 0.4, -1.1]], np.float32)
        >>> quantise(weights, 1.0, trade_off=0).indices.tolist()
        [[0, -1, 2], [0, 0, -1]]
    """
    if trade_off is None:
        trade_off = SCALAR_TRADE_OFF if trellis.states == 1 else TRELLIS_TRADE_OFF
    weights, steps64, scale = _check(weights, steps, importance, trade_off, passes)
    if not weights.size:
        return Quantised(
            np.zeros(weights.shape, np.int32),
            steps64.astype(np.float32),
            np.zeros(OFFSETS, np.int8),
            trellis,
            b"",
            0.0,
        )
    if trade_off and max(of, weights.size) > WHOLE:
        known = _learn(weights, steps64, scale, trade_off, trellis, max(passes - 1, 1))
        indices = _nearest(weights, steps64)
        classes = np.empty(weights.shape, np.uint8)
        trace_indices(indices, classes=classes)
        return _choose(weights, steps64, scale, trellis, known, classes, indices)[0]
    known, classes, rounded = _begin(weights, steps64, scale, trade_off, trellis)
    candidates = []
    if rounded is not None:
        candidates, passes = [rounded], passes if trade_off else 0
    for _ in range(passes):
        indices = np.empty(weights.shape, np.int32)
        result, known = _choose(weights, steps64, scale, trellis, known, classes, indices)
        candidates.append(result)
    return min(candidates, key=lambda candidate: candidate.cost)


def dequantise(
    indices: NDArray[np.int32],
    steps: NDArray[np.float32],
    offsets: NDArray[np.int8],
    trellis: Trellis = _SCALAR,
    start: int = 0,
) -> NDArray[np.float32]:
    """Turn indices into weights: sign(q) (|q| - quantiser / 2 - offset of |q|) step.

    Args:
        indices: Shape (rows, columns).
        steps: Shape (rows,).
        offsets: In 256ths of the step, for magnitudes 1, 2 and 3 upwards.
        trellis: Trellis that the indices follow.
        start: State in which their paths through it begin.

    Returns:
        float32, shape (rows, columns).
    """
    out = np.empty(indices.shape, np.float32)
    quantisers, wide = trellis.quantiser_of(indices, start), steps.astype(np.float64)
    for rows in row_runs(indices.shape):
        parts = indices[rows], quantisers[rows], wide[rows]
        reconstruct(*parts, offsets * OFFSET_UNIT, out[rows])
    return out


def _nearest(weights: NDArray[np.float32], steps: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the nearest index of every weight."""
    nearest = np.empty(weights.shape, np.int32)
    some = max(_SAMPLE // weights.shape[1], 1)
    for start in range(0, len(weights), some):
        part = slice(start, start + some)
        nearest[part] = np.rint(weights[part] / steps[part, None])
    return nearest


def _begin(
    weights: NDArray[np.float32],
    steps: NDArray[np.float64],
    scale: NDArray[np.float64],
    trade_off: float,
    trellis: Trellis,
) -> tuple[_Known, NDArray[np.uint8], Quantised | None]:
    """Return what rounding shows, the classes, and for a scalar quantiser what it makes."""
    multiplier = trade_off * float((scale * (steps * steps)[:, None]).mean())
    nearest = _nearest(weights, steps)
    classes = np.empty(weights.shape, np.uint8)
    stream, models = trace_indices(nearest, classes=classes)
    rounded = None
    if trellis.states == 1:
        rounded = _finish(weights, nearest, steps, scale, multiplier, trellis, stream)
    else:
        models = (np.tile(models[0], (1, trellis.quantisers, 1)), models[1])
    return _Known(models, np.zeros(OFFSETS), multiplier), classes, rounded


def _learn(
    weights: NDArray[np.float32],
    steps: NDArray[np.float64],
    scale: NDArray[np.float64],
    trade_off: float,
    trellis: Trellis,
    passes: int,
) -> _Known:
    """Return what some passes over a sample show."""
    chosen = sample(weights, _SAMPLE)
    weights, steps, scale = chosen.of(weights), steps[chosen.rows], chosen.of(scale)
    known, classes, _ = _begin(weights, steps, scale, trade_off, trellis)
    indices = np.empty(weights.shape, np.int32)
    for _ in range(passes):
        known = _choose(weights, steps, scale, trellis, known, classes, indices)[1]
    return known


def _choose(
    weights: NDArray[np.float32],
    steps: NDArray[np.float64],
    scale: NDArray[np.float64],
    trellis: Trellis,
    known: _Known,
    classes: NDArray[np.uint8],
    indices: NDArray[np.int32],
) -> tuple[Quantised, _Known]:
    """Choose and code all indices in one pass; `classes` and `indices` are written over."""
    lengths = code_lengths(known.models, classes)
    choose_indices(
        weights,
        steps,
        scale,
        known.multiplier,
        known.offsets,
        trellis.transitions,
        *lengths,
        classes,
        indices,
    )
    stream, models = trace_indices(indices, trellis=trellis, classes=classes)
    found = _finish(weights, indices, steps, scale, known.multiplier, trellis, stream)
    offsets = found.offsets.astype(np.float64) * OFFSET_UNIT
    return found, _Known(models, offsets, known.multiplier)


def _finish(
    weights: NDArray[np.float32],
    indices: NDArray[np.int32],
    steps: NDArray[np.float64],
    scale: NDArray[np.float64],
    multiplier: float,
    trellis: Trellis,
    stream: bytes,
) -> Quantised:
    """Place the reconstructions at the centroids, where that is worth its bits."""
    quantisers = trellis.quantiser_of(indices)
    sums = np.zeros((2, OFFSETS))
    sum_centroids(weights, indices, quantisers, steps, scale, sums)
    centroids = sums[0] / np.maximum(sums[1], np.finfo(np.float64).tiny) / OFFSET_UNIT
    moved = np.clip(np.rint(centroids), -127, 127).astype(np.int8)

    def cost(offsets: NDArray[np.int8], side: int) -> float:
        distortion = weighted_distortion(
            weights, indices, quantisers, steps, scale, offsets * OFFSET_UNIT
        )
        return float(distortion) + multiplier * (8 * len(stream) + side)

    offsets = np.zeros(OFFSETS, np.int8)
    least = cost(offsets, 0)
    if multiplier and (worth := cost(moved, OFFSET_BITS)) < least:
        offsets, least = moved, worth
    return Quantised(indices, steps.astype(np.float32), offsets, trellis, stream, least)


def _check(
    weights: NDArray[np.float32],
    steps: ArrayLike,
    importance: ArrayLike | None,
    trade_off: float,
    passes: int,
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Refuse what cannot be quantised; return weights, steps by row and importance, broadcast."""
    weights = np.ascontiguousarray(weights, np.float32)
    if weights.ndim != 2 or not np.isfinite(weights).all():
        raise InputError(
            f"expected finite weights of shape (rows, columns), not of shape {weights.shape}"
            + (" with infinities or NaN" if weights.ndim == 2 else "")
        )
    rows = weights.shape[0]
    given = np.asarray(steps, np.float64)
    if given.shape not in ((), (1,), (rows,)) or not np.all((given > 0.9e-30) & (given < 1.1e30)):
        raise InputError(
            f"expected a step from 1e-30 to 1e30, or one for each of {rows} rows, "
            f"not shape {given.shape}"
        )
    by_row = np.broadcast_to(given.astype(np.float32), (rows,)).astype(np.float64)
    if weights.size and (_largest(weights) > _LARGEST_MAGNITUDE * by_row).any():
        raise InputError("a step is less than 2^-30 of its row's largest weight: take a larger one")
    scale = np.asarray(1.0 if importance is None else importance, np.float64)
    try:
        scale = np.broadcast_to(scale, weights.shape)
    except ValueError:
        raise InputError(
            f"importance of shape {scale.shape} does not broadcast to {weights.shape}"
        ) from None
    if not np.all((scale >= 0) & np.isfinite(scale)):
        raise InputError("importance must be finite and at least 0 everywhere")
    if not (np.isfinite(trade_off) and trade_off >= 0) or passes < 1:
        raise InputError(f"expected trade_off >= 0 and passes >= 1, not {trade_off} and {passes}")
    return weights, by_row, scale


def _largest(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the largest magnitude of each row, shape (rows,)."""
    found: NDArray[np.float32] = np.maximum(weights.max(axis=1), -weights.min(axis=1))
    return found
