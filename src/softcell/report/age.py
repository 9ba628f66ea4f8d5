"""Device and age of results, and what figures at that age rest on."""

from __future__ import annotations

from contextlib import suppress

from softcell.devices import DEVICES, ageing_note, parse_device
from softcell.durations import format_age
from softcell.errors import InputError
from softcell.evaluate.results import Result


def at_age(result: Result) -> str:
    """Return device and age of a result, and in brackets where its ageing was not measured so far.

    Args:
        result: The result.
    """
    at, said = f"{result.device} at {format_age(result.age_seconds)}", ageing_of(result)
    return f"{at} ({said})" if said else at


def ageing_of(result: Result) -> str:
    """Return what `ageing_note` says of the device of a result at its age; "" for nothing.

    Of a device that does not come with softcell a result has but the name, which says nothing.

    Args:
        result: The result.
    """
    if result.device.split("+")[0].split(":")[0] in DEVICES:
        with suppress(InputError):
            return ageing_note(parse_device(result.device), result.age_seconds)
    return ""
