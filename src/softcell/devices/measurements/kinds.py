"""What a column of measurements is, by its name and by what stands in it."""

from __future__ import annotations

import re
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from softcell.devices.measurements.numbers import is_quantity, numbers_or_none, split_unit
from softcell.devices.measurements.table import Table


class Kind(StrEnum):
    """What a column is taken for."""

    INPUT = "input"
    READING = "reading"
    TIME = "time"
    DEVICE = "device"
    CYCLE = "cycle"
    READ_NUMBER = "read number"
    COUNTER = "counter"
    TEMPERATURE = "temperature"
    CONSTANT = "constant"
    TEXT = "text"
    UNKNOWN = "unknown"


MEASURED = (Kind.INPUT, Kind.READING, Kind.UNKNOWN)
"""Kinds of columns that may be what was programmed or what was read."""

_FEW = 8
"""Rows below which what stands in a column says nothing of its kind."""


def _words(text: str) -> tuple[str, ...]:
    """Return words of columns' names; those with a star are beginnings."""
    return tuple(text.split())


_VOLTAGE = _words("volt* spannung tension")
_ELECTRICAL = _VOLTAGE + _words(
    "curr* strom resist* widerstand conduct* leitwert impedance admittance"
)
_SYMBOL = re.compile(
    r"[vrg]|[VRGI](?: \w*|[A-Z0-9]{0,6}|(?i:set|reset|read|prog|on|off|out|in|th|cc|[gdsp]{1,2}))"
)
_TIME = _words(
    "t ts dt time* zeit* uhrzeit temps date* datum elapsed delay wait hold age retention* sec "
    "second* minute* hour* day days"
)
_TEMPERATURE = _words("temp temperat* celsius kelvin")
_DEVICE = _words(
    "device* dev cell* zelle* die dies chip* wafer* lot dut bit bits addr* wordline* wl bitline* "
    "bl row col column block page site specimen sample* array memristor* transistor* sn serial "
    "id label name bauteil probe"
)
_CYCLE = _words(
    "cycle* cyc zyklus sweep* loop* run* iter* trial* rep reps repeat* repetition* replicate* "
    "shot* attempt* endurance pass round set"
)
_READ_NUMBER = _words("read reads pulse pulses measurement meas")
_NUMBER = _words("# no nr num number nummer index idx count* unnamed")
_COUNTER = _words("n i j k ind line seq sequence order step* point* pt record entry")
_LEVEL = _words("level* lvl target* input* dac programmed intended nominal state")
_WRITTEN = _words(
    "pulse* width length amplitude duration height write written program* prog pgm set reset gate "
    "applied stimulus compliance cc bias erase forced in"
)
_READ = _words(
    "read* measure* meas output* out response threshold vth vt sense* hrs lrs adc result* final"
)
_PULSES, _SECONDS = ("ps", "ns", "us"), ("s", "ms", "ks", "min", "h", "days")
_DIRECT = _words("width length")


def kind_of(table: Table, name: str) -> Kind:
    """Return what a column is.

    Names decide first: `Time (s)`, `Device`, `cycle`, `read` (of whole numbers), `#`. What has
    no telling name is a counter if it rises from row to row, and constant if it never changes.
    """
    values = numbers_or_none(table, name)
    kind = _by_name(table, name, values)
    if values is None:
        texts = 2 * sum(map(is_quantity, table.columns[name])) < len(table.lines)
        return Kind.TEXT if texts and kind in MEASURED else kind
    if kind not in MEASURED or len(values) < _FEW:
        return kind
    if (values == values[0]).all():
        return Kind.CONSTANT
    rising = (np.diff(values) > 0).all() if kind is Kind.UNKNOWN else _evenly_rising(values)
    return Kind.COUNTER if rising else kind


def _by_name(table: Table, name: str, values: NDArray[np.float64] | None) -> Kind:
    words, unit = split_unit(name)
    unit = table.units.get(name) or unit
    tokens = _tokens(words)
    symbol = _SYMBOL.fullmatch(words) is not None
    if symbol or unit.endswith(("V", "A", "S", "ohm")) or _has(tokens, _ELECTRICAL):
        return _measured(words, unit, tokens, symbol)
    if words == "T" or unit in ("K", "C", "°C") or _has(tokens, _TEMPERATURE):
        return Kind.TEMPERATURE
    lasts = "duration" in tokens and unit not in _PULSES
    if not _has(tokens, _DIRECT) and (_has(tokens, _TIME) or unit in _SECONDS or lasts):
        return Kind.TIME
    if _has(tokens, _LEVEL):
        return Kind.INPUT
    if values is None or _whole(values):
        counted = _counted(tokens, unit, values)
        if counted is not None:
            return counted
    return _measured(words, unit, tokens, symbol)


def _counted(tokens: list[str], unit: str, values: NDArray[np.float64] | None) -> Kind | None:
    """Return the kind of a column of texts or whole numbers, None if it does not count."""
    if _has(tokens, _DEVICE):
        counts = tokens[0] in ("row", "id", "sample")
        return Kind.COUNTER if counts and _evenly_rising(values) else Kind.DEVICE
    if _has(tokens, _CYCLE):
        return Kind.CYCLE
    if values is None or unit or _has(tokens, _DIRECT):
        return None
    known = values[np.isfinite(values)]
    dense = 2 * len(np.unique(known)) > known.max() - known.min()
    if dense and _has(tokens, _READ_NUMBER):
        return Kind.READ_NUMBER
    return Kind.COUNTER if _has(tokens, _NUMBER) or (dense and _has(tokens, _COUNTER)) else None


def _measured(words: str, unit: str, tokens: list[str], symbol: bool) -> Kind:
    for known, kind in ((_LEVEL, Kind.INPUT), (_READ, Kind.READING), (_WRITTEN, Kind.INPUT)):
        if _has(tokens, known):
            return kind
    if unit.endswith("V") or _has(tokens, _VOLTAGE) or unit in _PULSES:
        return Kind.INPUT
    if unit.endswith(("A", "S", "ohm")) or _has(tokens, _ELECTRICAL):
        return Kind.READING
    if symbol:
        return Kind.INPUT if words[0] in "vV" else Kind.READING
    return Kind.UNKNOWN


def _tokens(words: str) -> list[str]:
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words)
    return [token.lower() for token in re.findall(r"[^\W\d_]+|#", split)]


def _has(tokens: list[str], known: tuple[str, ...]) -> bool:
    return any(
        token.startswith(word[:-1]) if word.endswith("*") else token == word
        for token in tokens
        for word in known
    )


def _whole(values: NDArray[np.float64]) -> bool:
    known = values[np.isfinite(values)]
    return bool(len(known) and (known == np.round(known)).all())


def _evenly_rising(values: NDArray[np.float64] | None) -> bool:
    if values is None or len(values) < _FEW or not np.isfinite(values).all():
        return False
    steps = np.diff(values)
    return bool(steps[0] > 0 and np.allclose(steps, steps[0], rtol=1e-3, atol=0))
