"""How an error in one column of a layer is best absorbed by the columns that come after it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.errors import InputError

DAMPING = 0.03
"""Share of the mean curvature that is added to every weight's own."""


@dataclass(frozen=True, eq=False)
class FeedbackFactor:
    """Covariances of a layer, factored for a walk over its columns.

    H + d mean(diag H) I = (I + U) diag(D) (I + U)^T,  U strictly upper triangular,

    in the order of the walk. If the k-th column's target is

    t_k = w_k + sum over j < k of (w_j - s_j) U_jk

    with w_j the weight and s_j what the decoder will see of it, then the weighted error of a row,
    (s - w) H (s - w)^T, is the sum over k of D_k (s_k - t_k)^2: what is left of an error costs D_k,
    and never more than H_kk.

    Args:
        order: Columns in the order in which they are written, shape (columns,).
        coefficients: U in that order, float32, shape (groups, columns, columns).
        pivots: D in that order, float64, shape (groups, columns).

    Source:
        Optimal brain surgeon: Hassibi and Stork, NeurIPS 1992. Column by column for quantisation:
        Frantar et al., "GPTQ", ICLR 2023, arXiv 2210.17323; in this form Chee et al., "QuIP",
        NeurIPS 2023, arXiv 2307.13304, section 3.
    """

    order: NDArray[np.int64] = field(repr=False)
    coefficients: NDArray[np.float32] = field(repr=False)
    pivots: NDArray[np.float64] = field(repr=False)

    @property
    def groups(self) -> int:
        """Number of covariances; rows are divided evenly among them, in their order."""
        return len(self.pivots)

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(self.order)


def factorise(covariance: NDArray[np.floating], *, damping: float = DAMPING) -> FeedbackFactor:
    """Factor the covariances of a layer.

    Columns are written in the order of falling curvature: the loss feels an error in the first of
    them most, and there are most others left to absorb it.

    Args:
        covariance: What the loss feels of errors in two columns, symmetric and positive
            semidefinite, shape (groups, columns, columns).
        damping: Share of the mean diagonal that is added to it, above 0. It stands for what the
            estimate of the covariance does not know, and keeps targets near the weights.

    Returns:
        The factor. A group without any curvature has no feedback.

    Raises:
        InputError: The covariance is not one, or the damping not above 0.

    Example:
        >>> factor = factorise(np.array([[[1.0, 0.5], [0.5, 1.0]]]), damping=1e-6)
        >>> factor.coefficients[0].round(3).tolist(), factor.pivots[0].round(3).tolist()
        ([[0.0, 0.5], [0.0, 0.0]], [0.75, 1.0])
    """
    from scipy.linalg import cholesky

    covariance = np.asarray(covariance)
    if covariance.ndim != 3 or covariance.shape[1] != covariance.shape[2]:
        raise InputError(
            f"expected covariances of shape (groups, columns, columns), got {covariance.shape}"
        )
    if not (np.isfinite(damping) and damping > 0):
        raise InputError(f"damping must be a number above 0, got {damping}")
    if not np.isfinite(covariance).all():
        raise InputError("a covariance holds NaN or infinite values; calibrate again")
    groups, columns, _ = covariance.shape
    order = np.argsort(-np.einsum("gkk->k", covariance), kind="stable")
    coefficients = np.empty((groups, columns, columns), np.float32)
    pivots = np.empty((groups, columns))
    for group in range(groups):
        # Backwards, so that the lower factor of Cholesky is the upper one of the walk.
        matrix = covariance[group][np.ix_(order[::-1], order[::-1])].astype(np.float64)
        mean = float(np.trace(matrix)) / max(columns, 1)
        if mean <= 0:
            coefficients[group], pivots[group] = 0, 0
            continue
        matrix[np.diag_indices(columns)] += damping * mean
        try:
            lower = cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            raise InputError(
                "a covariance is not positive semidefinite; calibrate again, or raise the damping"
            ) from None
        upper = lower[::-1, ::-1]
        root = np.diagonal(upper)
        coefficients[group] = np.triu(upper / root, 1)
        pivots[group] = root**2
    return FeedbackFactor(order, coefficients, pivots)
