"""What every kind of memory cell offers: write, age, read, and its law."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from softcell.errors import InputError
from softcell.streams import Stream

LEVELS = 256
"""Levels that a programming circuit can set, evenly spaced over the device's level axis."""

LEVEL_VALUES: NDArray[np.float64] = np.linspace(0, 1, LEVELS)
"""Each level as a plain number in [0, 1], by its index; not to be written to."""
LEVEL_VALUES.setflags(write=False)

_SINGLE_LEVELS = LEVEL_VALUES.astype(np.float32)


@dataclass(frozen=True)
class Axis:
    """A physical quantity and how plain numbers stand for it.

    Args:
        name: The quantity, such as "pulse voltage".
        unit: Its unit, such as "V"; "" for a pure number.
        low: Quantity at plain number 0.
        high: Quantity at plain number 1.
        scale: "linear", or "log10" where the plain number is the quantity's decimal logarithm
            (`low` and `high` are then not used).

    Example:
        >>> Axis("pulse voltage", "V", 1.0, 3.0).to_unit(np.array([0.5])).tolist()
        [2.0]
    """

    name: str
    unit: str
    low: float = 0.0
    high: float = 1.0
    scale: str = "linear"

    def __post_init__(self) -> None:
        if self.scale not in ("linear", "log10"):
            raise InputError(f"axis scale must be linear or log10, got {self.scale!r}")
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise InputError(f"axis {self.name!r} needs low < high, got {self.low}, {self.high}")

    def to_unit(self, plain: NDArray[Any]) -> NDArray[np.float64]:
        """Return the quantity in its unit, same shape."""
        plain = np.asarray(plain, np.float64)
        if self.scale == "log10":
            return 10.0**plain
        return self.low + plain * (self.high - self.low)

    def from_unit(self, quantity: NDArray[Any]) -> NDArray[np.float64]:
        """Return plain numbers for a quantity in its unit, same shape.

        Raises:
            InputError: A value is not finite, or not positive on a logarithmic axis.
        """
        quantity = np.asarray(quantity, np.float64)
        if not np.isfinite(quantity).all():
            raise InputError(
                f"{self.name} holds NaN or infinite values; expected finite {self.unit}"
            )
        if self.scale == "log10":
            if (quantity <= 0).any():
                raise InputError(f"{self.name} must be positive, got {quantity.min()} {self.unit}")
            logarithms: NDArray[np.float64] = np.log10(quantity)
            return logarithms
        return (quantity - self.low) / (self.high - self.low)


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells after writing: what each of them is, and for how long.

    Args:
        state: One array of shape (cells,) for each property that a cell carries, such as its
            conductance and its drift exponent.
        age_seconds: Time since writing, at least 0.
    """

    state: Mapping[str, NDArray[Any]]
    age_seconds: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", MappingProxyType(dict(self.state)))
        if not (np.isfinite(self.age_seconds) and self.age_seconds >= 0):
            raise InputError(f"an age must be finite and at least 0 s, got {self.age_seconds}")
        if len({len(values) for values in self.state.values()}) != 1:
            raise InputError("every property of the cells must have one value for each cell")

    def __len__(self) -> int:
        return len(next(iter(self.state.values())))

    def aged(self, seconds: float) -> Cells:
        """Return the same cells `seconds` later (at least 0)."""
        if not (np.isfinite(seconds) and seconds >= 0):
            raise InputError(f"cells age by a finite time of at least 0 s, got {seconds}")
        return Cells(self.state, self.age_seconds + seconds)

    def with_state(self, **properties: NDArray[Any]) -> Cells:
        """Return cells with further or replaced properties."""
        return Cells({**self.state, **properties}, self.age_seconds)


@runtime_checkable
class Device(Protocol):
    """A kind of memory cell.

    Levels are plain numbers in [0, 1] over the device's level axis. Readings are plain numbers on
    its reading axis. Only the axes know units.

    A device never changes, and devices that are equal have the same law: what is computed from one
    is kept for all that equal it. A frozen dataclass of plain fields is so by itself.
    """

    @property
    def name(self) -> str:
        """Name or specification that `parse_device` understands."""
        ...

    @property
    def source(self) -> str:
        """Where the coefficients come from."""
        ...

    @property
    def level_axis(self) -> Axis:
        """Quantity that is programmed."""
        ...

    @property
    def reading_axis(self) -> Axis:
        """Quantity that is read."""
        ...

    def write(self, levels: NDArray[np.float32], *, stream: Stream) -> Cells:
        """Program each cell once towards its level in [0, 1]; shape (cells,)."""
        ...

    def age(self, cells: Cells, seconds: float) -> Cells:
        """Let `seconds` pass."""
        ...

    def read(self, cells: Cells, *, stream: Stream) -> NDArray[np.float32]:
        """Read each cell once at its age; shape (cells,)."""
        ...

    def span(self, age_seconds: float) -> tuple[float, float]:
        """Return readings between which all but a millionth of the readings lie, at any level."""
        ...

    def law(
        self, levels: NDArray[np.float64], edges: NDArray[np.float64], age_seconds: float
    ) -> NDArray[np.float64]:
        """Return P(edges[j] <= reading < edges[j+1] | level), shape (levels, bins).

        `edges` increase; the first is -inf and the last +inf, so that rows sum to 1.
        """
        ...

    def definition(self) -> dict[str, Any]:
        """Return plain values from which `device_of` makes the same device."""
        ...

    def __hash__(self) -> int:
        """Return the same number for equal devices."""
        ...


@dataclass(frozen=True, eq=False)
class Response:
    """A table over the level axis with straight lines between its evenly spaced knots.

    Args:
        knots: Values at levels 0, 1/(n-1), ..., 1, shape (..., n).
    """

    knots: NDArray[np.float32] = field(repr=False)

    def __post_init__(self) -> None:
        if self.knots.shape[-1] < 2 or not np.isfinite(self.knots).all():
            raise InputError("a response needs at least two finite knots")

    def at(self, levels: NDArray[Any]) -> NDArray[np.float64]:
        """Return values at levels in [0, 1], shape (..., levels)."""
        position = np.asarray(levels, np.float64) * (self.knots.shape[-1] - 1)
        index = np.minimum(position.astype(np.int64), self.knots.shape[-1] - 2)
        low = self.knots[..., index].astype(np.float64)
        values: NDArray[np.float64] = low + (position - index) * (self.knots[..., index + 1] - low)
        return values


def plain_levels(indices: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the levels of indices from 0 to 255 as a device writes them, same shape.

    Example:
        >>> plain_levels(np.array([0, 51, 255], np.uint8)).round(3).tolist()
        [0.0, 0.20000000298023224, 1.0]
    """
    return _SINGLE_LEVELS[indices]


