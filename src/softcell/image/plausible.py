"""What a device can read, and what is likely wrong with readings that it cannot have given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from softcell.channel import channel_of
from softcell.devices import Axis, Device

_MARGIN = 0.25  # of the range on either side: a chip is not quite what its device's law says
_FITS = 0.9  # share of readings that another unit must bring into the range
_FEW = 8  # readings from which on one can tell a unit from chance
_MANY = 256  # readings from which on one can tell that they do not follow the levels
_SAMPLE = 1 << 16
_RUN = 1 << 20
_OVERFLOW = 1e30  # instruments give 9.9e37 or so
_POWERS = (3, -3, 6, -6, 9, -9)


@dataclass(frozen=True)
class Implausible:
    """Readings that cannot be believed.

    Args:
        cells: Readings that were looked at.
        missing: How many of them are NaN: cells that could not be read.
        count: How many, beside those, the device cannot have given at any level; all of them if
            they are in another unit, or have nothing to do with the levels of their cells.
        reason: What is likely wrong, a clause without a capital; "" if count is 0.
    """

    cells: int
    missing: int
    count: int
    reason: str

    @property
    def whole(self) -> bool:
        """Whether no reading can be believed, and there are some."""
        return 0 < self.count == self.cells - self.missing


def reading_range(device: Device, ages: Sequence[float]) -> tuple[float, float]:
    """Return the lowest and the highest reading that can be believed, on the reading axis.

    Args:
        device: The device.
        ages: Ages in seconds at which its cells may have been read.

    Returns:
        What the law has at any level and age, and a quarter of that range more on either side.

    Example:
        >>> from softcell.devices import parse_device
        >>> low, high = reading_range(parse_device("pcm-mushroom"), [0.0])
        >>> round(low), round(high)  # microsiemens
        (-9, 45)
    """
    return _range(device, tuple(map(float, ages)))


@lru_cache(maxsize=16)
def _range(device: Device, ages: tuple[float, ...]) -> tuple[float, float]:
    spans = [device.span(age) for age in ages]
    low, high = min(low for low, _ in spans), max(high for _, high in spans)
    margin = _MARGIN * (high - low)
    return float(low - margin), float(high + margin)


def plausible_readings(
    values: NDArray[np.floating], device: Device, ages: Sequence[float]
) -> NDArray[np.float32]:
    """Return readings on the device's axis, NaN for those that are missing or cannot be.

    Args:
        values: Readings in the unit of the device's reading axis, shape (cells,); NaN where a cell
            could not be read.
        device: The device.
        ages: Ages in seconds at which its cells may have been read.

    Example:
        >>> from softcell.devices import parse_device
        >>> values = np.array([1e4, np.nan, 9.9e37, 0.0])
        >>> plausible_readings(values, parse_device("pcm-partial-reset"), [0.0]).tolist()
        [4.0, nan, nan, nan]
    """
    low, high = reading_range(device, ages)
    plain = _plain(np.asarray(values, np.float64), device.reading_axis)
    return np.where((plain >= low) & (plain <= high), plain, np.nan).astype(np.float32)


def implausible(
    values: NDArray[np.floating],
    device: Device,
    ages: Sequence[float],
    levels: NDArray[np.uint8] | None = None,
) -> Implausible:
    """Count the readings that a device cannot have given, and say what is likely wrong.

    Args:
        values: Readings in the unit of the device's reading axis, shape (cells,); NaN where a cell
            could not be read.
        device: The device.
        ages: Ages in seconds at which its cells may have been read.
        levels: Level index to which each cell was programmed, shape (cells,), if it is known: with
            it a wrong unit is seen also where it leaves the readings in the range, as near zero on
            a linear axis, and so are readings of another order or of cells never programmed.

    Example:
        >>> from softcell.devices import parse_device
        >>> values = np.array([52.3, 97.8, 1200.0, np.nan])
        >>> found = implausible(values, parse_device("pcm-partial-reset"), [0.0])
        >>> found.missing, found.count, found.reason
        (1, 3, 'they would fit if multiplied by 1000: they are in another unit than ohm')
    """
    low, high = reading_range(device, ages)
    axis, missing, beyond, out = device.reading_axis, 0, 0, []
    for start in range(0, len(values), _RUN):
        run = np.asarray(values[start : start + _RUN], np.float64)
        plain = _plain(run, axis)
        strange = ~np.isnan(run) & ~((plain >= low) & (plain <= high))
        missing += int(np.isnan(run).sum())
        if strange.any():
            beyond += int(strange.sum())
            out.append(_sampled(run[strange]))
    there = len(values) - missing
    if levels is not None and (reason := _against_levels(values, device, ages, levels)):
        return Implausible(len(values), missing, there, reason)
    reason = _reason(np.concatenate(out), there, beyond, (low, high), axis) if out else ""
    return Implausible(len(values), missing, beyond, reason)


def _plain(values: NDArray[np.float64], axis: Axis) -> NDArray[np.float64]:
    """Return readings on the axis; NaN for what is not on it."""
    out = np.full(values.shape, np.nan)
    on = np.isfinite(values)
    if axis.scale == "log10":
        on &= values > 0
    out[on] = axis.from_unit(values[on])
    return out


def _sampled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[:: -(-len(values) // _SAMPLE) or 1]


def _reason(
    out: NDArray[np.float64], there: int, beyond: int, ends: tuple[float, float], axis: Axis
) -> str:
    """Return why readings lie beyond the range.

    Args:
        out: A sample of them.
        there: Number of all readings.
        beyond: Number of those beyond.
        ends: The range, on the axis.
        axis: The axis.
    """
    told, over = [], ~(np.abs(out) < _OVERFLOW)
    if over.any():
        most = out[over].max()
        told.append(f"{most:g} is what an instrument gives beyond its range (open or dead cells)")
    none = ~over & (out <= 0) & (axis.scale == "log10")
    if none.any():
        told.append(f"0 or less is no {axis.name}: cells that could not be read")
    out = out[~(over | none)]
    if len(out):
        told.append(_reason_of_the_rest(out, there, beyond, ends, axis))
    return "; ".join(told)


def _reason_of_the_rest(
    out: NDArray[np.float64], there: int, beyond: int, ends: tuple[float, float], axis: Axis
) -> str:
    values, times = np.unique(out, return_counts=True)
    if len(out) > 1 and times.max() > 0.75 * len(out):
        again = values[times.argmax()]
        return (
            f"{again:g} comes again and again: the limit of an instrument, or cells that are stuck"
        )
    if beyond == there or beyond >= max(_FEW, there // 100):
        for text, turned in _other_units(out, axis):
            plain = _plain(turned, axis)
            if np.mean((plain >= ends[0]) & (plain <= ends[1])) >= _FITS:
                return text
    if 2 * beyond >= there:
        return "they are of another die or kind of cell, or of cells that were never programmed"
    return "such cells are stuck or broken"


def _other_units(
    values: NDArray[np.float64], axis: Axis
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield what readings would be, were they given in another unit, and how to say so."""
    with np.errstate(all="ignore"):
        if axis.scale == "log10":
            yield _logarithms(axis), 10.0**values
        for power in _POWERS:
            yield _scaled(power, axis), values * 10.0**power
        for power in (0, 6, -6, 3, 9):
            text = f"they would fit as {10.0**power:g}/reading"
            yield f"{text}: they are another quantity than {axis.name}", 10.0**power / values


