"""Tables of measurements in text files, with the separators and decimal marks of any program."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from softcell.devices.measurements.numbers import is_number, is_quantity, unit_of
from softcell.devices.measurements.text_file import read_text
from softcell.errors import InputError

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas", " ": "spaces"}
_SAMPLE, _WIDEST = 200, 256
_COMMENT = re.compile(r'\s*"?(//|[%!]|#(?!"?\s*[,;\t|]))')
_SYMBOL = re.compile(r"\w{1,2}|\w+_\w+|\w*[\[(]\S*")
_STATED = re.compile(r'"?sep=(.)"?')
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eEdD][+-]?\d+)?\s*[^\d,.\s]{0,5}")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")

_Row = tuple[int, list[str]]


@dataclass(frozen=True)
class Table:
    """The columns of a text file, by name.

    Args:
        path: The file, for messages.
        columns: Texts of each column, each of length rows.
        lines: Line of the file that each row begins on.
        units: Units of columns that stand in a line of their own below the names.
        decimal: Decimal mark, a point or a comma.
        notes: What had to be found out to read the file.
    """

    path: Path
    columns: Mapping[str, Sequence[str]] = field(repr=False)
    lines: Sequence[int] = field(repr=False)
    units: Mapping[str, str]
    decimal: str = "."
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return list(self.columns)


def read_table(path: Path) -> Table:
    """Return the table of a text file (or one packed by gzip): a line of names, rows below it.

    Separators are semicolons, tabs, bars, commas or spaces. Lines that begin with #, %, ! or //
    are passed over; the last one before the first row may hold the names.

    Raises:
        InputError: There is no such table.
    """
    text, encoding = read_text(path)
    lines = text.split("\n")
    stated = _STATED.fullmatch(lines[0].strip().lower())
    comments = {i: line for i, line in enumerate(lines) if _COMMENT.match(line)}
    kept = ["" if i in comments or (stated and i == 0) else line for i, line in enumerate(lines)]
    separator = stated[1] if stated else _separator([line for line in kept if line.strip()])
    rows = [(line, row) for line, row in _rows(path, kept, separator) if any(row)]
    if rows:
        before = [i for i in comments if i < rows[0][0] - 1]
        names = _commented_names(comments[before[-1]], separator, rows[0][1]) if before else None
        if names:
            rows.insert(0, (before[-1] + 1, names))
    header = _header(path, rows) if rows else []
    if len(rows) < 2:
        raise InputError(f"{path}: expected a header line and measurements below it")
    units = _units(rows)
    decimal = _decimal(path, rows)
    body = rows[2:] if units else rows[1:]
    columns = {
        name: [row[i] for _, row in body] for i, name in enumerate(header) if name is not None
    }
    notes = []
    if encoding in ("Windows-1252", "Latin-1"):
        notes.append(f"{path} is not UTF-8, and is read as {encoding}")
    if separator != "," or decimal == ",":
        marks = " and decimal commas" if decimal == "," else ""
        notes.append(f"{path} is read with {_SEPARATORS.get(separator, separator)}{marks}")
    named = {name: unit for name, unit in zip(header, units) if name and unit}
    return Table(path, columns, [line for line, _ in body], named, decimal, tuple(notes))


def _rows(path: Path, lines: Sequence[str], separator: str) -> Iterator[_Row]:
    if separator == " ":
        yield from ((i + 1, line.split()) for i, line in enumerate(lines))
        return
    reader = csv.reader((line + "\n" for line in lines), delimiter=separator, skipinitialspace=True)
    line = 1
    try:
        for row in reader:
            if reader.line_num > line:  # a text with line breaks in it
                row = [" ".join(text.split()) for text in row]
            yield line, [text.strip() for text in row]
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}, row {reader.line_num}: not a readable CSV file ({error})"
        ) from None


def _separator(lines: Sequence[str]) -> str:
    """Return the first separator that gives most lines the same number of columns."""
    for separator in _SEPARATORS:
        try:
            widths = [len(row) for _, row in _rows(Path(), lines[:_SAMPLE], separator)]
        except InputError:
            continue
        if widths and widths[0] > 1 and 2 * widths.count(widths[0]) > len(widths):
            return separator
    return ","


def _commented_names(line: str, separator: str, first: Sequence[str]) -> list[str] | None:
    """Return the names in a comment above the numbers, as NumPy writes them."""
    if not any(map(is_number, first)):
        return None
    bare = line.strip().strip('"').lstrip("#%!/").strip()
    names = [text.strip() for text in bare.split(separator if separator != " " else None)]
    if len(names) != len(first) and all(map(_SYMBOL.fullmatch, bare.split())):
        names = bare.split()
    apart = len(names) == len(first) and all(names)
    return names if apart and not any(name[0].isdigit() for name in names) else None


def _header(path: Path, rows: list[_Row]) -> list[str | None]:
    """Return the columns' names, None for a column without name and content; trim the rows."""
    line, names = rows[0]
    while len(names) > 1 and not names[-1] and all(not any(r[len(names) - 1 :]) for _, r in rows):
        names.pop()
    if len(names) < 2:
        raise InputError(
            f"{path}: expected at least two columns (input, output) separated by commas, "
            f"semicolons, tabs or spaces, got {len(names)}"
        )
    if len(names) > _WIDEST:
        raise InputError(
            f"{path}: {len(names)} columns; bring a line for each reading: level,reading"
        )
    for number, row in rows:
        while len(row) > len(names) and not row[-1]:
            row.pop()
        if len(row) != len(names):
            raise InputError(
                f"{path}, row {number}: {len(row)} columns, the header has {len(names)}; lines "
                "that are no measurements begin with #, and decimal commas need semicolons or "
                "tabs between columns"
            )
    if sum(map(is_quantity, names)) > 1 or any(map(is_number, names)):
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        raise InputError(
            f"{path}, row {line}: the first line holds numbers ({shown}) where names belong; put "
            "names of the columns above, such as pulse_voltage_V,resistance_ohm, and if these are "
            "levels with a column each, bring a line for each reading: level,reading"
        )
    empty = [not any(row[i] for _, row in rows[1:]) for i in range(len(names))]
    header = [
        name or (None if none else f"unnamed {i + 1}")
        for i, (name, none) in enumerate(zip(names, empty))
    ]
    known = [name for name in header if name is not None]
    twice = sorted({name for name in known if known.count(name) > 1})
    if twice:
        raise InputError(f"{path}: two columns have the same name, {twice[0]!r}; rename one")
    return header


