"""Ages as people write them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from softcell.errors import InputError

_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "y": 365.25 * 86_400}
LONGEST = 1e15
"""Largest age in seconds, some 30 million years."""

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
        if match and match.group(2) == "M":
            raise InputError(
                f"{age!r} may be minutes or months; write 1m for the one, 30d for the other"
            )
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
    if not 0 <= seconds <= LONGEST:
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


@dataclass(frozen=True)
class Ages:
    """Ages at which cells may be read, and whether the decoder is told which it is.

    Args:
        first: The least of them in seconds, at least 0.
        last: The greatest, at least the first; equal for a single age.
        told: Whether the decoder is told the age; a single age is always known.

    Raises:
        InputError: They are no ages, or the last comes before the first.
    """

    first: float
    last: float
    told: bool = True

    def __post_init__(self) -> None:
        for age in (self.first, self.last):
            if not 0 <= age <= LONGEST:
                raise InputError(f"an age is from 0 to {LONGEST:g} s, got {age}")
        if self.first > self.last:
            raise InputError(
                f"a span of ages goes from the lower to the higher, got {format_age(self.first)}"
                f"..{format_age(self.last)}"
            )
        if self.single and not self.told:
            raise InputError(
                "a decoder that is not told the age needs a span of ages, such as 1d..10y"
            )

    @property
    def single(self) -> bool:
        """Whether there is but one age."""
        return self.first == self.last

    def spaced(self, count: int) -> tuple[float, ...]:
        """Return `count` ages from the first to the last, evenly spaced in ln(age + 1 s).

        Example:
            >>> Ages(0.0, 99.0).spaced(3)
            (0.0, 9.0, 99.0)
        """
        low, high = math.log1p(self.first), math.log1p(self.last)
        inner = (
            round(math.expm1(low + (high - low) * i / (count - 1)), 9) for i in range(1, count - 1)
        )
        return (self.first, *inner, self.last)

    def __str__(self) -> str:
        if self.single:
            return format_age(self.last)
        return f"{format_age(self.first)}..{format_age(self.last)}"


def parse_ages(text: str | float, *, told: bool = True) -> Ages:
    """Return the ages of a span such as 1d..10y, or the one age of any other text.

    Args:
        text: An age as `parse_age` takes it, or two of them with `..` between.
        told: Whether the decoder is told the age.

    Raises:
        InputError: It is neither.

    Example:
        >>> parse_ages("1m..1h"), parse_ages("10s").single
        (Ages(first=60.0, last=3600.0, told=True), True)
    """
    if isinstance(text, str) and "..." in text:
        raise InputError(f"a span of ages has two dots, such as 1d..10y, got {text!r}")
    first, dots, last = text.partition("..") if isinstance(text, str) else (text, "", "")
    start = parse_age(first)
    return Ages(start, parse_age(last) if dots else start, told)
