"""The one mechanism of feedback: store a column, see what the decoder will see, carry it on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from softcell.compiled import compiled
from softcell.errors import InputError
from softcell.feedback.factor import FeedbackFactor

BLOCK = 64
"""Columns after which the error is carried into all that are left."""

StoreColumn = Callable[[int, NDArray[np.float32]], NDArray[np.float32]]
"""Stores the targets of a column, given its number, and returns what the decoder will see of them;
both of shape (rows,)."""


def feedback_loop(
    weights: NDArray[np.float32],
    factor: FeedbackFactor,
    store: StoreColumn,
    *,
    block: int = BLOCK,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Store a layer column by column, each absorbing the error of those before it.

    Quantisation, programming noise and stuck cells are one thing here: `store` returns the weights
    as they will be decoded, and what they differ by from what was wanted goes into the targets of
    later columns.

    Args:
        weights: Wanted weights, finite, shape (rows, columns).
        factor: The layer's factor.
        store: Stores a column.
        block: Columns at a time. The result does not depend on it, only the speed.

    Returns:
        Targets and what the decoder sees, each of shape (rows, columns).

    Raises:
        InputError: Shapes do not fit, or the decoder would see a number that is not finite.

    Example:
        >>> from softcell.feedback.factor import factorise
        >>> together = factorise(np.ones((1, 2, 2)), damping=1e-6)
        >>> weights = np.array([[0.4, 0.4]], np.float32)
        >>> feedback_loop(weights, together, lambda column, targets: np.rint(targets))[1].tolist()
        [[0.0, 1.0]]
    """
    weights = np.ascontiguousarray(weights, np.float32)
    if weights.ndim != 2 or weights.shape[1] != factor.columns:
        raise InputError(f"weights of shape {weights.shape} have not {factor.columns} columns")
    rows, columns = weights.shape
    if rows % factor.groups:
        raise InputError(f"{rows} rows cannot be divided among {factor.groups} covariances")
    if block < 1:
        raise InputError(f"expected a block of at least 1 column, got {block}")
    targets = np.ascontiguousarray(weights[:, factor.order])
    wanted = targets.copy()
    seen = np.empty_like(targets)
    errors = np.empty_like(targets)
    for start in range(0, columns, block):
        stop = min(start + block, columns)
        for k in range(start, stop):
            back = store(int(factor.order[k]), targets[:, k].copy())
            if not np.isfinite(back).all():
                raise InputError("a stored weight reads back as NaN or infinite; check the device")
            seen[:, k] = back
            errors[:, k] = wanted[:, k] - seen[:, k]
            _absorb(targets, errors, factor.coefficients, k, k + 1, k + 1, stop)
        _absorb(targets, errors, factor.coefficients, start, stop, stop, columns)
    inverse = np.argsort(factor.order)
    return targets[:, inverse], seen[:, inverse]


def weighted_error(
    weights: NDArray[np.float32], seen: NDArray[np.float32], covariance: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return (s - w) H (s - w)^T for each row, shape (rows,).

    Args:
        weights: Wanted weights w, shape (rows, columns).
        seen: What the decoder sees, s, same shape.
        covariance: H, shape (groups, columns, columns).
    """
    error = (seen - weights).astype(np.float64).reshape(len(covariance), -1, weights.shape[1])
    loss: NDArray[np.float64] = np.einsum(
        "grk,gkl,grl->gr", error, covariance, error, optimize=True
    )
    return loss.reshape(-1)


@compiled()
def _absorb(targets, errors, coefficients, first, last, begin, end):
    """Add to columns begin to end what columns first to last leave to them.

    Every target takes its additions in the order of the columns, whatever the blocks are.
    """
    per_group = targets.shape[0] // coefficients.shape[0]
    for row in range(targets.shape[0]):
        group = row // per_group
        for k in range(first, last):
            error = errors[row, k]
            for j in range(begin, end):
                targets[row, j] += error * coefficients[group, k, j]
