"""Which values a cell's range stands for, chosen by the expected distortion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel
from softcell.codes.analog.position_map import (
    GRID,
    PositionMap,
    PositionMoments,
    full_scale_map,
    inverted_map,
    moments,
)

PLACES = 16
"""Places between the ends of the response where a map may start or stop: sixteenths."""

_CLIPS_PER_OCTAVE = (2, 16)
"""Clipping points tried for each halving of the range: everywhere, then around the best."""

_BINS = 1 << 14
"""Bins of a histogram: what 14 bits of a float32 tell apart."""

_RUN = 1 << 18
"""Values counted at a time."""


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


@dataclass(frozen=True)
class Histogram:
    """Values and how often they occur.

    Args:
        values: Values, increasing, shape (bins,); the first and last are the extremes.
        counts: Number of weights of each, same shape.
    """

    values: NDArray[np.float64] = field(repr=False)
    counts: NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(cls, values: NDArray[np.floating], *, magnitudes: bool = False) -> Histogram:
        """Count finite values in 32 bins an octave, each bin at the mean of its values.

        Bins follow the size of the values, so that one enormous weight leaves the others told
        apart.

        Args:
            values: Values, any shape.
            magnitudes: Count their sizes.

        Example:
            >>> Histogram.of(np.array([0.5, -2.0, 0.5, 0.0], np.float32)).values.tolist()
            [-2.0, 0.0, 0.5]
        """
        flat = values.reshape(-1)
        if flat.size == 0:
            return cls(np.zeros(1), np.zeros(1))
        counts, sums = np.zeros(_BINS), np.zeros(_BINS)
        low, high = np.inf, -np.inf
        for start in range(0, flat.size, _RUN):
            part = np.ascontiguousarray(flat[start : start + _RUN], np.float32)
            part = np.abs(part) if magnitudes else part
            index = _bins(part)
            counts += np.bincount(index, minlength=_BINS)
            sums += np.bincount(index, part, minlength=_BINS)
            low, high = min(low, float(part.min())), max(high, float(part.max()))
        return cls(*_with_extremes(*_means(counts, sums), low, high))

    @classmethod
    def pooled(cls, histograms: Sequence[Histogram]) -> Histogram:
        """Return the histogram of all values of several histograms together."""
        values = np.concatenate([np.zeros(0), *(h.values for h in histograms)])
        counts = np.concatenate([np.zeros(0), *(h.counts for h in histograms)])
        if counts.sum() == 0:
            return cls(np.zeros(1), np.zeros(1))
        index = _bins(values.astype(np.float32))
        total = np.bincount(index, counts, minlength=_BINS).astype(np.float64)
        sums = np.bincount(index, values * counts, minlength=_BINS).astype(np.float64)
        return cls(*_means(total, sums))

    def with_zeros(self, zeros: int) -> Histogram:
        """Return the histogram of these values, all positive, and so many zeros."""
        if zeros == 0:
            return self
        some = self.counts > 0
        return Histogram(
            np.append(0.0, self.values[some]), np.append(float(zeros), self.counts[some])
        )


def _bins(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return sign, exponent and five bits of the mantissa as one number."""
    return values.view(np.uint32) >> np.uint32(18)


