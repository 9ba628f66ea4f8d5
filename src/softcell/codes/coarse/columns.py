"""Fine cells of coarse-to-fine maps in the feedback loop, a column of the matrix at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel, Law
from softcell.codes.coarse import design as maps
from softcell.codes.store.store import Store

if TYPE_CHECKING:
    from softcell.codes.coarse.code import CoarseCode


class CoarseColumns:
    """Coarse-to-fine maps: the fine cells, after robust ones that are taken to be read rightly.

    Args:
        code: The tensor's code.
        columns: Weights of a row.
        law: The law that its maps are designed for.
        store: Digital store whose levels the robust cells have.
    """

    def __init__(self, code: CoarseCode, columns: int, law: Law, store: Store) -> None:
        self._code, self._law = code, law
        first = code.coarse_cells(columns, store)
        self._starts = first + np.arange(len(code.bits), dtype=np.int64) * columns
        self._rows = {int(b): np.flatnonzero(code.bits == b) for b in np.unique(code.bits)}
        self._tables: dict[tuple[int, str], NDArray[np.float32]] = {}

    def places(self, column: int) -> NDArray[np.int64]:
        """Return the places of a column's fine cells."""
        return self._starts + column

    def encode_column(self, column: int, targets: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the level indices of a column's fine cells."""
        return self._encoded(targets)[1]

    def decode_column(
        self,
        column: int,
        readings: NDArray[np.float32],
        targets: NDArray[np.float32],
        law: Channel,
    ) -> NDArray[np.float32]:
        """Return the weights of a column, shape (rows,), in the parts of their targets."""
        parts, place = self._encoded(targets)[0], law.bins(readings)
        out = np.empty(len(targets), np.float32)
        for bits, rows in self._rows.items():
            key = (bits, law.digest)
            if key not in self._tables:
                design = maps.design_map(self._law, self._code.shape, bits)
                self._tables[key] = maps.estimates(design, law)
            out[rows] = self._tables[key][parts[rows], place[rows]] * self._code.deviation
        return out

    def admissible(self, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the targets: these codes take any."""
        return targets

    def _encoded(self, targets: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        parts, levels = np.empty(len(targets), np.uint8), np.empty(len(targets), np.uint8)
        for bits, rows in self._rows.items():
            design = maps.design_map(self._law, self._code.shape, bits)
            part, level = np.empty(len(rows), np.uint8), np.empty(len(rows), np.uint8)
            values = np.ascontiguousarray(targets[rows])
            form = self._code.deviation, design.reach, design.parts, design.levels
            maps.encode(values, *form, part, level)
            parts[rows], levels[rows] = part, level
        return parts, levels
