"""Which values a cell's range stands for, chosen by the expected distortion."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel
from softcell.codes.analog.position_map import (
    GRID,
    Moments,
    PositionMap,
    full_scale_map,
    inverted_map,
    moments,
)

PLACES = 16
"""Places between the ends of the response where a map may start or stop: sixteenths."""

CLIPS = 32
"""Clipping points tried, from an eighth of the largest value to all of it."""


@dataclass(frozen=True)
class ValueRange:
    """Values from low to high on positions 0 to 1 of a map.

    Args:
        low: Value at position 0.
        high: Value at position 1.
        start: Place of position 0 in the response, in sixteenths.
        stop: Place of position 1; a map with start = stop = 0 is blind to the response.
    """

    low: float
    high: float
    start: int = 0
    stop: int = PLACES

    @property
    def position_map(self) -> str:
        """Key of the map, for `maps_of`."""
        return f"{self.start}-{self.stop}"


@dataclass(frozen=True)
class Histogram:
    """Values and how often they occur.

    Args:
        values: Values, shape (bins,).
        counts: Number of weights of each, same shape.
    """

    values: NDArray[np.float64] = field(repr=False)
    counts: NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(cls, values: NDArray[np.floating], bins: int = 512) -> Histogram:
        """Count values in evenly spaced bins between their extremes."""
        if values.size == 0:
            return cls(np.zeros(1), np.zeros(1))
        low, high = float(values.min()), float(values.max())
        if high <= low:
            return cls(np.array([low]), np.array([float(values.size)]))
        index = ((values - np.float32(low)) * np.float32(bins / (high - low))).astype(np.int32)
        np.minimum(index, bins - 1, out=index)
        counts = np.bincount(index.reshape(-1), minlength=bins).astype(np.float64)
        centres = low + (np.arange(bins) + 0.5) * (high - low) / bins
        return cls(centres[counts > 0], counts[counts > 0])


def map_of(value_range: ValueRange, channel: Channel) -> PositionMap:
    """Return the map of a range on a channel."""
    if value_range.start == value_range.stop == 0:
        return full_scale_map()
    return inverted_map(channel, value_range.start / PLACES, value_range.stop / PLACES)


def distortion(
    histogram: Histogram, value_range: ValueRange, moments_of_map: Moments
) -> tuple[float, float]:
    """Return squared bias and variance of one read, summed over the weights of a histogram."""
    bias, variance = _distortions(
        histogram, value_range.low, np.array([value_range.high]), _stacked([moments_of_map])
    )
    return float(bias[0, 0]), float(variance[0, 0])


def choose_range(
    histogram: Histogram, channel: Channel, *, signed: bool, reads: float = 1.0
) -> ValueRange:
    """Choose clipping, part of the response and its direction for the least expected distortion.

    Args:
        histogram: The values to store; at least 0 unless `signed`.
        channel: The law at the age to design for.
        signed: The range is symmetric about 0; otherwise it begins at the smallest value's floor
            of the histogram's class, taken as 0.
        reads: Cells averaged for each value, at least 1.
    """
    return choose_range_above(histogram, channel, low=None if signed else 0.0, reads=reads)


def choose_range_above(
    histogram: Histogram, channel: Channel, *, low: float | None, reads: float
) -> ValueRange:
    """Choose as `choose_range` does, for values from `low`; None for a symmetric range."""
    places, table = _candidates(channel)
    largest = float(np.abs(histogram.values).max())
    base = 0.0 if low is None else low
    if largest <= base:
        return ValueRange(base, base, 0, PLACES)
    clips = base + (largest - base) * np.linspace(1, CLIPS, CLIPS) / CLIPS
    bias, variance = _distortions(histogram, low, clips, table)
    total = bias + variance / reads
    which, clip = np.unravel_index(int(total.argmin()), total.shape)
    start, stop = places[int(which)]
    high = float(clips[clip])
    return ValueRange(-high if low is None else low, high, start, stop)


def _distortions(
    histogram: Histogram, low: float | None, highs: NDArray, table: Moments
) -> tuple[NDArray, NDArray]:
    """Return squared bias and variance, shape (maps, highs), summed over the histogram."""
    bias = np.empty((len(table.mean), len(highs)))
    variance = np.empty_like(bias)
    for i, high in enumerate(highs):
        start = -high if low is None else low
        width = max(high - start, 1e-30)
        position = np.clip((histogram.values - start) / width, 0, 1)
        index = np.rint(position * (GRID - 1)).astype(np.int64)
        # The grid is coarser than the histogram: take the bias relative to the exact position.
        offset = position - index / (GRID - 1)
        decoded = start + width * (table.mean[:, index] + offset)
        bias[:, i] = (decoded - histogram.values) ** 2 @ histogram.counts
        weight = np.bincount(index, histogram.counts, minlength=GRID)
        variance[:, i] = width**2 * (table.variance @ weight)
    return bias, variance


def _stacked(tables: list[Moments]) -> Moments:
    return Moments(
        np.stack([table.mean for table in tables]), np.stack([table.variance for table in tables])
    )


@lru_cache(maxsize=16)
def _candidates(channel: Channel) -> tuple[list[tuple[int, int]], Moments]:
    """Return every map over at least an eighth of the response, and their moments."""
    places = [
        (start, stop)
        for start in range(PLACES + 1)
        for stop in range(PLACES + 1)
        if abs(start - stop) >= PLACES // 8
    ]
    tables = [moments(inverted_map(channel, a / PLACES, b / PLACES), channel) for a, b in places]
    return places, _stacked(tables)
