"""Numbers and units as laboratory programs write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softcell.errors import InputError

if TYPE_CHECKING:
    from softcell.devices.measurements.table import Table

_DIGITS = r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eEdD][+-]?\d+)?"
_NUMBER = re.compile(_DIGITS)
_QUANTITY = re.compile(rf"({_DIGITS})\s*(meg|Meg|MEG|[fpnumkKMGT])?\s*(V|A|S|s|ohm)?")
_PREFIXES = {
    **dict(zip("fpnum", (1e-15, 1e-12, 1e-9, 1e-6, 1e-3))),
    **dict(zip("kKMGT", (1e3, 1e3, 1e6, 1e9, 1e12))),
    **dict.fromkeys(("meg", "Meg", "MEG"), 1e6),
}
_UNIT = r"[fpnumkMGT]?(?:V|A|S|ohm|s)|min|h|days|%|°C|a\.u\."
_NAMED = re.compile(
    rf"(.+?)(?:(?:[_ ]+(?:in[_ ])?|[_ ]*/[_ ]*)({_UNIT})"
    rf"|[_ ]*\[\s*({_UNIT}|C|K)\s*\]|[_ ]*\(\s*({_UNIT}|C|K)\s*\))"
)
_OHM = re.compile(r"(?i)ohms?\b")
_SYMBOLS = {"V": "V", "R": "ohm", "I": "A", "G": "S"}
_MISSING = (
    "|-|--|---|?|***|na|n/a|nan|null|none|nil|#n/a|#num!|#div/0!|#value!|#ref!|1.#qnan|-1.#ind"
    "|err|error|fail|failed|missing|invalid"
)
_OVERFLOW = (
    "inf|+inf|-inf|infinity|+infinity|-infinity|1.#inf|-1.#inf|ovld|overld|overload|overflow|over"
    "|ovfl|ovf|ol|o.l|o.l.|0l|>max|out of range|saturated|clipped"
)
_MARKS = dict.fromkeys(_MISSING.split("|"), np.nan) | dict.fromkeys(_OVERFLOW.split("|"), np.inf)


def column_numbers(table: Table, name: str) -> tuple[NDArray[np.float64], str, str]:
    """Return a column's numbers, shape (rows,), its unit, and the SI prefixes that were read.

    NaN stands where a mark of a missing number is (nothing, NA, --), infinity where one of an
    overflow is (OVLD, OL, inf). `1.2k` and `3 uS` are read with their prefixes.

    Raises:
        InputError: A text is no number.
    """
    texts = table.columns[name]
    unit = table.units.get(name) or split_unit(name)[1]
    values, units, prefixes = _parsed(texts, table.decimal)
    bad = next((i for i, value in enumerate(values) if value is None), None)
    if bad is not None:
        raise InputError(
            f"{table.path}, row {table.lines[bad]}: column {name!r} holds {texts[bad]!r}; "
            "expected a number"
        )
    if len(units) > 1 or (units and unit and unit not in units):
        told = ", ".join(sorted(units | ({unit} if unit else set())))
        raise InputError(f"{table.path}: column {name!r} holds several units: {told}")
    if prefixes and unit and unit not in ("V", "A", "S", "s", "ohm"):
        first = next(i for i, text in enumerate(texts) if _suffixed(text))
        raise InputError(
            f"{table.path}, row {table.lines[first]}: column {name!r} is in {unit} and holds "
            f"{texts[first]!r}; write all numbers without a prefix"
        )
    return np.array(values, np.float64), unit or next(iter(units), ""), " ".join(sorted(prefixes))


def numbers_or_none(table: Table, name: str) -> NDArray[np.float64] | None:
    """Return a column's numbers, NaN where there is none, shape (rows,); None for other texts."""
    values = _parsed(table.columns[name], table.decimal)[0]
    return None if None in values else np.array(values, np.float64)


def mark_of(text: str) -> float | None:
    """Return what a mark in a number's place stands for: NaN where one is missing, or infinity.

    Example:
        >>> mark_of("OVLD"), mark_of("n/a"), mark_of("12")
        (inf, nan, None)
    """
    return _MARKS.get(text.strip().lower())


def is_number(text: str) -> bool:
    """Say whether a text is one plain number, with a decimal point or comma."""
    return _NUMBER.fullmatch(text) is not None


def is_quantity(text: str) -> bool:
    """Say whether a text is a number, perhaps with an SI prefix and a unit."""
    return _QUANTITY.fullmatch(_ascii(text)) is not None


def unit_of(text: str) -> str:
    """Return a unit without its brackets, in ASCII; nothing if the text is no unit."""
    bare = _ascii(text.strip()).strip("[]()<> ")
    return bare if re.fullmatch(rf"{_UNIT}|C|K|#", bare) else ""


def split_unit(column: str) -> tuple[str, str]:
    """Split a column's name into words and a unit.

    Example:
        >>> split_unit("pulse_voltage_V"), split_unit("Time (s)")
        (('pulse voltage', 'V'), ('Time', 's'))
    """
    match = _NAMED.fullmatch(_ascii(column))
    if match is None:
        return column.replace("_", " ").strip(), ""
    words = match[1].replace("_", " ").strip()
    unit = match[2] or match[3] or match[4]
    if match[2] and not unit.endswith(_SYMBOLS.get(words.upper(), unit)):
        return column.replace("_", " ").strip(), ""  # V_s: a subscript
    return words, unit


def _ascii(text: str) -> str:
    if not text.isascii():
        for sign, plain in (("\u00b5", "u"), ("\u03bc", "u"), ("\u2212", "-"), ("\u2126", "ohm")):
            text = text.replace(sign, plain)
        text = text.replace("\u03a9", "ohm")
    return _OHM.sub("ohm", text) if "h" in text or "H" in text else text


def _parsed(texts: Sequence[str], decimal: str) -> tuple[list[float | None], set[str], set[str]]:
    units: set[str] = set()
    prefixes: set[str] = set()

    def value(text: str) -> float | None:
        if "_" not in text and (decimal == "." or "." not in text):
            try:
                return float(text.replace(decimal, "."))
            except ValueError:
                pass
        if (mark := mark_of(text)) is not None:
            return mark
        match = _QUANTITY.fullmatch(_ascii(text))
        if match is None or ("." if decimal == "," else ",") in text:
            return None
        digits, prefix, unit = match.groups()
        if unit:
            units.add(unit)
        if prefix:
            prefixes.add(prefix)
        number = digits.replace(",", ".").replace("d", "e").replace("D", "e")
        return float(number) * _PREFIXES.get(prefix, 1.0)

    return [value(text) for text in texts], units, prefixes


def _suffixed(text: str) -> bool:
    match = _QUANTITY.fullmatch(_ascii(text))
    return match is not None and match[2] is not None
