"""Matrices as whole numbers and steps, without loss; and rounding to eight bits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from softcell.allocate import Plan
from softcell.codes.entropy.code import EntropyCode
from softcell.errors import InputError
from softcell.weights.finite import as_rows

State = Mapping[str, NDArray[np.float32]]
"""Tensors of a network by name."""

_LAST = 127
"""Largest index of eight bits."""

_LEAST = np.float32(1e-30)
"""Rows that do not reach above are zero: products with their steps would not be exact."""

_DROPPED_BITS = np.uint32(0xFF)
"""Bits of a number that a step of eight-bit weights does without: 16 stay."""


def entropy_codes(plan: Plan) -> dict[str, tuple[EntropyCode, int]]:
    """Return the entropy code of every matrix of a plan that has one, and the matrix's rows."""
    return {
        tensor.info.name: (tensor.code, tensor.info.shape[0])
        for tensor in plan.tensors
        if isinstance(tensor.code, EntropyCode)
    }


def eight_bits(state: State) -> dict[str, NDArray[np.float32]]:
    """Return a network whose matrices have at most 255 levels in each row.

    w <- s round(w / s),  s = max|row| / 127 with 16 significant bits

    The bits make every product exact in float32, so that what was rounded is not changed again.
    Rows of which no weight is above 1e-30 become zero; vectors stay as they are.

    Args:
        state: Tensors, float32 and finite; matrices have two and more dimensions.

    Example:
        >>> eight_bits({"w": np.array([[1.27, 0.0149]], np.float32)})["w"].round(3).tolist()
        [[1.2699999809265137, 0.009999999776482582]]
    """
    rounded = {}
    for name, values in state.items():
        rounded[name] = np.array(values)
        if values.ndim > 1 and values.size:
            rows = as_rows(values)
            steps = eight_bit_steps(rows)
            rounded[name] = of_steps(_indices(rows, steps), steps).reshape(values.shape)
    return rounded


def eight_bit_steps(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the steps of `eight_bits`; of rows that were rounded by it, those of then.

    Args:
        rows: A matrix, shape (rows, columns).

    Returns:
        Shape (rows,); 0 for rows that are taken for zero.
    """
    largest = np.abs(rows).max(axis=1, initial=0)
    steps = (largest / np.float32(_LAST)).view(np.uint32) & ~_DROPPED_BITS
    return np.where(largest > _LEAST, steps.view(np.float32), np.float32(0))


def on_steps(
    rows: NDArray[np.float32], candidates: Sequence[NDArray[np.float32]], name: str
) -> tuple[NDArray[np.generic], NDArray[np.float32]]:
    """Return a matrix as indices and steps, such that `of_steps` gives the very weights back.

    Args:
        rows: The matrix, shape (rows, columns).
        candidates: Steps of every row, shape (rows,) each; the first that fit are taken.
        name: Its name, for the error.

    Returns:
        Indices, int8 or int16, shape (rows, columns); and the steps, shape (rows,), or (1,) if
        all are alike.

    Raises:
        InputError: None fit.
    """
    for steps in candidates:
        indices = _indices(rows, steps)
        largest = np.abs(indices).max(initial=0)
        if largest > np.iinfo(np.int16).max or (of_steps(indices, steps) != rows).any():
            continue
        alike = steps.size > 0 and (steps == steps[0]).all()
        kept = np.array(steps[:1] if alike else steps, np.float32)
        return indices.astype(np.int8 if largest <= _LAST else np.int16), kept
    raise InputError(
        f"the weights of {name!r} are on no steps, neither those of its code nor of eight bits; "
        "round them first with `eight_bits`"
    )


def of_steps(indices: NDArray[np.generic], steps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the weights: index * step of the row, in float32.

    Args:
        indices: Whole numbers, shape (rows, columns).
        steps: Shape (rows,), or (1,).
    """
    return indices.astype(np.float32) * steps[:, None]


def _indices(rows: NDArray[np.float32], steps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the whole numbers of steps that are next to weights; of a step of zero none."""
    scaled = np.zeros_like(rows)
    by_row = steps[:, None]
    np.divide(rows, by_row, out=scaled, where=by_row > 0)
    return np.rint(scaled) + np.float32(0)
