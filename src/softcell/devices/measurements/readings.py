"""Which readings are readings of a cell, and whether their logarithm is to be fitted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softcell.devices.measurements.table import Table
from softcell.errors import InputError

_OVERFLOW = 9e36
"""Readings from here on are overflow values: 9.9e37, 9.91e37, 1e38 and the largest of float32."""

_FAR = 10.0
_SIGNED, _NEAR_ZERO = 0.1, 1.7
_FEW, _TAIL = 8, 20
"""Of as many readings one may lie anywhere at either end."""

_MOST, _MOST_AT_AN_INPUT = 0.1, 0.25
_AT_THE_LIMIT, _FILLS = 0.05, 3
_NINES = re.compile(r"-?(9{3,}(\.9*0*)?|9\.9{2,}0*e[+-]?\d+)")
_ZERO = re.compile(r"-?0*\.?0*(e[+-]?\d+)?")

_Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class Readings:
    """Readings that can be fitted.

    Args:
        values: Readings on the axis that is fitted, shape (rows,); those that are set aside are
            NaN.
        kept: Rows that are fitted, same shape.
        log10: Whether the values are decimal logarithms.
        notes: What was set aside, and what is odd.
    """

    values: NDArray[np.float64]
    kept: _Rows
    log10: bool
    notes: tuple[str, ...]


def usable_readings(
    table: Table,
    column: str,
    readings: NDArray[np.float64],
    place: NDArray[np.int64],
    inputs: NDArray[np.float64],
    log10: bool | None,
    *,
    resistance: bool,
) -> Readings:
    """Set aside what is no reading of a cell, and decide on the axis by the rest.

    Missing readings, infinities, overflow values of instruments, readings that are not positive
    where their logarithm is taken, and equal readings far from all others at their inputs.

    Args:
        table: The table, for messages.
        column: Name of the readings' column.
        readings: Readings, NaN where one is missing, shape (rows,).
        place: Level of each row, same shape.
        inputs: Input of each level, for messages, shape (levels,).
        log10: Take the decimal logarithm; None to decide.
        resistance: Whether the readings are resistances, whose logarithm is taken by default.

    Raises:
        InputError: More is to be set aside than can be without changing what is measured.
    """
    aside: list[tuple[_Rows, str]] = [
        (np.isnan(readings), "missing"),
        (np.abs(readings) >= _OVERFLOW, "overflow values of the instrument"),
    ]
    kept = ~(aside[0][0] | aside[1][0])
    if not kept.any():
        raise InputError(f"{table.path}: column {column!r} holds no finite reading")
    notes = []
    positive = kept & (readings > 0)
    forced = log10 is not None
    if log10 is None:
        log10 = _logarithmic(readings, kept, positive, place, resistance)
    if log10:
        aside.append((kept & ~positive, "zero or negative, which have no logarithm"))
        kept = positive
    values = np.full(len(readings), np.nan)
    values[kept] = np.log10(readings[kept]) if log10 else readings[kept]
    far = _far(values, kept, place)
    equal = kept & _sentinels(table.columns[column], readings, far, place)
    if forced and not log10:
        equal &= readings != 0
    aside.append((equal, "a value that comes again, or zero or nines, far from all others"))
    kept = kept & ~equal
    values[equal] = np.nan
    _require_few(table, column, aside, kept, place, inputs)
    for rows, reason in aside:
        if rows.any():
            notes.append(
                f"{column}: {rows.sum()} of {len(readings)} readings set aside, {reason} "
                f"({_shown(table, column, rows)})"
            )
    signed = int((readings[kept] <= 0).sum())
    if not (log10 or forced) and 0 < 4 * signed < len(readings):
        notes.append(
            f"{column}: {signed} of {len(readings)} readings are zero or "
            "negative, and the readings are fitted themselves, not their logarithms (--log10 sets "
            "those aside)"
        )
    notes += _odd(table, column, values, kept, far & kept)
    return Readings(values, kept, bool(log10), tuple(notes))


def _logarithmic(
    readings: NDArray[np.float64],
    kept: _Rows,
    positive: _Rows,
    place: NDArray[np.int64],
    resistance: bool,
) -> bool:
    """Decide by the bulk of the readings whether they are fitted as logarithms."""
    if not positive.any():
        return False
    bulk = np.sort(readings[positive])
    tail = max(len(bulk) // _TAIL, int(len(bulk) > _FEW))
    bulk = bulk[tail : len(bulk) - tail]
    middle = _medians(readings, positive, place)
    wide = bulk[-1] > 10 * bulk[0] or np.nanmax(middle) > 10 * np.nanmin(middle)
    if positive[kept].all():
        return bool(wide or resistance)
    if resistance or _signed(readings, kept, positive, place):
        return resistance
    logarithms = np.log10(np.where(positive, readings, 1.0))
    return bool(wide) and _unevenness(logarithms, positive, place) < _unevenness(
        readings, kept, place
    )


def _signed(
    readings: NDArray[np.float64], kept: _Rows, positive: _Rows, place: NDArray[np.int64]
) -> bool:
    """Say whether readings that are not positive belong to the noise around a level near zero."""
    rows = np.bincount(place[kept], minlength=int(place.max()) + 1)
    others = np.bincount(place[kept & ~positive], minlength=len(rows))
    negative = np.bincount(place[kept & (readings < 0)], minlength=len(rows)) > 0
    middle, spread = _bulk(readings, positive, place)
    near = np.where(rows - others < 3, negative, middle < _NEAR_ZERO * spread)
    many = (others > _SIGNED * rows) & ((others > 1) | (rows < _FEW))
    return bool((near & many).any())


def _unevenness(values: NDArray[np.float64], kept: _Rows, place: NDArray[np.int64]) -> float:
    """Return how much the levels' spreads differ: the standard deviation of their logarithms."""
    _, spread = _bulk(values, kept, place)
    spread = spread[spread > 0]
    return float(np.log(spread).std()) if len(spread) else np.inf


