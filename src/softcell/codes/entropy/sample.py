"""A part of a matrix that stands for all of it, as far as indices and their bits go."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isqrt
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from softcell.streams import Stream

TILE = 1 << 16
"""Weights of a piece that is cut out: wide and high enough for what contexts learn of rows and
columns."""

Number = TypeVar("Number", bound=np.generic)

_LABEL = "sample of a matrix"


@dataclass(frozen=True, eq=False)
class Sample:
    """Places of a matrix: stretches of some of its rows.

    Args:
        rows: Number of each row, shape (height,); a row may come again with other columns.
        first: Its first column, same shape.
        width: Columns of a stretch.
    """

    rows: NDArray[np.int64] = field(repr=False)
    first: NDArray[np.int64] = field(repr=False)
    width: int

    def of(self, matrix: NDArray[Number]) -> NDArray[Number]:
        """Return a matrix's entries at these places, shape (height, width)."""
        part: NDArray[Number] = matrix[
            self.rows[:, None], self.first[:, None] + np.arange(self.width)
        ]
        return part


def sample(weights: NDArray[np.float32], size: int, *, seed: int = 0) -> Sample:
    """Choose about so many weights of a matrix, or all of them if there are no more.

    Pieces of neighbouring columns are cut out all over the matrix. Each has rows of every size:
    rows are sorted by their energy and taken at even distances, from a random place in each
    interval. In a piece they come in their own order.

    Args:
        weights: Shape (rows, columns), neither of them 0.
        size: Number of weights, at least 1.
        seed: Chooses the places.

    Example:
        >>> chosen = sample(np.ones((4096, 4096), np.float32), 1 << 18)
        >>> chosen.of(np.zeros((4096, 4096))).shape
        (1024, 256)
    """
    rows, columns = weights.shape
    if weights.size <= size:
        return Sample(np.arange(rows), np.zeros(rows, np.int64), columns)
    area = min(size, TILE)
    height = min(rows, max(area // min(columns, isqrt(area)), 1))
    width = min(columns, max(area // height, 1))
    height = min(rows, max(area // width, 1))
    pieces = max(size // (height * width), 1)
    stream = Stream.of(seed, _LABEL)
    count = pieces * height
    by_energy = np.argsort(np.einsum("ij,ij->i", weights, weights), kind="stable")
    place = ((np.arange(count) + stream.uniform(count)) * (rows / count)).astype(np.int64)
    chosen = by_energy[np.minimum(place, rows - 1)].reshape(height, pieces)
    start = (np.arange(pieces) + stream.at(count).uniform(pieces)) * (
        (columns - width + 1) / pieces
    )
    first = np.minimum(start.astype(np.int64), columns - width)
    return Sample(np.sort(chosen, axis=0).T.reshape(-1), np.repeat(first, height), width)
