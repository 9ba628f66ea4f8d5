"""Make a device of a user's own measurements: a table of inputs and outputs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softcell.devices.device import Axis
from softcell.devices.fitted_noise import with_law
from softcell.devices.measured import MeasuredCell
from softcell.devices.measurements import (
    Columns,
    Evidence,
    Samples,
    Statistics,
    Table,
    cell_labels,
    choose_columns,
    column_numbers,
    explained,
    felt_columns,
    measured_levels,
    read_table,
    separation,
    split_unit,
    statistics,
    usable_readings,
)
from softcell.errors import InputError

CONFIDENCE = 0.98
"""That the noise of an input is no larger than a fitted law has it."""

_CHANCE, _CHANCE_OF_FEW = 0.01, 0.2
_FEW = 10
"""Rows beyond one for each input below which no more than `_CHANCE_OF_FEW` can be asked for."""

_LEAST_SEPARATION = 0.75
"""In standard deviations; two levels as far apart tell 0.1 bits."""

_LIMIT = 8
"""Equal readings at several inputs that are no chance of a coarse converter."""


@dataclass(frozen=True)
class Fit:
    """A device, and how a file was taken for its measurements.

    Args:
        device: The fitted device.
        columns: What the columns were taken for.
        rows: Rows of measurements in the file.
        set_aside: Of those, rows that were not fitted.
        notes: What a user should know of the file, a line each.
        evidence: How the law of noise fits the readings; None if none was fitted.
        likeliest: The device whose noise is as likely larger as smaller.
        folds: Likewise, fitted to four fifths of the readings each, where there are enough.
        residuals: What readings differ from the mean of their cell, in units of the deviation of
            their input: an array of shape (readings,) for each input.
    """

    device: MeasuredCell
    columns: Columns
    rows: int
    set_aside: int
    notes: tuple[str, ...]
    evidence: Evidence | None
    likeliest: MeasuredCell
    folds: tuple[MeasuredCell, ...]
    residuals: tuple[NDArray[np.float64], ...]


def fit_measurements(
    path: Path | str,
    *,
    name: str | None = None,
    source: str | None = None,
    input_column: str | None = None,
    output_column: str | None = None,
    device_column: str | None = None,
    log10: bool | None = None,
    read_noise: float | None = None,
    law: str = "best",
    confidence: float = CONFIDENCE,
) -> MeasuredCell:
    """Return the device of `fit_table`; what that has to note is warned of.

    Args:
        path: As for `fit_table`, and so are all other arguments.
        name: Name of the device.
        source: Where the measurements come from.
        input_column: Column of the programmed quantity.
        output_column: Column of the reading.
        device_column: Column that names the physical device.
        log10: Fit the decimal logarithm of the reading.
        read_noise: Standard deviation of reading alone, on the fitted axis.
        law: Law of the noise.
        confidence: That the noise is no larger.

    Raises:
        InputError: As for `fit_table`.
    """
    fit = fit_table(
        path,
        name=name,
        source=source,
        input_column=input_column,
        output_column=output_column,
        device_column=device_column,
        log10=log10,
        read_noise=read_noise,
        law=law,
        confidence=confidence,
    )
    for note in fit.notes:
        warnings.warn(note, stacklevel=2)
    return fit.device


def fit_table(
    path: Path | str,
    *,
    name: str | None = None,
    source: str | None = None,
    input_column: str | None = None,
    output_column: str | None = None,
    device_column: str | None = None,
    log10: bool | None = None,
    read_noise: float | None = None,
    law: str = "best",
    confidence: float = CONFIDENCE,
) -> Fit:
    """Fit distributions of the readings at each input, within cells, and normal ones between them.

    Where few readings were taken, their mean and deviation are uncertain, and the law is wider for
    it: that of one more reading, given these and those of the neighbouring inputs.

    Args:
        path: Text file with a line of names and one for each write and read, as CSV (perhaps
            packed by gzip) or with semicolons, tabs or spaces between columns.
        name: Name of the device; by default the file's name.
        source: Where the measurements come from; by default the file's name.
        input_column: Column of the programmed quantity; by default the one that looks like it.
        output_column: Column of the reading; by default the one that looks like it.
        device_column: Column that names the physical device; by default those that look like it.
        log10: Fit the decimal logarithm of the reading; by default for a resistance, and for
            readings of which the bulk is positive and spans more than a decade.
        read_noise: Standard deviation of reading alone, on the fitted axis. By default the
            smallest standard deviation of any input: read noise cannot be larger.
        law: "normal", "outliers" (normal, with a share of wider ones), "student" or "empirical"
            (smoothed); "best" is one that explains readings it did not see as well as any;
            "plain" is normal, with mean and deviation taken as exact.
        confidence: Of each input's deviation, that it is no larger than the law has it: from 0.5,
            the likeliest, up to 0.9999. Codes are designed for the upper end of what the readings
            allow.

    Returns:
        The fitted device, what the columns were taken for, and what was set aside.

    Raises:
        InputError: The file is missing or no table, its columns cannot be told apart, it holds
            text where numbers belong, has fewer than two inputs, an input with fewer than two
            rows, inputs that differ between devices, more readings that are none than can be set
            aside, or readings that do not depend on the input.
    """
    path = Path(path)
    table = read_table(path)
    columns = choose_columns(
        table,
        input_column=input_column,
        output_column=output_column,
        device_column=device_column,
    )
    inputs, level_unit, level_prefixes = column_numbers(table, columns.input)
    raw, reading_unit, reading_prefixes = column_numbers(table, columns.reading)
    at, place, grouped = measured_levels(table, columns, inputs)
    resistance = reading_unit.endswith("ohm") or "resist" in columns.reading.lower()
    readings = usable_readings(table, columns.reading, raw, place, at, log10, resistance=resistance)
    values, place = readings.values[readings.kept], place[readings.kept]
    found = statistics(values, place, at, cell_labels(table, columns, readings), str(path))
    found, resolved = _resolved(table, columns, found, at, np.bincount(place))
    noise = float(found.deviation.min()) if read_noise is None else read_noise
    device = MeasuredCell(
        label=name or path.name.split(".")[0],
        origin=source or f"measurements in {path.name}",
        level=Axis(split_unit(columns.input)[0], level_unit, float(at[0]), float(at[-1])),
        reading=Axis(
            split_unit(columns.reading)[0],
            reading_unit,
            scale="log10" if readings.log10 else "linear",
        ),
        inputs=at,
        mean=found.mean,
        deviation=found.deviation,
        device_spread=found.spread,
        read_noise=noise,
    )
    _require_law(table, columns, device, values, place, readings.notes)
    samples = Samples(values, place, found.group, len(at))
    device, evidence, likeliest, parts = with_law(device, samples, law, confidence)
    prefixes = " ".join(each for each in (level_prefixes, reading_prefixes) if each)
    notes = [
        *table.notes,
        *([f"SI prefixes are read: {prefixes}"] if prefixes else []),
        *grouped,
        *readings.notes,
        *resolved,
        *_pooled(columns, found),
        *felt_columns(table, columns, values, found.group, readings.kept),
    ]
    centres = np.bincount(found.group, values) / np.bincount(found.group)
    residuals = (values - centres[found.group]) / found.deviation[place]
    return Fit(
        device,
        columns,
        len(raw),
        int((~readings.kept).sum()),
        tuple(notes),
        evidence,
        likeliest,
        parts,
        tuple(residuals[place == k] for k in range(len(at))),
    )


def _resolved(
    table: Table,
    columns: Columns,
    found: Statistics,
    at: NDArray[np.float64],
    rows: NDArray[np.int64],
) -> tuple[Statistics, list[str]]:
    """Give inputs at which nothing but one value was read the smallest deviation of the others.

    Raises:
        InputError: There are no others, or the same value was read at several inputs.
    """
    tiny = 1e-9 * np.abs(found.mean).max()
    silent = found.deviation <= tiny
    if not silent.any():
        return found, []
    first = f"{silent.sum()} of {len(at)} inputs (the first at {at[int(np.argmax(silent))]:g})"
    if silent.all():
        raise InputError(
            f"{table.path}: all readings at the same input are equal, so that nothing is known of "
            f"the noise; measure every input several times, with a finer resolution (taken: "
            f"{columns})"
        )
    for end in (found.mean.min(), found.mean.max()):
        same = silent & (np.abs(found.mean - end) <= tiny)
        if same.sum() > 1 and rows[same].sum() >= _LIMIT:
            raise InputError(
                f"{table.path}: nothing but the same {columns.reading} was read at {same.sum()} of "
                f"{len(at)} inputs, which is a limit of the instrument; leave those inputs out "
                f"(taken: {columns})"
            )
    least = found.deviation[~silent].min()
    note = (
        f"{columns.reading}: all readings of one cell are equal at {first}; their noise is taken "
        "to be the smallest of the other inputs"
    )
    return replace(found, deviation=np.where(silent, least, found.deviation)), [note]


def _require_law(
    table: Table,
    columns: Columns,
    device: MeasuredCell,
    values: NDArray[np.float64],
    place: NDArray[np.int64],
    notes: tuple[str, ...],
) -> None:
    """Refuse a device whose readings tell nothing of what was programmed."""
    _, chance = explained(values, place)
    total = np.hypot(np.maximum(device.deviation, device.read_noise), device.device_spread)
    few = len(values) - len(device.inputs) < _FEW
    if (
        chance <= (_CHANCE_OF_FEW if few else _CHANCE)
        and separation(device.mean, total) >= _LEAST_SEPARATION
    ):
        return
    raise InputError(
        f"{table.path}: the readings at different inputs cannot be told apart, so that a cell "
        f"would hold nothing; if the columns are others, name them with --input-column and "
        f"--output-column (taken: {columns}){''.join(f'; {note}' for note in notes)}"
    )


def _pooled(columns: Columns, found: Statistics) -> list[str]:
    if not found.pooled:
        return []
    return [
        f"{' and '.join(columns.device)}: most cells were not read twice at every input, and "
        "differences between cells count as noise of each"
    ]