def _bulk(
    values: NDArray[np.float64], kept: _Rows, place: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the median of each level and its scaled median deviation, NaN where there is none."""
    middle = _medians(values, kept, place)
    return middle, 1.4826 * _medians(np.abs(values - middle[place]), kept, place)


def _medians(
    values: NDArray[np.float64], kept: _Rows, place: NDArray[np.int64]
) -> NDArray[np.float64]:
    rows = np.flatnonzero(kept)
    rows = rows[np.lexsort((values[rows], place[rows]))]
    levels = int(place.max()) + 1
    count = np.bincount(place[rows], minlength=levels)
    first = np.cumsum(count) - count
    medians = np.full(levels, np.nan)
    some = count > 0
    low, high = first + (count - 1) // 2, first + count // 2
    medians[some] = (values[rows[low[some]]] + values[rows[high[some]]]) / 2
    return medians


def _far(values: NDArray[np.float64], kept: _Rows, place: NDArray[np.int64]) -> _Rows:
    """Return rows that lie far from most others at their level."""
    middle, spread = _bulk(values, kept, place)
    distance = np.abs(values - middle[place])
    steps = np.diff(np.unique(values[kept]))
    resolution = steps.min() if len(steps) else 0.0
    some = distance[kept & (distance > 0)]
    common = 1.4826 * np.median(some) if len(some) else 0.0
    few = np.bincount(place[kept], minlength=len(spread)) < _FEW
    spread = np.where(few, np.fmax(spread, common), np.fmax(spread, np.nanmedian(spread) / 4))
    far: _Rows = kept & (distance > _FAR * np.maximum(spread[place], resolution))
    return far


def _sentinels(
    texts: Sequence[str], readings: NDArray[np.float64], far: _Rows, place: NDArray[np.int64]
) -> _Rows:
    """Return readings that are marks of an instrument.

    Equal ones that are all far from the others, zeros that are far, and all that are the same
    number of nines, if one of them is far or they are all that was read at an input.
    """
    _, first, same, count = np.unique(
        readings, return_index=True, return_inverse=True, return_counts=True
    )
    of_value = np.bincount(same, far)
    found: _Rows = ((count > 1) & (of_value == count))[same]
    rows = np.bincount(place)
    for k in np.flatnonzero((of_value > 0) | (count >= _FILLS)):
        text = texts[int(first[k])].lower().lstrip("+")
        if _ZERO.fullmatch(text):
            found |= far & (same == k)
        elif _NINES.fullmatch(text):
            fills = np.bincount(place[same == k], minlength=len(rows)) == rows
            if of_value[k] or (fills.any() and not fills.all()):
                found |= same == k
    return found


def _require_few(
    table: Table,
    column: str,
    aside: Sequence[tuple[_Rows, str]],
    kept: _Rows,
    place: NDArray[np.int64],
    inputs: NDArray[np.float64],
) -> None:
    """Refuse where what is set aside would change what was measured.

    Missing readings, the first of `aside`, are counted at each input only.
    """
    gone = np.bincount(place[~kept], minlength=len(inputs))
    rows = np.bincount(place, minlength=len(inputs))
    share = np.where((gone > 1) | (rows - gone < 2), gone / rows, 0.0)
    worst = int(np.argmax(share))
    at_one = share[worst] > _MOST_AT_AN_INPUT
    marked = int((~kept & ~aside[0][0]).sum())
    if not at_one and marked <= max(1, _MOST * len(kept)):
        return
    reasons = "; ".join(
        f"{rows.sum()} {reason} ({_shown(table, column, rows)})"
        for rows, reason in aside
        if rows.any()
    )
    where = f", {gone[worst]} of them at input {inputs[worst]:g}" if at_one else ""
    linear = " or --linear" if any("logarithm" in reason and r.any() for r, reason in aside) else ""
    raise InputError(
        f"{table.path}: {(~kept).sum()} of {len(kept)} readings in {column!r} cannot be fitted"
        f"{where}: {reasons}; too many to set aside, leave out those rows or inputs, or name "
        f"another column with --output-column{linear}"
    )


def _odd(
    table: Table, column: str, values: NDArray[np.float64], kept: _Rows, far: _Rows
) -> list[str]:
    notes = []
    if far.any():
        notes.append(
            f"{column}: {far.sum()} of {len(kept)} readings lie {_FAR:g} and more deviations "
            f"from the others at their inputs and are fitted as they are "
            f"({_shown(table, column, far)})"
        )
    distinct, count = np.unique(values[kept], return_counts=True)
    limit = max(8.0, _AT_THE_LIMIT * kept.sum())
    for end, which in ((-1, "largest"), (0, "smallest")):
        if len(distinct) > 2 and count[end] >= limit and 4 * count[1:-1].max() <= count[end]:
            rows = kept & (values == distinct[end])
            notes.append(
                f"{column}: {count[end]} readings are the {which} value exactly, "
                f"{table.columns[column][int(np.flatnonzero(rows)[0])]}: perhaps a limit of the "
                "instrument, and no reading of the cell"
            )
    return notes


def _shown(table: Table, column: str, rows: _Rows) -> str:
    first = int(np.flatnonzero(rows)[0])
    text = table.columns[column][first]
    shown = f"{text!r:.40}" if text else "nothing"
    more = ", the first" if rows.sum() > 1 else ""
    return f"{shown} in row {table.lines[first]}{more}"
