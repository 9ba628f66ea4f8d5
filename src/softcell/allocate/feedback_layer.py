"""A weight matrix and its curvature, as the feedback loop takes them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.survey import TensorSurvey, as_rows, finite_weights
from softcell.codes.entropy.code import EntropyCode
from softcell.codes.entropy.column_quantise import ColumnQuantiser, Contexts
from softcell.codes.entropy.trellis import Trellis
from softcell.curvature import Calibration, LayerCurvature
from softcell.feedback.factor import FeedbackFactor, factorise
from softcell.feedback.loop import StoreColumn, feedback_loop, weighted_error
from softcell.weights import Weights

_PASSES = 2
"""Times that a matrix is quantised: the first learns what indices cost where."""


@dataclass(frozen=True, eq=False)
class FeedbackLayer:
    """One weight matrix in the loop, or in none if its curvature is not known.

    Args:
        name: Name of its tensor.
        weights: The tensor's rows, float32, shape (rows, columns).
        importance: Twice the nats that a row loses for each unit of its squared error, weighted by
            the covariance where there is one; shape (rows,).
        covariance: Curvature of a row, shape (groups, columns, columns), up to a factor of each
            group; or None for an open loop, where errors are taken as independent.
        factor: The covariance, factored; None for an open loop.
    """

    name: str
    weights: NDArray[np.float32] = field(repr=False)
    importance: NDArray[np.float64] = field(repr=False)
    covariance: NDArray[np.float32] | None = field(default=None, repr=False)
    factor: FeedbackFactor | None = field(default=None, repr=False)

    @property
    def felt(self) -> NDArray[np.float64]:
        """What the loss feels of a squared error in each row, shape (rows,), on average over its
        columns: of what later columns leave of it.
        """
        if self.factor is None:
            return self.importance
        left = self.factor.pivots.mean(axis=1)
        return self.importance * np.repeat(left, len(self.weights) // len(left))

    @property
    def groups(self) -> int:
        """Number of covariances among which the rows are divided; 1 in an open loop."""
        return 1 if self.factor is None else self.factor.groups

    def repeated(self, copies: int) -> FeedbackLayer:
        """Return copies of a layer of one group below each other."""
        weights = np.tile(self.weights, (copies, 1))
        return replace(self, weights=weights, importance=np.tile(self.importance, copies))

    def store(self, store: StoreColumn) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Store the matrix column by column; return targets and what the decoder sees."""
        if self.factor is not None:
            return feedback_loop(self.weights, self.factor, store)
        seen = np.empty_like(self.weights)
        for column in range(self.weights.shape[1]):
            seen[:, column] = store(column, self.weights[:, column].copy())
        return self.weights, seen

    def quantised(self, code: EntropyCode) -> NDArray[np.float32]:
        """Return what is decoded of the matrix, quantised in the loop.

        Two passes: the first learns in which contexts indices fall and what they cost there.
        Weights that are zero stay zero: they have been pruned.

        Args:
            code: A code by column.
        """
        steps = code.row_steps(len(self.weights))
        nearest = np.rint(self.weights / steps[:, None]).astype(np.int32)
        contexts = Contexts.of(nearest, Trellis())
        if code.states > 1:
            contexts = contexts.for_both_quantisers()
        seen = self.weights
        for _ in range(_PASSES if code.trade_off else 1):
            quantiser = ColumnQuantiser(
                steps,
                self._scale(steps),
                code.trellis,
                code.trade_off or 0.0,
                contexts,
                self.weights == 0,
            )
            seen = self.store(quantiser.store)[1]
            contexts = Contexts.of(quantiser.indices, code.trellis)
        return seen

    def _scale(self, steps: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the weight of a squared error in each weight, shape (rows, columns).

        Of columns that is what later ones leave of it; of rows, what their steps say.
        """
        by_row = steps.astype(np.float64)[:, None] ** -2
        if self.factor is None:
            return np.repeat(by_row, self.weights.shape[1], axis=1)
        left = np.empty_like(self.factor.pivots)
        left[:, self.factor.order] = self.factor.pivots
        mean = left.mean(axis=1, keepdims=True)
        left = np.divide(left, mean, out=np.ones_like(left), where=mean > 0)
        return by_row * np.repeat(left, len(self.weights) // len(left), axis=0)

    def loss(self, seen: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return twice the loss of each row to second order, shape (rows,)."""
        if self.covariance is None:
            error = seen.astype(np.float64) - self.weights
            return self.importance * np.square(error).sum(axis=1)
        return self.importance * weighted_error(self.weights, seen, self.covariance)


def feedback_layer(
    weights: Weights, tensor: TensorSurvey, calibration: Calibration | None
) -> FeedbackLayer:
    """Return a tensor as the loop takes it.

    Args:
        weights: The network's tensors.
        tensor: What is known of the tensor.
        calibration: Holds the curvature of tensors. One that is not there, or whose curvature is
            cut into blocks because it is so wide, is stored in an open loop.
    """
    name = tensor.info.name
    rows = as_rows(finite_weights(weights, name))
    curvature = None if calibration is None else calibration.layers.get(name)
    if calibration is None or curvature is None or curvature.rows.size != len(rows):
        return FeedbackLayer(name, rows, tensor.importance)
    # Second moments of inputs say nothing of one layer's weight against another's.
    felt = curvature.rows.astype(np.float64) if calibration.kind == "fisher" else tensor.importance
    return in_loop(name, rows, curvature, felt)


def in_loop(
    name: str,
    rows: NDArray[np.float32],
    curvature: LayerCurvature | None,
    felt: NDArray[np.float64] | None = None,
) -> FeedbackLayer:
    """Return a matrix with its curvature as the loop takes it.

    Args:
        name: Name of its tensor.
        rows: Its weights, shape (rows, columns).
        curvature: Its curvature; None, or one that is cut into blocks, for an open loop.
        felt: What the loss feels of an error in a weight of each row, shape (rows,); by default the
            curvature's.
    """
    if curvature is None or curvature.rows.size != len(rows):
        return FeedbackLayer(name, rows, np.ones(len(rows)) if felt is None else felt)
    felt = curvature.rows.astype(np.float64) if felt is None else felt
    mean = np.einsum("gkk->g", curvature.covariance, dtype=np.float64) / curvature.columns
    mean = np.repeat(mean, len(rows) // curvature.groups)
    importance = np.divide(felt, mean, out=np.zeros(len(rows)), where=mean > 0)
    # The covariance as it is, so that the plan sees what will be written, to the bit.
    factor = factorise(curvature.covariance)
    return FeedbackLayer(name, rows, importance, curvature.covariance, factor)