def _logarithms(axis: Axis) -> str:
    return f"they are logarithms: give {axis.name} in {axis.unit}"


def _scaled(power: int, axis: Axis) -> str:
    unit = f"in another unit than {axis.unit}" if axis.unit else "in another unit"
    return f"they would fit if multiplied by {10.0**power:g}: they are {unit}"


def _against_levels(
    values: NDArray[np.floating],
    device: Device,
    ages: Sequence[float],
    levels: NDArray[np.uint8],
) -> str:
    """Return why readings cannot be of cells at these levels; "" if they may."""
    every = -(-len(values) // _SAMPLE) or 1
    taken, level = np.asarray(values[::every], np.float64), levels[::every]
    axis, laws = device.reading_axis, [channel_of(device, age) for age in ages]
    means = np.mean([law.mean for law in laws], axis=0)
    mean = means[level]
    noise = np.max([law.deviation for law in laws], axis=0)[level]
    on = ~np.isnan(_plain(taken, axis)) & (np.abs(taken) < _OVERFLOW)
    taken, mean, noise = taken[on], mean[on], noise[on]
    low, high = reading_range(device, ages)
    logarithms = float(np.mean((taken >= low) & (taken <= high))) if len(taken) >= _FEW else 0.0
    if axis.scale == "log10" and logarithms >= _FITS:
        return _logarithms(axis)
    # Near zero an offset looks like another unit.
    least = 0.0 if axis.scale == "log10" else 0.2 * float(np.abs(axis.to_unit(means)).max())
    if power := _power(taken, axis.to_unit(mean), least):
        return _scaled(power, axis)
    plain = axis.from_unit(taken)
    inside = (plain >= low) & (plain <= high)
    plain, mean, noise = plain[inside], mean[inside], noise[inside]
    # Where the levels differ by less than their noise, nothing can be said.
    if len(plain) < _MANY or mean.std() < 1.5 * np.sqrt((noise**2).mean()):
        return ""
    if _correlation(plain, mean) < 0.1:
        return (
            "they do not follow the levels of their cells: they are of another die or in another "
            "order, or the cells were never programmed"
        )
    return ""


def _power(values: NDArray[np.float64], expected: NDArray[np.float64], least: float) -> int:
    """Return the power of 1000 by which readings miss what is expected of them; 0 for none.

    Cells of which less than `least` is expected are left out.
    """
    large = np.abs(expected) >= least
    same = large & (values * expected > 0)
    if 2 * int(same.sum()) < max(int(large.sum()), 2 * _FEW):
        return 0
    decades = np.log10(np.abs(expected[same]))
    missed = decades - np.log10(np.abs(values[same]))
    middle = float(np.median(missed))
    power = 3 * round(middle / 3)
    if power not in _POWERS or max(abs(middle - power), np.median(np.abs(missed - middle))) > 1:
        return 0
    # Readings that are all alike miss by as much as they should vary.
    return power if _correlation(missed, decades) < 0.9 else 0


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    spread = one.std() * other.std()
    return float(((one - one.mean()) * (other - other.mean())).mean() / spread) if spread else 0.0
