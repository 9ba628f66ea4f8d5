"""Measured devices as they stand in TOML files, those of the package among them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from softcell.devices.device import Axis, Device, shortest
from softcell.devices.measured import MeasuredCell
from softcell.devices.noise_law import NoiseLaw, smoothed
from softcell.devices.specification import parsed_options, specification
from softcell.errors import InputError
from softcell.records import record_of

_STATED = {"read_noise": float, "bootstrap": int, "law": str}
"""What the user may say of a packaged measured device."""
_LAWS = ("normal", "empirical")


@dataclass(frozen=True)
class _Quantity:
    name: str
    unit: str = ""
    scale: Literal["linear", "log10"] = "linear"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Measured:
    """A measured device as it stands in a TOML file."""

    kind: Literal["measured"]
    name: str
    source: str
    level: _Quantity
    reading: _Quantity
    read_noise: float = 0.0
    inputs: NDArray[np.float64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    device_spread: NDArray[np.float64]
    noise: NoiseLaw | None = None
    drawn: NoiseLaw | None = None


@dataclass(frozen=True)
class _Residuals:
    """Residuals of a packaged device's measurements as they stand in a TOML file.

    Args:
        readings: How many there are at each input, shape (inputs,).
        residuals: The law that draws from them.
    """

    readings: NDArray[np.int64]
    residuals: NoiseLaw


def measured_of(values: Any, where: str) -> MeasuredCell:
    """Return the measured device of plain values, as `MeasuredCell.definition` gives them.

    Args:
        values: The values.
        where: Their path in the file that they are from, for the error.

    Raises:
        InputError: They are none of such a device.
    """
    model = record_of(_Measured, values, where, optional=True)
    if len(model.inputs) < 2:
        raise InputError(f"{model.name}: expected at least two inputs")
    low, high = float(model.inputs[0]), float(model.inputs[-1])
    level = Axis(model.level.name, model.level.unit, low, high)
    return MeasuredCell(
        label=model.name,
        origin=model.source,
        level=level,
        reading=Axis(model.reading.name, model.reading.unit, scale=model.reading.scale),
        inputs=model.inputs,
        mean=model.mean,
        deviation=model.deviation,
        device_spread=model.device_spread,
        read_noise=model.read_noise,
        noise=model.noise,
        drawn=model.drawn,
    )


def device_toml(device: Device) -> str:
    """Return the text of a TOML file from which `load_device` makes a measured device.

    Raises:
        InputError: The device is not a measured one.
    """
    values = device.definition()
    if values["kind"] != "measured":
        raise InputError(f"only measured devices are kept as TOML, got {device.name}")

    def line(numbers: list[float]) -> str:
        return "[" + ", ".join(f"{x:.10g}" for x in numbers) + "]"

    def quoted(text: str) -> str:
        return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

    table = [
        'kind = "measured"',
        f"name = {quoted(values['name'])}",
        f"source = {quoted(values['source'])}",
        f"read_noise = {values['read_noise']:.10g}",
        *(
            f"{key} = {line(values[key])}"
            for key in ("inputs", "mean", "deviation", "device_spread")
        ),
        "",
        "[level]",
        f"name = {quoted(values['level']['name'])}",
        f"unit = {quoted(values['level']['unit'])}",
        "",
        "[reading]",
        f"name = {quoted(values['reading']['name'])}",
        f"unit = {quoted(values['reading']['unit'])}",
        f"scale = {quoted(values['reading']['scale'])}",
    ]
    for key in ("noise", "drawn"):
        if key in values:
            table += ["", *_law_lines(key, values[key])]
    return "\n".join(table) + "\n"


def residuals_toml(readings: NDArray[np.int64], residuals: NoiseLaw) -> str:
    """Return the text of a file of residuals, which stands beside a packaged device.

    Args:
        readings: How many there are at each input, shape (inputs,).
        residuals: The law that draws from them.
    """
    lines = [f"readings = {readings.tolist()}", "", *_law_lines("residuals", residuals.values())]
    return "\n".join(lines) + "\n"


def _law_lines(key: str, law: Mapping[str, Any]) -> list[str]:
    def rows(name: str, digits: int) -> str:
        lines = (", ".join(f"{x:.{digits}g}" for x in row) for row in law[name])
        return f"{name} = [\n" + ",\n".join(f"  [{line}]" for line in lines) + "\n]"

    return [
        f"[{key}]",
        f'kind = "{law["kind"]}"',
        rows("weight", 10),
        rows("centre", 6),
        rows("scale", 6),
    ]


@lru_cache(maxsize=32)
def _packaged(name: str) -> MeasuredCell:
    return measured_of(_coefficients(f"{name}.toml"), "")


@lru_cache(maxsize=8)
def _residuals(name: str) -> _Residuals:
    return record_of(_Residuals, _coefficients(f"{name}.residuals.toml"), name)


def _coefficients(file: str) -> dict[str, Any]:
    text = (resources.files("softcell.devices") / "coefficients" / file).read_text()
    return tomllib.loads(text)


@lru_cache(maxsize=32)
def packaged_device(name: str, options: str) -> MeasuredCell:
    """Return a packaged measured device with what the user says of it.

    Args:
        name: Its name.
        options: `option=value,...` of `read_noise`, `bootstrap` and `law`.

    Raises:
        InputError: An unknown option or value.
    """
    text = f"{name}:{options}"
    given = parsed_options(text, options, _STATED)
    law, bootstrap = given.get("law", "normal"), given.get("bootstrap", 0)
    if law not in _LAWS:
        raise InputError(f"{text!r}: law is one of {', '.join(_LAWS)}, got {law!r}")
    if bootstrap not in (0, 1):
        raise InputError(f"{text!r}: bootstrap is 0 or 1, got {shortest(bootstrap)}")
    unsaid = {"law": "normal", "bootstrap": 0}
    stated = {key: value for key, value in given.items() if unsaid.get(key) != value}
    device = _packaged(name)
    if not stated:
        return device
    noise = drawn = None
    if law == "empirical":
        found = _residuals(name)
        noise = smoothed(found.residuals, found.readings).rounded()
    if bootstrap:
        drawn = _residuals(name).residuals
    return replace(
        device,
        label=specification(name, stated),
        read_noise=stated.get("read_noise", device.read_noise),
        noise=noise,
        drawn=drawn,
    )
