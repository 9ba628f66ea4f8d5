"""Make a device of a user's own measurements: a CSV of inputs and outputs."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from pathlib import Path

import numpy as np

from softcell.devices.device import Axis
from softcell.devices.measured import MeasuredCell
from softcell.errors import InputError

_UNIT = re.compile(r"^(.+?)[_ ]*[_ \[(](V|mV|uA|mA|A|ns|us|ohm|kohm|Mohm|uS|S)[\])]?$")


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
) -> MeasuredCell:
    """Fit normal distributions of the readings at each input: within cells and between them.

    Args:
        path: CSV with a header line (.csv or .csv.gz), one row for each write and read.
        name: Name of the device; by default the file's name.
        source: Where the measurements come from; by default the file's name.
        input_column: Column of the programmed quantity; by default the second-last.
        output_column: Column of the reading; by default the last.
        device_column: Column that names the physical device; by default "device" if present.
        log10: Fit the decimal logarithm of the reading; by default for a resistance, and for
            any positive reading that spans more than a decade.
        read_noise: Standard deviation of reading alone, on the fitted axis. By default the
            smallest standard deviation of any input: read noise cannot be larger.

    Returns:
        The fitted device.

    Raises:
        InputError: The file is missing, holds text where numbers belong, has fewer than two
            inputs, an input with fewer than two rows, or inputs that differ between devices.
    """
    path = Path(path)
    header, columns, lines = _read_columns(path)
    output_column = output_column or header[-1]
    if device_column is None and "device" in header:
        device_column = "device"
    rest = [c for c in header if c not in (output_column, device_column)]
    input_column = input_column or (rest[-1] if rest else "")
    for column in (input_column, output_column, *([device_column] if device_column else [])):
        if column not in header:
            raise InputError(f"{path}: no column {column!r}; it has {', '.join(header)}")
    inputs = _numbers(path, input_column, columns[input_column], lines)
    outputs = _numbers(path, output_column, columns[output_column], lines)
    labels = np.array(columns[device_column]) if device_column else np.zeros(len(inputs), "U1")
    positive = bool((outputs > 0).all())
    if log10 is None:
        wide = positive and outputs.max() > 10 * outputs.min()
        log10 = positive and (wide or "resist" in output_column.lower())
    if log10 and not positive:
        raise InputError(f"{path}: {output_column!r} must be positive to take its logarithm")
    at, mean, deviation, spread = _statistics(
        path, inputs, np.log10(outputs) if log10 else outputs, labels
    )
    level_name, level_unit = _named(input_column)
    reading_name, reading_unit = _named(output_column)
    noise = float(deviation.min()) if read_noise is None else read_noise
    return MeasuredCell(
        label=name or path.name.split(".")[0],
        origin=source or f"measurements in {path.name}",
        level=Axis(level_name, level_unit, float(at[0]), float(at[-1])),
        reading=Axis(reading_name, reading_unit, scale="log10" if log10 else "linear"),
        inputs=at,
        mean=mean,
        deviation=deviation,
        device_spread=spread,
        read_noise=noise,
    )


def _read_columns(path: Path) -> tuple[list[str], dict[str, list[str]], list[int]]:
    """Return the header, the texts of each column and the line that each row ends on."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle)
            numbered = [(reader.line_num, row) for row in reader if row]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV file ({error})") from None
    if len(numbered) < 2:
        raise InputError(f"{path}: expected a header line and measurements below it")
    header = [name.strip() for name in numbered[0][1]]
    if len(header) < 2:
        raise InputError(
            f"{path}: expected at least two columns (input, output) separated by commas, got "
            f"{len(header)}"
        )
    for number, row in numbered:
        if len(row) != len(header):
            raise InputError(
                f"{path}, row {number}: {len(row)} columns, the header has {len(header)}"
            )
    if len(set(header)) != len(header):
        raise InputError(f"{path}: two columns have the same name")
    lines, rows = zip(*numbered[1:])
    return header, {name: [row[i] for row in rows] for i, name in enumerate(header)}, list(lines)


def _numbers(path: Path, column: str, texts: list[str], lines: list[int]) -> np.ndarray:
    values = np.empty(len(texts))
    for i, text in enumerate(texts):
        try:
            values[i] = float(text)
        except ValueError:
            raise InputError(
                f"{path}, row {lines[i]}: column {column!r} holds {text!r}; expected a number"
            ) from None
    if not np.isfinite(values).all():
        row = lines[int(np.flatnonzero(~np.isfinite(values))[0])]
        raise InputError(f"{path}, row {row}: column {column!r} is not finite; leave the row out")
    return values


def _statistics(
    path: Path, inputs: np.ndarray, outputs: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the inputs, mean, deviation within cells and deviation of the cells' means."""
    at, place = np.unique(inputs, return_inverse=True)
    devices, row = np.unique(labels, return_inverse=True)
    if len(at) < 2:
        raise InputError(f"{path}: measurements at {len(at)} input; expected at least two inputs")
    shape = (len(devices), len(at))
    flat = row * len(at) + place
    count = np.bincount(flat, minlength=len(devices) * len(at))
    if count.min() < 2:
        first = int(np.argmin(count))
        of = f" of device {devices[first // len(at)]}" if len(devices) > 1 else ""
        raise InputError(
            f"{path}: input {at[first % len(at)]:g}{of} has {count[first]} rows; every input "
            "needs at least two, for every device"
        )
    mean = np.bincount(flat, outputs) / count
    square = np.bincount(flat, (outputs - mean[flat]) ** 2).reshape(shape).sum(axis=0)
    count, mean = count.reshape(shape), mean.reshape(shape)
    pooled = np.average(mean, axis=0, weights=count)
    spread = np.sqrt(np.average((mean - pooled) ** 2, axis=0, weights=count))
    return at, pooled, np.sqrt(square / (count - 1).sum(axis=0)), spread


def _named(column: str) -> tuple[str, str]:
    """Split a column's name such as `pulse_voltage_V` into words and a unit."""
    match = _UNIT.match(column)
    words, unit = match.groups() if match else (column, "")
    return words.replace("_", " ").strip(), unit
