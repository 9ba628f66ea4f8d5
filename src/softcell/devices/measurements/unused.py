"""Columns that a fit does not use, and that the readings depend on nevertheless."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.devices.measurements.columns import Columns
from softcell.devices.measurements.kinds import Kind
from softcell.devices.measurements.statistics import explained, numbered
from softcell.devices.measurements.table import Table

_FELT, _BY_CHANCE = 0.05, 1e-4
_BINS = 8


def felt_columns(
    table: Table,
    columns: Columns,
    values: NDArray[np.float64],
    group: NDArray[np.int64],
    kept: NDArray[np.bool_],
) -> list[str]:
    """Tell of columns that are not used, but change the readings of a cell at an input.

    Args:
        table: The table.
        columns: What its columns are taken for.
        values: Readings on the axis that is fitted, shape (fitted rows,).
        group: Pair of cell and level of each, same shape.
        kept: Which of the table's rows are fitted, shape (rows,).
    """
    mean = np.bincount(group, values) / np.maximum(np.bincount(group), 1)
    rest = values - mean[group]
    notes = []
    for name, kind in columns.others:
        if kind in (Kind.READING, Kind.CONSTANT):
            continue
        _, by = numbered(table.columns[name])
        if 2 * by.max() > len(by):  # a value of its own in most rows: early and late ones
            by = np.arange(len(by)) * _BINS // len(by)
        share, chance = explained(rest, by[kept])
        if share > _FELT and chance < _BY_CHANCE:
            notes.append(
                f"{name} ({kind}) is not used, but {share:.0%} of the variance at an input goes "
                f"with it and counts as noise; keep the rows of one {name}, or name what it is "
                "(--input-column, --device-column)"
            )
    return notes