def shortest(number: float) -> str:
    """Return the shortest text that stands for the number itself, such as 20 and not 20.0."""
    text = f"{number:g}"
    return text if float(text) == number else repr(float(number))


def checked_levels(levels: NDArray[Any]) -> NDArray[np.float32]:
    """Return levels as float32, shape (cells,).

    Raises:
        InputError: A level is not finite or lies outside [0, 1].
    """
    levels = np.ascontiguousarray(levels, np.float32)
    if levels.ndim != 1:
        raise InputError(f"levels need shape (cells,), got {levels.shape}")
    if levels.size and not (levels.min() >= 0 and levels.max() <= 1):  # also catches NaN
        raise InputError("levels must be finite numbers in [0, 1]")
    return levels


def changes_with_age(device: Device, age_seconds: float) -> bool:
    """Return whether cells read otherwise at an age than when they were written.

    Where they do not, nobody has measured how the device ages, or it is none that does.

    Example:
        >>> from softcell.devices import parse_device
        >>> [changes_with_age(parse_device(d), 3600.0) for d in ("pcm-mushroom", "rram-reset")]
        [True, False]
    """
    levels = LEVEL_VALUES[::15]
    low, high = device.span(age_seconds)
    edges = np.linspace(low, high, 33)
    now, then = (device.law(levels, edges, age) for age in (0.0, age_seconds))
    return not np.array_equal(now, then)
