"""Ages as people write them."""

from __future__ import annotations

import math
import re

from softcell.errors import InputError

_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "y": 365.25 * 86_400}
_AGE = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z]*)\s*", re.IGNORECASE)


def parse_age(age: str | float) -> float:
    """Return an age in seconds.

    Args:
        age: A number of seconds, or a number with a unit: s, m or min, h, d, y (365.25 days).

    Raises:
        InputError: It is not an age, or it is negative.

    Example:
        >>> parse_age("10y"), parse_age("1.5h"), parse_age(20)
        (315576000.0, 5400.0, 20.0)
    """
    if isinstance(age, str):
        match = _AGE.fullmatch(age)
        unit = match.group(2).lower() or "s" if match else ""
        try:
            seconds = float(match.group(1)) * _SECONDS[unit] if match else math.nan
        except (ValueError, KeyError):
            seconds = math.nan
    else:
        try:
            seconds = float(age)
        except (TypeError, ValueError):
            seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise InputError(f"expected an age such as 0, 20s, 1h, 30d or 10y, got {age!r}")
    return seconds


def format_age(seconds: float) -> str:
    """Return an age in the largest unit that it is a whole number of.

    Example:
        >>> format_age(315576000.0), format_age(90.0)
        ('10y', '90s')
    """
    seconds = float(seconds)
    for unit in ("y", "d", "h", "m"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.17g}{unit}"
    return f"{seconds!r}s".replace(".0s", "s")