def _means(
    counts: NDArray[np.float64], sums: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean value of each bin that is used, increasing, and its count."""
    used = np.flatnonzero(counts)
    centres = sums[used] / counts[used]
    order = np.argsort(centres)
    return centres[order], counts[used][order]


def _with_extremes(
    centres: NDArray[np.float64], counts: NDArray[np.float64], low: float, high: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the smallest and the largest value an entry of their own."""
    for end, extreme in ((0, low), (-1, high)):
        if counts[end] > 1 and centres[end] != extreme:
            rest = (centres[end] * counts[end] - extreme) / (counts[end] - 1)
            centres[end], counts[end] = min(max(rest, low), high), counts[end] - 1
            at = 0 if end == 0 else len(centres)
            centres, counts = np.insert(centres, at, extreme), np.insert(counts, at, 1.0)
    return centres, counts


def map_of(value_range: ValueRange, channel: Channel) -> PositionMap:
    """Return the map of a range on a channel."""
    if value_range.start == value_range.stop == 0:
        return full_scale_map()
    return inverted_map(channel, value_range.start / PLACES, value_range.stop / PLACES)


_READS = (1, 2, 3, 4, 6, 8, 11, 15)
"""Numbers of averaged cells for which moments are computed."""


def nearest_reads(reads: float) -> int:
    """Return the number of cells, of those that moments are computed for, that is nearest.

    Example:
        >>> [nearest_reads(r) for r in (1.0, 1.3, 1.6, 9.0, 200.0)]
        [1, 1, 2, 8, 15]
    """
    return min(_READS, key=lambda known: abs(np.log(known / reads)))


def distortion(
    histogram: Histogram, value_range: ValueRange, moments_of_map: PositionMoments
) -> tuple[float, float]:
    """Return squared bias and variance, summed over the weights of a histogram.

    The variance is that of one cell: r averaged cells have 1/r of it.
    """
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
        signed: The range is symmetric about 0; otherwise it begins at 0.
        reads: Cells averaged for each value, at least 1.
    """
    return choose_range_above(histogram, channel, low=None if signed else 0.0, reads=reads)


def choose_range_above(
    histogram: Histogram,
    channel: Channel,
    *,
    low: float | None,
    reads: float,
    high: float | None = None,
) -> ValueRange:
    """Choose as `choose_range` does, for values from `low`; None for a symmetric range.

    Args:
        histogram: The values to store.
        channel: The law at the age to design for.
        low: Value at position 0.
        reads: Cells averaged for each value, at least 1.
        high: Value at position 1, where only the map is to be chosen.
    """
    places, table = _candidates(channel, nearest_reads(reads))
    base = 0.0 if low is None else low
    largest = float(np.abs(histogram.values).max()) if high is None else high
    if largest <= base:
        return ValueRange(base, base, 0, PLACES)

    def cheapest(clips: NDArray[np.float64]) -> tuple[float, int, float]:
        bias, variance = _distortions(histogram, low, clips, table)
        total = bias + variance / reads
        which, clip = np.unravel_index(int(total.argmin()), total.shape)
        return float(total[which, clip]), int(which), float(clips[clip])

    if high is not None:
        _, which, clip = cheapest(np.array([high]))
    else:
        coarse, fine = _CLIPS_PER_OCTAVE
        octaves = np.arange(0, _octaves_of_clips(histogram, base, largest), 1 / coarse)
        best = cheapest(base + (largest - base) * 2.0**-octaves)
        around = np.arange(1 - fine // coarse, fine // coarse) / fine
        near = np.minimum(base + (best[2] - base) * 2.0**around, largest)
        _, which, clip = min(best, cheapest(near))
    start, stop = places[which]
    return ValueRange(-clip if low is None else base, clip, start, stop)


def _octaves_of_clips(histogram: Histogram, base: float, largest: float) -> float:
    """Return how often the range may be halved before it clips most of the values that count."""
    size = np.abs(histogram.values) - base
    order = np.argsort(size)
    size, counts = size[order], np.where(size[order] > 0, histogram.counts[order], 0)
    middle = size[int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))]
    return min(max(float(np.log2((largest - base) / max(middle, 1e-300))) + 2, 1.0), 40.0)


def _distortions(
    histogram: Histogram, low: float | None, highs: NDArray[np.float64], table: PositionMoments
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return squared bias and variance, shape (maps, highs), summed over the histogram."""
    bias = np.empty((len(table.mean), len(highs)))
    variance = np.empty_like(bias)
    for i, high in enumerate(highs):
        start = -high if low is None else low
        width = max(high - start, 1e-300)
        position = np.clip((histogram.values - start) / width, 0, 1)
        index = np.rint(position * (GRID - 1)).astype(np.int64)
        # The grid is coarser than the histogram: take the bias relative to the exact position.
        offset = position - index / (GRID - 1)
        decoded = start + width * (table.mean[:, index] + offset)
        bias[:, i] = ((decoded - histogram.values) ** 2 * histogram.counts).sum(axis=1)
        weight = np.bincount(index, histogram.counts, minlength=GRID)
        variance[:, i] = width**2 * (table.variance @ weight)
    return bias, variance


def _stacked(tables: list[PositionMoments]) -> PositionMoments:
    return PositionMoments(
        np.stack([table.mean for table in tables]), np.stack([table.variance for table in tables])
    )


@lru_cache(maxsize=32)
def _candidates(channel: Channel, reads: int) -> tuple[list[tuple[int, int]], PositionMoments]:
    """Return every map over at least an eighth of the response, and their moments."""
    places = [
        (start, stop)
        for start in range(PLACES + 1)
        for stop in range(PLACES + 1)
        if abs(start - stop) >= PLACES // 8
    ]
    tables = [
        moments(inverted_map(channel, a / PLACES, b / PLACES), channel, reads) for a, b in places
    ]
    return places, _stacked(tables)
