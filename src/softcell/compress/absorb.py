"""Leave out weights and let those that stay absorb the error, by the curvature of each layer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.compress.matrices import fisher_of, weight_matrices
from softcell.compress.prune import least, saliency
from softcell.curvature import Calibration, LayerCurvature
from softcell.errors import InputError
from softcell.feedback.factor import FeedbackFactor, factorise
from softcell.feedback.loop import StoreColumn, feedback_loop

_WALKS = 2
"""Walks over each layer: the first finds what weights become before it is decided which go."""


def prune_absorbing(
    state: Mapping[str, NDArray[Any]],
    fraction: float,
    calibration: Calibration,
    *,
    fisher: Mapping[str, NDArray[np.floating]] | None = None,
    exponent: float = 0.5,
    keep: Collection[str] = (),
) -> dict[str, NDArray[Any]]:
    """Prune a network's matrices through the feedback loop: the weights that stay make up for it.

    Column by column, in the order of the layer's factor (see `FeedbackFactor`), weights are set to
    zero, and what that changes goes into the columns still to come. Where weight k of row r goes,
    F_r D_k t_k^2 / 2 nats are lost to second order, with D_k the pivot of its column (what later
    columns leave of a squared error, relative to the mean curvature of the row), F_r the mean
    Fisher information of the row, and t_k the weight with what earlier columns have left to it.
    Those go, by one threshold for all matrices, whose

    saliency = (F_r D_k)^a t_k^2

    is least; t_k is the weight at first, and then what a first walk has made of it. Removing many
    weights is no small change, and the second order says too little of some layers, too much of
    others: a = 1 follows it, a = 0 goes by size alone, and the default lies between.

    A matrix whose curvature is not known has its own Fisher information for F_r D_k, and
    nothing absorbs its errors.

    Args:
        state: Tensors by name.
        fraction: Part to remove of the weights of all matrices but those to keep, from 0 to
            below 1.
        calibration: Curvature of the layers of this very network.
        fisher: Diagonal Fisher information of every matrix that is not kept; by default that of
            the calibration, which one of the kind `inputs` lacks.
        exponent: a, from 0 (by magnitude, which takes no Fisher information) to 1.
        keep: Names of tensors to leave as they are.

    Returns:
        Tensors by name; those that change are copies. Weights that are zero already stay so, so
        that the number of zeros is exact, unless there were more of them before.

    Raises:
        InputError: As for `prune_saliency`, or the calibration is for another network.

    Source:
        Hassibi and Stork, "Second order derivatives for network pruning: optimal brain surgeon",
        NeurIPS 1992; column by column: Frantar and Alistarh, "SparseGPT", ICML 2023, arXiv
        2301.00774, section 3.

    Example:
        >>> together = np.array([[[1.0, 0.9], [0.9, 1.0]]], np.float32)
        >>> layer = LayerCurvature(together, np.ones(1, np.float32))
        >>> known = Calibration({"w": layer}, {}, 1, "fisher", {"w": np.ones((1, 2), np.float32)})
        >>> prune_absorbing({"w": np.array([[0.5, 1.0]])}, 0.5, known)["w"].round(2).tolist()
        [[0.0, 1.44]]
    """
    if not 0 <= exponent <= 1:
        raise InputError(f"the exponent of the curvature must lie in [0, 1], got {exponent}")
    calibration.require_network({name: values.shape for name, values in state.items()})
    matrices = weight_matrices(state, keep)
    felt = {name: np.ones(values.shape) for name, values in matrices.items()}
    if exponent:
        felt = fisher_of(matrices, calibration.fisher if fisher is None else fisher)
    layers = {
        name: LoopLayer.of(weights, calibration.layers[name])
        for name, weights in matrices.items()
        if name in calibration.layers
    }
    left = {n: layers[n].left(felt[n]) if n in layers else felt[n] for n in matrices}
    targets, pruned = dict(matrices), dict(matrices)
    for _ in range(_WALKS):
        saliencies = {n: saliency(targets[n], left[n] ** exponent) for n in matrices}
        for name, gone in least(saliencies, fraction).items():
            if name in layers:
                targets[name], pruned[name] = layers[name].without(gone)
            else:
                pruned[name] = np.where(gone, 0, matrices[name])
    return {**state, **{n: values.astype(state[n].dtype) for n, values in pruned.items()}}


@dataclass(frozen=True, eq=False)
class LoopLayer:
    """A matrix as the feedback loop walks over it.

    Args:
        shape: Shape of the tensor.
        curvature: Its curvature; across outputs where their own weights are too few.
        weights: The tensor in the curvature's matrix view, float32, shape (rows, columns).
        factor: The covariance, factored.
    """

    shape: tuple[int, ...]
    curvature: LayerCurvature
    weights: NDArray[np.float32] = field(repr=False)
    factor: FeedbackFactor = field(repr=False)

    @classmethod
    def of(cls, weights: NDArray[Any], curvature: LayerCurvature) -> LoopLayer:
        """Return a tensor with its curvature."""
        curvature = curvature.across or curvature
        matrix = np.ascontiguousarray(curvature.matrix(weights), np.float32)
        return cls(weights.shape, curvature, matrix, factorise(curvature.covariance))

    def left(self, felt: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the loss feels of a squared error of each weight once later columns have
        absorbed their part: the mean Fisher information of its row times the pivot of its column,
        relative to the covariance's mean diagonal.

        Args:
            felt: Fisher information of each weight, of the tensor's shape, and so is the result.
        """
        pivots = np.empty_like(self.factor.pivots)
        pivots[:, self.factor.order] = self.factor.pivots
        mean = np.einsum("gkk->g", self.curvature.covariance, dtype=np.float64)[:, None]
        mean /= self.factor.columns
        relative = np.divide(pivots, mean, out=np.zeros_like(pivots), where=mean > 0)
        rows = np.asarray(self.curvature.matrix(felt), np.float64).mean(axis=1, keepdims=True)
        by_weight = rows * np.repeat(relative, len(rows) // len(relative), axis=0)
        return np.asarray(self.curvature.tensor(by_weight, self.shape))

    def without(self, gone: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Leave some weights out, and let the others absorb what they can.

        Returns:
            What each weight was to become when its column's turn came, and what it is; both of the
            tensor's shape. Weights that were zero are zero in both.
        """
        empty = self.weights == 0
        zero = np.asarray(self.curvature.matrix(gone), bool) | empty
        targets, seen = feedback_loop(self.weights, self.factor, _leaving_out(zero))
        targets[empty] = 0
        return self._tensor(targets), self._tensor(seen)

    def nearest(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Give each weight the nearest of some values when its column's turn comes.

        Args:
            values: In rising order.

        Returns:
            The weights, of the tensor's shape; those that were zero are zero.
        """
        empty = self.weights == 0
        book = values.astype(np.float32)
        borders = (book[:-1] + book[1:]) / 2

        def store(column: int, targets: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.where(empty[:, column], 0, book[np.searchsorted(borders, targets)])

        return self._tensor(feedback_loop(self.weights, self.factor, store)[1])

    def _tensor(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self.curvature.tensor(matrix, self.shape), np.float32)


def _leaving_out(zero: NDArray[np.bool_]) -> StoreColumn:
    """Return how the loop stores a column without the weights that are to be zero."""

    def store(column: int, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        targets[zero[:, column]] = 0
        return targets

    return store
