"""The analog code in the feedback loop, a column of the matrix at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel
from softcell.codes.analog.code import AnalogCode, Tables, decode_rows, encode_rows, tables_of
from softcell.codes.row_counts import runs


class AnalogColumns:
    """The analog code: classes are those of the wanted weights, and stay.

    Args:
        code: The tensor's code.
        rows: Wanted weights, shape (rows, columns).
        design: The law at the age that the code is designed for.
    """

    def __init__(self, code: AnalogCode, rows: NDArray[np.float32], design: Channel) -> None:
        self._code, self._design = code, design
        self._classes = code.classes(rows)
        padded = np.concatenate([np.zeros((len(rows), 1), np.int64), code.cells], axis=1)
        self._counts = np.take_along_axis(padded, self._classes.astype(np.int64), axis=1)
        flat = self._counts.reshape(-1)
        self._starts = (np.cumsum(flat) - flat).reshape(rows.shape)
        self._tables: dict[str, Tables] = {}

    def places(self, column: int) -> NDArray[np.int64]:
        """Return the places of a column's cells: a weight's side by side, row after row."""
        return runs(self._starts[:, column], self._counts[:, column])

    def admissible(self, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return targets, shape (rows, columns), no further than their weights' classes go."""
        return self._within(targets, self._classes)

    def encode_column(self, column: int, targets: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the level indices of a column, shape (cells,)."""
        classes = self._classes[:, column : column + 1]
        within = self._within(targets[:, None], classes)
        return encode_rows(within, classes, self._code, self._at(self._design))

    def decode_column(
        self,
        column: int,
        readings: NDArray[np.float32],
        targets: NDArray[np.float32],
        law: Channel,
    ) -> NDArray[np.float32]:
        """Return the weights of a column, shape (rows,), with the signs of their targets."""
        classes = self._classes[:, column : column + 1]
        negative = (targets[:, None] < 0).astype(np.uint8)
        return decode_rows(readings, classes, negative, self._code, self._at(law))[:, 0]

    def _at(self, law: Channel) -> Tables:
        if law.digest not in self._tables:
            self._tables[law.digest] = tables_of(self._code, self._design, law)
        return self._tables[law.digest]

    def _within(
        self, targets: NDArray[np.float32], classes: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        if not self._code.mask:
            return targets
        ends = [np.float32(r.high) for r in self._code.ranges[:-1]]
        # Class 0 is zero itself; a weight beyond an end has the next class.
        low = [0, np.finfo(np.float32).tiny, *(np.nextafter(x, np.float32(np.inf)) for x in ends)]
        high = [0, *ends, np.finfo(np.float32).max]
        least, most = np.array(low, np.float32)[classes], np.array(high, np.float32)[classes]
        held: NDArray[np.float32] = np.copysign(np.clip(np.abs(targets), least, most), targets)
        return held
