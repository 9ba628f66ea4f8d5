"""The codes that store cells row after row, a column of the matrix at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.plan import Plan, TensorPlan
from softcell.channel import READINGS, Channel, Law, channel_of, law_of
from softcell.codes.analog.code import AnalogCode, Tables, decode_rows, encode_rows, tables_of
from softcell.codes.coarse import design as maps
from softcell.codes.coarse.code import CoarseCode
from softcell.codes.joint.code import JointCode, encode_joint, joint_tables
from softcell.codes.joint.design import TABLE_BINS
from softcell.codes.packed.code import PackedCode, PackedCodec
from softcell.codes.store.hard_store import DigitalStore
from softcell.errors import InputError
from softcell.feedback.memory import ColumnCodec


def column_codec(tensor: TensorPlan, rows: NDArray[np.float32], plan: Plan) -> ColumnCodec:
    """Return how the columns of a planned tensor become levels.

    Args:
        tensor: The tensor's plan.
        rows: Its weights, shape (rows, columns).
        plan: The plan of the network.

    Raises:
        InputError: The code cannot be written column by column.
    """
    law, code = law_of(plan.device, plan.ages), tensor.code
    if isinstance(code, PackedCode) and isinstance(plan.store, DigitalStore):
        return PackedCodec(code, law, plan.store)
    if isinstance(code, AnalogCode):
        return AnalogColumns(code, rows, channel_of(plan.device, plan.age_seconds))
    if isinstance(code, CoarseCode) and isinstance(plan.store, DigitalStore):
        return CoarseColumns(code, rows.shape[1], law, plan.store)
    if isinstance(code, JointCode):
        return JointColumns(code, rows.shape[1], law)
    raise InputError(
        f"scheme {plan.scheme!r} is not written column by column; use packed, coarse-to-fine, "
        "joint-map, strong-digital or a scheme of the analog code"
    )


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
        return _runs(self._starts[:, column], self._counts[:, column])

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
        return np.copysign(np.clip(np.abs(targets), least, most), targets)


class CoarseColumns:
    """Coarse-to-fine maps: the fine cells, after robust ones that are taken to be read rightly.

    Args:
        code: The tensor's code.
        columns: Weights of a row.
        law: The law that its maps are designed for.
        store: Digital store whose levels the robust cells have.
    """

    def __init__(self, code: CoarseCode, columns: int, law: Law, store: DigitalStore) -> None:
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

    def _encoded(self, targets: NDArray[np.float32]) -> tuple[NDArray, NDArray]:
        parts, levels = np.empty(len(targets), np.uint8), np.empty(len(targets), np.uint8)
        for bits, rows in self._rows.items():
            design = maps.design_map(self._law, self._code.shape, bits)
            part, level = np.empty(len(rows), np.uint8), np.empty(len(rows), np.uint8)
            values = np.ascontiguousarray(targets[rows])
            form = self._code.deviation, design.reach, design.parts, design.levels
            maps.encode(values, *form, part, level)
            parts[rows], levels[rows] = part, level
        return parts, levels


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
        return _runs(self._starts + column * self._counts, self._counts)

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


def _runs(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers start, start + 1, ... of each run, one run after the other."""
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(starts, counts) + within
