"""A weight matrix and its curvature, as the feedback loop takes them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from softcell.curvature import LayerCurvature
from softcell.feedback.factor import FeedbackFactor, factorise
from softcell.feedback.loop import StoreColumn, feedback_loop, weighted_error


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
        felt: NDArray[np.float64] = self.importance * np.repeat(
            left, len(self.weights) // len(left)
        )
        return felt

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

    @property
    def relative_pivots(self) -> NDArray[np.float64] | None:
        """What later columns leave of an error in each, over its mean; None in an open loop.

        Shape (groups, columns).
        """
        if self.factor is None:
            return None
        left = np.empty_like(self.factor.pivots)
        left[:, self.factor.order] = self.factor.pivots
        mean = left.mean(axis=1, keepdims=True)
        pivots: NDArray[np.float64] = np.divide(left, mean, out=np.ones_like(left), where=mean > 0)
        return pivots

    def loss(self, seen: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return twice the loss of each row to second order, shape (rows,)."""
        if self.covariance is None:
            error = seen.astype(np.float64) - self.weights
            squares: NDArray[np.float64] = self.importance * np.square(error).sum(axis=1)
            return squares
        return self.importance * weighted_error(self.weights, seen, self.covariance)


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


def second_order(
    curvature: LayerCurvature, weights: NDArray[np.float32], seen: NDArray[np.float32]
) -> float:
    """Return what the loss gains by the error of a matrix, to second order.

    1/2 sum over rows r of  f_r / mean(diag H)  (s - w) H (s - w)^T

    with w the wanted weights, s what the decoder sees of them, H the covariance of the row's group
    and f_r what the loss feels of the row.

    Args:
        curvature: The matrix's, not cut into blocks.
        weights: Wanted weights, shape (rows, columns).
        seen: What the decoder sees, same shape.
    """
    mean = np.einsum("gkk->g", curvature.covariance, dtype=np.float64) / curvature.columns
    mean = np.repeat(mean, len(weights) // curvature.groups)
    felt = np.divide(curvature.rows, mean, out=np.zeros(len(weights)), where=mean > 0)
    return 0.5 * float(felt @ weighted_error(weights, seen, curvature.covariance))
