"""How long a device's ageing was measured: what figures at an age rest on."""

from __future__ import annotations

import math

from softcell.devices.device import Device, changes_with_age
from softcell.durations import format_age


def measured_seconds(device: Device) -> float | None:
    """Return up to what age the ageing of a device was measured.

    A device says so by an attribute of this name; imperfections have it of what they are around.

    Args:
        device: The device.

    Returns:
        Seconds: 0 if it was not measured; infinity for cells of a definition, which is all that
        there is to know of them; None if the device does not say.

    Example:
        >>> from softcell.devices import parse_device
        >>> [measured_seconds(parse_device(name)) for name in ("rram-wan", "rram-reset", "ideal")]
        [172800.0, 0.0, inf]
    """
    inner: object = device
    while (within := getattr(inner, "of", None)) is not None:
        inner = within
    found = getattr(inner, "measured_seconds", None)
    return None if found is None else float(found)


def ageing_note(device: Device, age_seconds: float) -> str:
    """Return what is to be said wherever figures of a device at an age are shown; "" for nothing.

    Args:
        device: The device.
        age_seconds: The age, at least 0.

    Example:
        >>> from softcell.devices import parse_device
        >>> [ageing_note(parse_device(name), 60.0) for name in ("rram-reset", "rram-wan")]
        ['ageing not measured', '']
        >>> ageing_note(parse_device("rram-wan"), 1e6)
        'ageing measured up to 2d, extrapolated'
    """
    measured = measured_seconds(device)
    if measured is None:  # a device of the user's own: its law shows whether it ages at all
        measured = math.inf if changes_with_age(device, age_seconds) else 0.0
    if age_seconds <= measured:
        return ""
    if not measured:
        return "ageing not measured"
    return f"ageing measured up to {format_age(measured)}, extrapolated"
