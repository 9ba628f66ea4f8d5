"""Devices from outside the package: Python classes, by an entry point or as `module:Class`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from softcell.devices.conduct import require_conduct
from softcell.devices.device import Device
from softcell.devices.specification import option_types, options_of, parsed_options, specification
from softcell.errors import InputError, OwnDeviceError
from softcell.own_code import guarded, imported

GROUP = "softcell.devices"
"""Group of the entry points by which an installed package offers devices."""

_PATH = re.compile(r"([A-Za-z_][\w.]*:[A-Za-z_]\w*)(?::(.*))?", re.DOTALL)
_MEMBERS = tuple(name for name in vars(Device) if not name.startswith("_"))
_RESERVED = frozenset({"kind", "of"})  # what else stands in a definition
_PLAIN: Mapping[Any, Any] = {float: float | int, int: int, bool: bool, str: str}
_NUMBERS = (float | int, int)
_Result = TypeVar("_Result")


class OwnDevice:
    """A base for devices from outside the package: name and definition of a frozen dataclass.

    Its fields are its options: numbers, truth values and text, which a specification can give, and
    tuples of them, which are given in Python. docs/devices.md tells what else a device needs.
    """

    @property
    def name(self) -> str:
        """Specification of the device: its class, and all its options."""
        return specification(_path(type(self)), options_of(self))

    def definition(self) -> dict[str, Any]:
        """Return class and options as plain values."""
        return {"kind": _path(type(self)), **options_of(self)}


def installed() -> dict[str, EntryPoint]:
    """Return the devices that installed packages offer, by name."""
    return _installed(tuple(sys.path))


@lru_cache(maxsize=4)
def _installed(_path: tuple[str, ...]) -> dict[str, EntryPoint]:
    return {each.name: each for each in entry_points(group=GROUP)}


def split(text: str) -> tuple[str, str] | None:
    """Return kind and options of a specification; None if it can be of no device from outside.

    Example:
        >>> split("my_module:Cell:quiet=0.1"), split("flash")
        (('my_module:Cell', 'quiet=0.1'), None)
    """
    path = _PATH.fullmatch(text)
    name, _, options = text.partition(":")
    if name in installed():
        return name, options
    return (path[1], path[2] or "") if path else None


def named_class(kind: str) -> type[Device]:
    """Return the class that the user names, and import it.

    Args:
        kind: `module:Class`, or the name of an installed device.

    Raises:
        InputError: There is no such class, or it is no device.
    """
    entry = installed().get(kind)
    return _device_class(kind, _loaded(entry) if entry else imported(kind, "device", "class"))


def allow_device(text: str) -> None:
    """Import the class of a specification, so that files may name it.

    Args:
        text: `module:Class`; what follows is not looked at.

    Raises:
        InputError: It is no such specification, or there is no such device.
    """
    own = split(text)
    if own is None:
        raise InputError(
            f"expected module:Class of a device of your own, got {text!r}; of any other a file "
            "knows by itself"
        )
    named_class(own[0])


def named_device(text: str, kind: str, options: str) -> Device:
    """Return the device that the user names.

    Args:
        text: The specification, for messages.
        kind: What `split` found in it.
        options: Likewise.

    Raises:
        InputError: There is no such class, it is no device, or it has other options.
    """
    made_by = named_class(kind)
    types = _tried(kind, lambda: option_types(made_by))
    return _made(kind, made_by, parsed_options(text, options, types))


def stored_device(kind: str, options: Mapping[str, Any]) -> Device:
    """Return the device that a file names, if the user has its class loaded or installed.

    A file may come from anybody, so that no module is imported for its sake, but for the devices
    of installed packages.

    Args:
        kind: `module:Class`, or the name of an installed device.
        options: Values of the class's fields.

    Raises:
        OwnDeviceError: The class is not loaded, not there or no device, or has other options.
    """
    return _made(kind, _device_class(kind, _stored_class(kind)), options)


def _stored_class(kind: str) -> Any:
    offered = installed()
    if kind in offered:
        return _loaded(offered[kind])
    module_name, _, name = kind.partition(":")
    for entry in offered.values():
        if entry.module.split(".")[0] == module_name.split(".")[0]:
            _loaded(entry)
    module = sys.modules.get(module_name)
    if module is None:
        raise OwnDeviceError(
            f"its cells are of {kind}, a Python class that is not loaded, and no code is run only "
            f"because a file names it; if you trust that class, name it: --device {kind} on the "
            f"command line, `import {module_name}` in Python"
        )
    if name not in vars(module):
        advice = "take the module as it was when the file was written"
        if module_name == "__main__":
            advice = "it was in a script or notebook; move it into a module and write the file anew"
        raise OwnDeviceError(
            f"its cells are of {kind}, but module {module_name} has no class {name!r}; {advice}"
        )
    return vars(module)[name]


def _loaded(entry: EntryPoint) -> Any:
    return _tried(f"{entry.name} ({entry.value}) of an installed package", entry.load)


def _device_class(kind: str, found: Any) -> type[Device]:
    fields = getattr(found, "__dataclass_fields__", None)
    frozen = getattr(getattr(found, "__dataclass_params__", None), "frozen", False)
    if not isinstance(found, type) or fields is None or not frozen:
        raise OwnDeviceError(
            f"device {kind} is no frozen dataclass, whose fields are its options; see "
            "docs/devices.md"
        )
    missing = [name for name in _MEMBERS if not hasattr(found, name) and name not in fields]
    if missing:
        raise OwnDeviceError(
            f"device {kind} lacks {', '.join(missing)}, which a device has; see docs/devices.md"
        )
    if taken := _RESERVED.intersection(fields):
        raise OwnDeviceError(f"device {kind}: an option cannot be called {min(taken)!r}")
    return found


def _made(kind: str, made_by: type[Device], options: Mapping[str, Any]) -> Device:
    types = _tried(kind, lambda: option_types(made_by))
    for name, value in options.items():
        if name not in types:
            known = ", ".join(types) or "none"
            raise OwnDeviceError(f"device {kind} has no option {name!r}; known: {known}")
        accepted = _PLAIN.get(types[name], object)
        if not isinstance(value, accepted) or (isinstance(value, bool) and accepted in _NUMBERS):
            raise OwnDeviceError(
                f"device {kind}: {name} must be of type {types[name].__name__}, got {value!r}"
            )
    values = {name: _hashable(value) for name, value in options.items()}

    def made() -> Device:
        device, same = made_by(**values), made_by(**values)
        if device != same or hash(device) != hash(same):
            raise InputError("two with equal options must be equal, and have the same hash")
        require_conduct(device)
        return device

    return _tried(kind, made)


def _path(made_by: type) -> str:
    """Return `module:Class`.

    Raises:
        InputError: The class is not at the top of a module, where it could be found again.
    """
    if made_by.__qualname__ != made_by.__name__:
        raise InputError(
            f"device {made_by.__qualname__} of {made_by.__module__} is made inside a function or "
            "class, where no file can find it again; move it to the top of its module"
        )
    return f"{made_by.__module__}:{made_by.__name__}"


def _tried(kind: str, call: Callable[[], _Result]) -> _Result:
    """Call code from outside the package; whatever is wrong with it is told of the device."""
    what = f"device {kind}"
    try:
        return guarded(call, what)
    except InputError as error:
        told = str(error)
        raise OwnDeviceError(told if told.startswith(what) else f"{what}: {told}") from error


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value
