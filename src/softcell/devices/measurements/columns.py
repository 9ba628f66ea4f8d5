"""Which column is what was programmed, which what was read, and which name the cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from softcell.devices.measurements.kinds import MEASURED, Kind, kind_of
from softcell.devices.measurements.table import Table
from softcell.errors import InputError


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are taken for.

    Args:
        input: Column of the programmed quantity.
        reading: Column of the reading.
        device: Columns that together name the physical cell.
        others: The other columns, which the fit does not use, and what they seem to be.
    """

    input: str
    reading: str
    device: tuple[str, ...] = ()
    others: tuple[tuple[str, Kind], ...] = ()

    def __str__(self) -> str:
        device = f", device {' and '.join(self.device)}" if self.device else ""
        others = "; not used: " + _listed(self.others) if self.others else ""
        return f"input {self.input}, reading {self.reading}{device}{others}"


def choose_columns(
    table: Table,
    *,
    input_column: str | None = None,
    output_column: str | None = None,
    device_column: str | None = None,
) -> Columns:
    """Find out which columns are input, reading and device.

    Columns that name time, cells, cycles, reads, temperatures or rows are neither input nor
    reading. Of the others one must be the input and one the reading, by name or because there is
    no third; of two without telling names the first is the input.

    Args:
        table: The table.
        input_column: Column of the programmed quantity, where it is known.
        output_column: Column of the reading, where it is known.
        device_column: Column that names the physical cell, where it is known.

    Raises:
        InputError: A named column is missing, or the names and contents do not decide.
    """
    named = [name for name in (input_column, output_column, device_column) if name is not None]
    for name in named:
        if name not in table.columns:
            raise InputError(f"{table.path}: no column {name!r}; it has {', '.join(table.names)}")
    if len(set(named)) < len(named):
        raise InputError(f"{table.path}: one column cannot be two of input, output and device")
    kinds = {name: kind_of(table, name) for name in table.names if name not in named}
    pool = [name for name, kind in kinds.items() if kind in MEASURED]
    if input_column is None and output_column is None and len(pool) == 2:
        input_column, output_column = _ordered(table, kinds, pool)
    told = input_column is not None or output_column is not None
    if output_column is None:
        output_column = _only(table, kinds, pool, Kind.READING, told)
        pool.remove(output_column)
    if input_column is None:
        input_column = _only(table, kinds, pool, Kind.INPUT, told)
    taken = (input_column, output_column)
    devices = tuple(
        name for name, kind in kinds.items() if kind is Kind.DEVICE and name not in taken
    )
    device = (device_column,) if device_column is not None else devices
    others = tuple(each for each in kinds.items() if each[0] not in (*taken, *device))
    return Columns(input_column, output_column, device, others)


def _only(table: Table, kinds: dict[str, Kind], pool: Sequence[str], kind: Kind, told: bool) -> str:
    """Return the one column of a kind, or the only one that may be of it."""
    named = [name for name in pool if kinds[name] is kind]
    possible = [name for name in pool if told or kinds[name] is Kind.UNKNOWN]
    for found in (named, possible):
        if len(found) == 1:
            return found[0]
        if found:
            break
    alike = _alike(list(kinds))
    if alike:
        shown = ", ".join(alike[:4]) + (", ..." if len(alike) > 4 else "")
        raise InputError(
            f"{table.path}: {shown} look like one "
            "quantity with a column for each level, cell or read; bring the table with a line for "
            "each reading (columns such as level,device,reading), or name one with --output-column"
        )
    option = "--input-column" if kind is Kind.INPUT else "--output-column"
    quantity = "was programmed (the input)" if kind is Kind.INPUT else "was read"
    if len(named or possible) > 1:
        raise InputError(
            f"{table.path}: cannot tell which column {quantity}: "
            f"{' or '.join(named or possible)}; "
            f"name it with {option} (columns: {_listed(kinds.items())})"
        )
    raise InputError(
        f"{table.path}: no column looks like what {quantity}: {_listed(kinds.items())}; if one of "
        f"them is, name it with {option}"
    )


def _ordered(table: Table, kinds: dict[str, Kind], pool: Sequence[str]) -> tuple[str, str]:
    """Return input and reading of two columns: in their order, unless names say otherwise."""
    first, second = pool
    distinct = [len(set(table.columns[name])) for name in pool]
    repeats = (2 * distinct[0] <= distinct[1]) - (2 * distinct[1] <= distinct[0])
    if kinds[second] is Kind.INPUT and kinds[first] is not Kind.INPUT:
        if distinct[1] <= distinct[0]:
            return second, first
    elif repeats >= 0 or kinds[first] is Kind.INPUT:
        return first, second
    elif kinds[first] is Kind.READING and kinds[second] is Kind.UNKNOWN:
        return second, first
    raise InputError(
        f"{table.path}: cannot tell which of {first} and {second} was programmed and which was "
        "read; name them with --input-column and --output-column"
    )


def _alike(pool: Sequence[str]) -> list[str]:
    """Return columns whose names differ only in their numbers, if there are several."""
    stems = [re.sub(r"\d+([.,]\d+)?", "#", name) for name in pool]
    return [
        name for name, stem in zip(pool, stems) if stems.count(stem) > 1 and re.search(r"\d", name)
    ]


def _listed(columns: Iterable[tuple[str, Kind]]) -> str:
    told = [name if kind in MEASURED else f"{name} ({kind})" for name, kind in columns]
    return ", ".join(told)