def _units(rows: Sequence[_Row]) -> list[str]:
    """Return the units in a line of their own below the names, else nothing."""
    if len(rows) < 3:
        return []
    texts = [text for text in rows[1][1] if text not in ("", "-")]
    if not texts or not all(unit_of(text) for text in texts):
        return []
    return [unit_of(text) for text in rows[1][1]]


def _decimal(path: Path, rows: Sequence[_Row]) -> str:
    """Return the decimal mark of all numbers.

    Raises:
        InputError: There are two, or a comma may stand for thousands.
    """
    texts = {text for _, row in rows[1:] for text in row if "," in text or "." in text}
    with_comma = {text for text in texts if _COMMA.fullmatch(text)}
    if not with_comma:
        return "."
    with_point = {text for text in texts if "." in text and is_number(text)}

    def first(among: set[str]) -> str:
        line, text = next((line, t) for line, row in rows[1:] for t in row if t in among)
        return f"{text!r} in row {line}"

    if with_point:
        raise InputError(
            f"{path}: {first(with_comma)} has a decimal comma, and {first(with_point)} a point; "
            "write all numbers with points"
        )
    if all(map(_THOUSANDS.fullmatch, with_comma)):
        raise InputError(
            f"{path}: {first(with_comma)} may have a decimal comma or one for thousands; write all "
            "numbers with points"
        )
    return ","
