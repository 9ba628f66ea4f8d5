"""Weights that are lost where code words failed, and what stands there in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.codes.code import two_readings


@dataclass(frozen=True)
class LostWeights:
    """Weights of one tensor that could not be decoded.

    Args:
        tensor: Name of the tensor.
        weights: Number of its weights.
        runs: Runs of lost ones, from and to, in the order of the tensor's elements.
    """

    tensor: str
    weights: int
    runs: tuple[tuple[int, int], ...]

    @property
    def lost(self) -> int:
        """Number of lost weights."""
        return sum(stop - start for start, stop in self.runs)


def lost_weights(tensor: str, lost: NDArray[np.bool_]) -> LostWeights:
    """Return which weights of a tensor are lost.

    Example:
        >>> lost_weights("a", np.array([[True, True], [False, True]])).runs
        ((0, 2), (3, 4))
    """
    edges = np.flatnonzero(np.diff(lost.reshape(-1), prepend=False, append=False)).reshape(-1, 2)
    return LostWeights(tensor, lost.size, tuple((int(a), int(b)) for a, b in edges))


def numbers_left(
    data: NDArray[np.uint8],
    lost: Iterable[tuple[int, int]],
    decode: Callable[[NDArray[np.uint8]], NDArray[Any]],
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return a tensor of numbers of fixed length, and which of them hang on bytes that are lost."""
    one, other = (decode(each) for each in two_readings(data, lost))
    return one, ~(one == other)


def fill(values: NDArray[Any], lost: NDArray[np.bool_], rows: int) -> None:
    """Put the mean of what is left of its row where a weight is lost, or that of the tensor.

    What is no weight takes 0.

    Args:
        values: Values of any shape and type; altered.
        lost: Which are lost, same shape.
        rows: Rows of the tensor.
    """
    if values.dtype.kind != "f":
        values[lost] = 0
        return
    matrix, gone = values.reshape(rows, -1), lost.reshape(rows, -1)
    left = ~gone
    count = left.sum(axis=1)
    total = np.where(left, matrix, 0).sum(axis=1, dtype=np.float64)
    mean = total.sum() / max(int(count.sum()), 1)
    by_row = np.divide(total, count, out=np.full(rows, mean), where=count > 0)
    for row in np.flatnonzero(count < matrix.shape[1]):
        matrix[row, gone[row]] = by_row[row]
