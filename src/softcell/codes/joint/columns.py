"""Joint maps in the feedback loop, a column of the matrix at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.channel import READINGS, Channel, Law
from softcell.codes.joint.code import JointCode, encode_joint, joint_tables
from softcell.codes.joint.design import TABLE_BINS
from softcell.codes.row_counts import runs


class JointColumns:
    """Joint maps: one cell or two for each weight.

    Args:
        code: The tensor's code.
        columns: Weights of a row.
        law: The law that its maps are designed for.
    """

    def __init__(self, code: JointCode, columns: int, law: Law) -> None:
        self._code, self._law = code, law
        self._starts = code.row_starts(columns)[:-1]
        self._counts = code.cells.astype(np.int64)
        self._within = np.cumsum(self._counts) - self._counts
        self._tables: dict[str, dict[int, NDArray[np.float32]]] = {}

    def places(self, column: int) -> NDArray[np.int64]:
        """Return the places of a column's cells, a weight's side by side."""
        return runs(self._starts + column * self._counts, self._counts)

    def encode_column(self, column: int, targets: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the level indices of a column, shape (cells,)."""
        return encode_joint(targets[:, None], self._code, self._law)

    def decode_column(
        self,
        column: int,
        readings: NDArray[np.float32],
        targets: NDArray[np.float32],
        law: Channel,
    ) -> NDArray[np.float32]:
        """Return the weights of a column, shape (rows,)."""
        if law.digest not in self._tables:
            self._tables[law.digest] = joint_tables(self._code, self._law, law)
        place, out = law.bins(readings), np.empty(len(targets), np.float32)
        for count, table in self._tables[law.digest].items():
            rows = np.flatnonzero(self._counts == count)
            first = place[self._within[rows]]
            if count == 1:
                out[rows] = table[0, first]
            else:
                width = READINGS // TABLE_BINS
                out[rows] = table[first // width, place[self._within[rows] + 1] // width]
        return out * np.float32(self._code.deviation)

    def admissible(self, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the targets: these codes take any."""
        return targets
