"""Text that names a device: a kind and its options, which are the fields of a frozen dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from softcell.devices.device import shortest
from softcell.errors import InputError


def specification(kind: str, options: Mapping[str, Any]) -> str:
    """Return the text of a kind and its options.

    Example:
        >>> specification("gaussian", {"snr_db": 12.0})
        'gaussian:snr_db=12'
    """
    text = ",".join(f"{key}={_text(value)}" for key, value in options.items())
    return f"{kind}:{text}" if text else kind


def options_of(device: Any) -> dict[str, Any]:
    """Return the options of a device by name, but not the device that it wraps."""
    return {name: getattr(device, name) for name in option_types(type(device))}


def option_types(make: type) -> dict[str, Any]:
    """Return the type of each option that a device class takes."""
    hints = get_type_hints(make)
    return {each.name: hints[each.name] for each in fields(make) if each.init and each.name != "of"}


def parsed_options(text: str, options: str, types: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a specification.

    Args:
        text: What they are part of, for messages.
        options: `option=value,...`.
        types: Type of each option that there is.

    Raises:
        InputError: An unknown option, or a value that is none of its type.

    Example:
        >>> parsed_options("stuck", "low=0.1", {"low": float, "high": float})
        {'low': 0.1}
    """
    values = {}
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key not in types:
            choice = ", ".join(sorted(types)) or "none"
            raise InputError(f"{text!r}: unknown option {key!r}; known: {choice}")
        values[key] = _value(f"{text!r}: {key}", value, types[key])
    return values


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return shortest(value) if isinstance(value, int | float) else str(value)


def _value(what: str, text: str, kind: Any) -> Any:
    if kind is str:
        return text
    if kind is bool:
        if text not in ("true", "false"):
            raise InputError(f"{what} must be true or false, got {text!r}")
        return text == "true"
    if kind not in (int, float):
        raise InputError(f"{what} is not a number or a word; make the device in Python instead")
    try:
        number = float(text)
    except ValueError:
        raise InputError(f"{what} must be a number, got {text!r}") from None
    # The device says itself what it thinks of half a bit.
    return int(number) if kind is int and number.is_integer() else number
