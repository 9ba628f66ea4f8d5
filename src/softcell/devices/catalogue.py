"""Devices by name, by file and by definition."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softcell.devices.device import Device
from softcell.devices.imperfections import ReadOut, Spread, Stuck, layers
from softcell.devices.measured_file import measured_of, packaged_device
from softcell.devices.mushroom import MushroomCell
from softcell.devices.own import installed, named_device, split, stored_device
from softcell.devices.reference import GaussianCell, IdealCell
from softcell.devices.relaxing import RelaxingCellB, RelaxingCellC
from softcell.devices.specification import option_types, parsed_options
from softcell.devices.wan import WanCell
from softcell.errors import InputError
from softcell.own_bytes import text_bytes
from softcell.records import place, read, require_keys

_Model = MushroomCell | WanCell | RelaxingCellB | RelaxingCellC | GaussianCell | IdealCell
MODELS: Mapping[str, type[_Model]] = {
    "pcm-mushroom": MushroomCell,
    "rram-wan": WanCell,
    RelaxingCellB.kind: RelaxingCellB,
    RelaxingCellC.kind: RelaxingCellC,
    "gaussian": GaussianCell,
    "ideal": IdealCell,
}
MEASURED = ("pcm-partial-reset", "pcm-sweep", "rram-reset")
IMPERFECTIONS: Mapping[str, type[Stuck | Spread | ReadOut]] = {
    each.kind: each for each in (Stuck, Spread, ReadOut)
}
_MOST_LAYERS = 8
DEVICES = (*MEASURED, *MODELS)
"""Names of the devices that come with softcell."""


def parse_device(text: str) -> Device:
    """Return the device that a specification names.

    Args:
        text: `NAME`, `NAME:option=value,...`, a path to a TOML file from `softcell fit`, or
            `module:Class:option=value,...` for a device of your own, whose module is imported;
            followed by any number of `+imperfection:option=value,...`, the innermost first. A
            packaged measured device takes `read_noise`, the standard deviation of reading alone on
            the reading axis; programming makes up the rest of the measured one. `bootstrap=1`
            writes cells with the measured residuals, and `law=empirical` has a law made of them.

    Raises:
        InputError: An unknown name or option, an unreadable file, or a class that is no device.

    Example:
        >>> parse_device("gaussian:snr_db=12+stuck:low=0.001+readout:bits=6").name
        'gaussian:snr_db=12+stuck:low=0.001,high=0+readout:bits=6'
    """
    # A "+" belongs to a file's name unless an imperfection follows it.
    parts = [text]
    while True:
        head, plus, tail = parts[0].rpartition("+")
        if not plus or tail.split(":")[0] not in IMPERFECTIONS:
            break
        parts[:1] = [head, tail]
    device = _base(parts[0])
    for part in parts[1:]:
        kind, _, options = part.partition(":")
        types = option_types(IMPERFECTIONS[kind])
        device = _around(kind, device, parsed_options(part, options, types))
    return device


def device_of(definition: Mapping[str, Any], where: str = "") -> Device:
    """Return the device of a definition, as made by `Device.definition`.

    Args:
        definition: Plain values.
        where: Their path in the file that they are from, for the error.

    Raises:
        InputError: The definition is incomplete or of an unknown kind, or of a class from outside
            the package that is not loaded.
    """
    try:
        values = dict(definition)
        kind = values.pop("kind", None)
    except (TypeError, ValueError):
        raise InputError(f"{where or 'a device'} is an object, got {definition!r:.40}") from None
    try:
        if kind == "measured":
            return measured_of(definition, where)
        if kind in IMPERFECTIONS:
            require_keys(values, ("of",), where)
            of = device_of(values.pop("of"), place(where, "of"))
            return _around(kind, of, _options(IMPERFECTIONS[kind], values, where))
        if kind in MODELS:
            return MODELS[kind](**_options(MODELS[kind], values, where))
        if isinstance(kind, str) and split(kind) == (kind, ""):
            return stored_device(kind, values)
    except InputError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        raise InputError(f"device definition of kind {kind!r} is not usable: {error}") from None
    kinds = ", ".join(("measured", *MODELS, *IMPERFECTIONS, *installed()))
    raise InputError(
        f"unknown kind of device {kind!r}; known: {kinds}; install the package that it is from"
    )


def device_from(given: Device | str) -> Device:
    """Return a device that is given itself or by its specification.

    Args:
        given: A specification, or a device that can be made again from its definition.

    Raises:
        InputError: No such device, or it cannot be kept in a file.
    """
    if isinstance(given, str):
        return parse_device(given)
    if isinstance(given, type) or not isinstance(given, Device):
        raise InputError(
            f"expected a device or its specification, got {given!r:.80}; a device has all of "
            "`softcell.devices.Device`, see docs/devices.md"
        )
    try:
        again = device_of(json.loads(json.dumps(given.definition(), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise InputError(f"{given!r:.80} cannot be kept in a file: {error}") from error
    if again != given:
        raise InputError(
            f"the definition of {given!r:.80} makes another device, {again!r:.80}; it must hold "
            "all that the device is made of, and equal devices must be equal"
        )
    return given


def load_device(path: Path | str) -> Device:
    """Return the device of a TOML file written by `softcell fit`.

    Raises:
        InputError: The file is missing or not such a file.
    """
    path = Path(path)
    try:
        values = tomllib.loads(text_bytes(path).decode().replace("\r\n", "\n"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such device file") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable TOML file ({error})") from None
    except RecursionError:
        raise InputError(f"{path}: not a readable TOML file (nested too deeply)") from None
    try:
        return device_of(values)
    except (InputError, RecursionError) as error:
        raise InputError(f"{path}: {error}") from None


def _base(text: str) -> Device:
    name, _, options = text.partition(":")
    if name in MODELS:
        return MODELS[name](**parsed_options(text, options, option_types(MODELS[name])))
    if name in MEASURED:
        return packaged_device(name, options)
    if text.endswith(".toml") or _is_file(text):
        return load_device(text)
    own = split(text)
    if own is not None:
        return named_device(text, *own)
    raise InputError(
        f"unknown device {text!r}; known: {', '.join([*DEVICES, *installed()])}, or a .toml file "
        "from `softcell fit`, or module:Class of a device of your own"
    )


def _around(kind: str, of: Device, options: Mapping[str, Any]) -> Device:
    if layers(of) >= _MOST_LAYERS:
        raise InputError(f"a device has at most {_MOST_LAYERS} imperfections")
    return IMPERFECTIONS[kind](of, **options)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # too long for a file's name
        return False


def _options(make: type, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    types = option_types(make)
    require_keys(values, (), where, known=tuple(types))
    return {name: read(types[name], each, place(where, name)) for name, each in values.items()}
