"""Maps between positions in [0, 1] and levels of a cell, and what they cost in noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel

POSITIONS = 4096
"""Steps of a map; far finer than the levels."""

GRID = 129
"""Positions at which a map's bias and variance are tabulated."""

_LEVELS_AT_A_TIME = 32

_FLAT = 1e-9
"""Part of the response below which a step is rounding and not a step."""


@dataclass(frozen=True)
class PositionMap:
    """Which level stands for a position, chosen at the age that the code was designed for.

    Args:
        levels: Level indices at POSITIONS evenly spaced positions, shape (POSITIONS,).
        proportional: Decode along the straight line between the mean readings of both ends, as if
            the cell's response were linear, instead of by its inverse.
    """

    levels: NDArray[np.uint8] = field(repr=False)
    proportional: bool = False


@dataclass(frozen=True)
class Decoder:
    """Positions by reading: a table over evenly spaced readings, straight lines between.

    Args:
        low: Reading of the first entry.
        step: Distance between the readings of two entries.
        positions: Positions, shape (entries,); readings beyond the ends take the end's.
    """

    low: float
    step: float
    positions: NDArray[np.float32] = field(repr=False)

    def at(self, readings: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the position of each reading, same shape."""
        place = np.clip((readings - self.low) / self.step, 0, len(self.positions) - 1)
        found: NDArray[np.float64] = np.interp(
            place, np.arange(len(self.positions)), self.positions
        )
        return found


@dataclass(frozen=True)
class PositionMoments:
    """Expected decoded position and its variance, over GRID true positions.

    Args:
        mean: E[decoded | position], shape (..., GRID).
        variance: Var[decoded | position] times the number of cells that are averaged, same shape.
    """

    mean: NDArray[np.float64] = field(repr=False)
    variance: NDArray[np.float64] = field(repr=False)


def full_scale_map() -> PositionMap:
    """Return the map of positions to levels in proportion, blind to the cell's response."""
    return PositionMap(np.rint(np.linspace(0, 255, POSITIONS)).astype(np.uint8), True)


def monotone_run(mean: NDArray[np.float64]) -> tuple[int, int]:
    """Return first and last level of the monotone run that spans most of the readings.

    Flat stretches, as a coarse read-out makes them, do not end a run.

    Example:
        >>> monotone_run(np.array([1.0, 2.0, 1.5, 1.7, 1.7, 4.0, 3.9]))
        (2, 5)
    """
    steps = np.diff(mean)
    sign = np.where(np.abs(steps) > _FLAT * np.ptp(mean), np.sign(steps), 0)
    moving = np.flatnonzero(sign)
    if moving.size == 0:
        return 0, len(mean) - 1
    turns = np.flatnonzero(np.diff(sign[moving])) + 1
    starts = np.concatenate([moving[:1], moving[turns]])
    stops = np.concatenate([moving[turns - 1], moving[-1:]]) + 1
    best = int(np.abs(mean[stops] - mean[starts]).argmax())
    return int(starts[best]), int(stops[best])


def inverted_map(channel: Channel, start: float = 0.0, stop: float = 1.0) -> PositionMap:
    """Return the map whose mean reading is linear in the position.

    Args:
        channel: The law at the age to design for.
        start: Place of position 0 between the lowest (0) and the highest (1) mean reading of the
            cell's monotone run.
        stop: Place of position 1; below `start` for a map that runs the other way.
    """
    first, last = monotone_run(channel.mean)
    run = np.arange(first, last + 1)
    mean = channel.mean[run]
    if mean[0] > mean[-1]:
        run, mean = run[::-1], mean[::-1]
    target = mean[0] + np.linspace(start, stop, POSITIONS) * (mean[-1] - mean[0])
    after = np.clip(np.searchsorted(mean, target), 1, len(mean) - 1)
    nearer = np.where(target - mean[after - 1] <= mean[after] - target, after - 1, after)
    return PositionMap(run[nearer].astype(np.uint8))


def decoder(position_map: PositionMap, channel: Channel) -> Decoder:
    """Return the decoder of a map for cells that are read at the channel's age.

    A reading is taken for the position whose mean reading it is, so that the estimate is unbiased
    but for the ends; drift that all cells share is thereby undone.
    """
    readings = channel.readings
    if position_map.proportional:
        ends = channel.mean[position_map.levels[[0, -1]]]
        if abs(ends[1] - ends[0]) <= _FLAT * np.ptp(channel.mean):
            return _decoder(readings, np.full(len(readings), 0.5))
        positions = (readings - ends[0]) / (ends[1] - ends[0])
        return _decoder(readings, np.clip(positions, 0, 1))
    # Runs of equal levels, in the order of their positions.
    starts = np.flatnonzero(np.diff(position_map.levels, prepend=-1))
    mean = channel.mean[position_map.levels[starts]]
    width = np.diff(starts, append=POSITIONS)
    centre = (starts + (width - 1) / 2) / (POSITIONS - 1)
    if mean[0] > mean[-1]:
        centre, mean, width = centre[::-1], mean[::-1], width[::-1]
    # Ageing may bend the response, a read-out flatten it: levels that read alike share a centre.
    rising = np.maximum.accumulate(mean)
    distinct = np.diff(rising, prepend=-np.inf) > _FLAT * np.ptp(channel.mean)
    group = np.cumsum(distinct) - 1
    centre = np.bincount(group, centre * width) / np.bincount(group, width)
    if len(centre) == 1:
        return _decoder(readings, np.full(len(readings), 0.5))
    # The ends stand for themselves: half a step inward would shrink the range.
    ends = np.array([0.0, 1.0])
    centre[[0, -1]] = ends if centre[0] < centre[-1] else ends[::-1]
    return _decoder(readings, np.interp(readings, rising[distinct], centre))


def moments(position_map: PositionMap, channel: Channel, reads: int = 1) -> PositionMoments:
    """Return bias and variance of a map on a channel, shape (GRID,) each.

    Args:
        position_map: The map.
        channel: The law at the age of reading.
        reads: Cells whose readings are averaged before they are decoded. As the average is
            clipped less often than its parts, neither moment follows from that of one read.
    """
    table = decoder(position_map, channel).at(channel.readings)
    levels = position_map.levels[np.rint(np.linspace(0, POSITIONS - 1, GRID)).astype(int)]
    used, index = np.unique(levels, return_inverse=True)
    rows = averaged(channel, reads)[used]
    mean = rows @ table
    variance = np.maximum(rows @ table**2 - mean**2, 0) * reads
    return PositionMoments(mean[index], variance[index])


@lru_cache(maxsize=16)
def averaged(channel: Channel, reads: int) -> NDArray[np.float64]:
    """Return the law of the average of several readings of cells of one level, shape (L, R).

    It is the distribution of their sum, a convolution, brought back to the bins of one reading so
    that the mean is kept.
    """
    if reads == 1:
        return channel.matrix
    levels, bins = channel.matrix.shape
    length = 1 << (reads * (bins - 1)).bit_length()
    low, part = np.divmod(np.arange(reads * (bins - 1) + 1), reads)
    law = np.zeros((levels, bins + 1))
    for first in range(0, levels, _LEVELS_AT_A_TIME):
        block = slice(first, first + _LEVELS_AT_A_TIME)
        spectrum = np.fft.rfft(channel.matrix[block], length, axis=1) ** reads
        total = np.maximum(np.fft.irfft(spectrum, length, axis=1)[:, : len(low)], 0)
        for row, mass in zip(law[block], total):
            row += np.bincount(low, mass * (1 - part / reads), minlength=bins + 1)
            row += np.bincount(low + 1, mass * (part / reads), minlength=bins + 1)
    law = law[:, :bins]
    averages: NDArray[np.float64] = law / law.sum(axis=1, keepdims=True)
    return averages


def _decoder(readings: NDArray[np.float64], positions: NDArray[np.float64]) -> Decoder:
    step = float(readings[1] - readings[0])
    return Decoder(float(readings[0]), step, positions.astype(np.float32))
