"""Weights to quantisation indices a column at a time, as the feedback loop hands them out.

A matrix's columns are quantised one after the other, each when the errors of those before it are
known. A trellis can therefore not run along rows: every column has a path of its own, from its
first row to its last, chosen whole (Viterbi) under

    J = sum over rows of scale * (target - reconstruction)^2 + multiplier * bits.

Bits are the adaptive coder's own, in the contexts that an earlier pass met (see `quantise`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from softcell.codes.entropy.code_lengths import code_lengths
from softcell.codes.entropy.index_coding import trace_indices
from softcell.codes.entropy.trellis import Trellis
from softcell.codes.entropy.trellis_kernels import (
    OFFSETS,
    choose_indices,
    find_indices,
    reconstruct,
)
from softcell.errors import InputError

_NO_OFFSETS = np.zeros(OFFSETS)
_FORBIDDING = 1e12  # times the largest weight of a squared error: no path errs there


@dataclass(frozen=True, eq=False)
class Contexts:
    """What an index is expected to cost: where it will be coded, and the models there.

    Args:
        classes: Class of each index, uint8, shape (rows, columns).
        levels: Bits of small magnitudes by model.
        lengths: Bits of other magnitudes by their length, by model.
    """

    classes: NDArray[np.uint8] = field(repr=False)
    levels: NDArray[np.float32] = field(repr=False)
    lengths: NDArray[np.float32] = field(repr=False)

    @classmethod
    def of(cls, indices: NDArray[np.int32], trellis: Trellis) -> Contexts:
        """Return the contexts in which these indices are coded.

        Args:
            indices: Shape (rows, columns); plain ones, or such that follow the trellis.
            trellis: The trellis that further indices will follow.
        """
        classes = np.empty(indices.shape, np.uint8)
        _, models = trace_indices(indices, trellis=trellis, classes=classes)
        return cls(classes, *code_lengths(models))

    def for_both_quantisers(self) -> Contexts:
        """Return contexts of plain indices as a first guess for those of a trellis."""
        return replace(
            self, levels=np.tile(self.levels, (2, 1)), lengths=np.tile(self.lengths, (2, 1))
        )


class ColumnQuantiser:
    """Quantises a matrix column by column.

    Args:
        steps: Step of each row, above 0, shape (rows,).
        scale: Weight of every squared error, at least 0, shape (rows, columns).
        trellis: A trellis by column.
        trade_off: Price of a bit in units of the mean of scale * step^2, from 0.
        contexts: What indices cost.
        zeros: Weights that are to stay zero, shape (rows, columns); None for none.

    Example:
        >>> steps, trellis = np.array([0.5, 2.0], np.float32), Trellis(1, by_column=True)
        >>> contexts = Contexts.of(np.zeros((2, 1), np.int32), trellis)
        >>> quantiser = ColumnQuantiser(steps, np.ones((2, 1)), trellis, 0.0, contexts)
        >>> quantiser.store(0, np.array([0.7, 0.7], np.float32)).tolist()
        [0.5, 0.0]
    """

    def __init__(
        self,
        steps: NDArray[np.float32],
        scale: NDArray[np.float64],
        trellis: Trellis,
        trade_off: float,
        contexts: Contexts,
        zeros: NDArray[np.bool_] | None = None,
    ) -> None:
        self._steps, self._scale, self._trellis = steps.astype(np.float64), scale, trellis
        self._zeros = np.zeros(scale.shape, np.bool_) if zeros is None else zeros
        self._multiplier = trade_off * float((scale * (self._steps**2)[:, None]).mean())
        self._contexts = contexts
        self.indices = np.zeros(scale.shape, np.int32)

    def store(self, column: int, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """Quantise a column's targets, shape (rows,), and return what is decoded of them."""
        one = slice(column, column + 1)
        chosen = np.empty((len(targets), 1), np.int32)
        zeros, scale = self._zeros[:, one], self._scale[:, one]
        choose_indices(
            np.where(zeros, np.float32(0), targets[:, None]),
            self._steps,
            np.where(zeros, _FORBIDDING * scale.max(), scale),
            self._multiplier,
            _NO_OFFSETS,
            self._trellis.transitions,
            self._contexts.levels,
            self._contexts.lengths,
            np.ascontiguousarray(self._contexts.classes[:, one]),
            chosen,
        )
        self.indices[:, one] = chosen
        seen = np.empty(chosen.shape, np.float32)
        quantisers = self._trellis.quantiser_of(chosen)
        reconstruct(chosen, quantisers, self._steps, _NO_OFFSETS, seen)
        return seen[:, 0]


def indices_of(
    weights: NDArray[np.float32], steps: NDArray[np.float32], trellis: Trellis
) -> NDArray[np.int32]:
    """Return the indices of weights that were quantised by column.

    Args:
        weights: Reconstructions, shape (rows, columns).
        steps: Step of each row, shape (rows,).
        trellis: The trellis by column that they follow.

    Raises:
        InputError: A weight is none that these steps and this trellis can give.

    Example:
        >>> one = np.array([[1.0], [-0.5]], np.float32)
        >>> indices_of(one, np.ones(2, np.float32), Trellis(4, by_column=True)).tolist()
        [[1], [-1]]
    """
    indices = np.empty(weights.shape, np.int32)
    weights = np.ascontiguousarray(weights, np.float32)
    if not find_indices(weights, steps.astype(np.float64), trellis.transitions, indices):
        raise InputError(
            "a weight is none that the planned steps give; write the network through the "
            "feedback loop, with the calibration that it was planned with"
        )
    return indices
