"""Rows of a table by the level that was programmed and the cell that was read."""

from __future__ import annotations

from itertools import compress

import numpy as np
from numpy.typing import NDArray

from softcell.devices.measurements.columns import Columns
from softcell.devices.measurements.levels import grouped_inputs
from softcell.devices.measurements.readings import Readings
from softcell.devices.measurements.table import Table
from softcell.errors import InputError


def measured_levels(
    table: Table, columns: Columns, inputs: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[str]]:
    """Return the levels, the level of each row, and a note if inputs had to be grouped."""
    wrong = np.flatnonzero(~(np.abs(inputs) < 1e36))
    if len(wrong):
        text = table.columns[columns.input][wrong[0]]
        raise InputError(
            f"{table.path}, row {table.lines[wrong[0]]}: column {columns.input!r} holds {text!r}; "
            "every row needs the input that was programmed, leave the row out or correct it"
        )
    at, place, width = grouped_inputs(inputs)
    if len(at) < 2:
        raise InputError(
            f"{table.path}: measurements at {len(at)} input; expected at least two inputs (taken: "
            f"{columns})"
        )
    rows = np.bincount(place)
    if rows.min() < 2:
        lone = int(np.argmin(rows))
        other = "; if that column is not the input, name it with --input-column"
        raise InputError(
            f"{table.path}: input {at[lone]:g} has 1 rows; every input needs at least two"
            + (other if 2 * (rows < 2).sum() > len(at) else "")
        )
    given = len(np.unique(inputs))
    if given == len(at):
        return at, place, []
    note = f"{columns.input}: {given} inputs that differ by at most {width:.3g} within a level are"
    return at, place, [f"{note} taken for {len(at)} levels"]


def cell_labels(table: Table, columns: Columns, readings: Readings) -> list[str] | None:
    """Return the name of each fitted row's cell."""
    if not columns.device:
        return None
    for name in columns.device:
        if "" in table.columns[name]:
            line = table.lines[table.columns[name].index("")]
            raise InputError(
                f"{table.path}, row {line}: nothing in column {name!r}, which names the cell; "
                "name it, or leave the row out"
            )
    rows = zip(*(table.columns[name] for name in columns.device))
    return [" / ".join(row) for row in compress(rows, readings.kept)]
