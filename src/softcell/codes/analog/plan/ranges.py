"""Ranges of an analog code for a tensor, and the distortion to expect of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from softcell.bfloat16 import ceiling
from softcell.channel import Channel
from softcell.codes.analog.position_map import moments
from softcell.codes.analog.value_range import (
    PLACES,
    Histogram,
    ValueRange,
    choose_range_above,
    distortion,
    map_of,
    nearest_reads,
)
from softcell.codes.schemes import Scheme

LARGE_FRACTIONS = (0.05, 0.1, 0.2, 0.35)
"""Shares of the weights that may form the class of large ones."""

LARGE_CELLS = 2
"""A large weight gets this many times the cells of a small one."""


@dataclass(frozen=True, eq=False)
class TensorRanges:
    """Ranges of a tensor and what one read of a weight costs in each of them.

    Args:
        ranges: Range of each class.
        share: Part of the stored weights in each class, shape (ranges,).
        bias: Expected squared bias of one weight of each class, same shape.
        variance: Expected variance of one weight of each class and one cell, same shape; r cells
            have about 1/r of it.
    """

    ranges: tuple[ValueRange, ...]
    share: NDArray[np.float64] = field(repr=False)
    bias: NDArray[np.float64] = field(repr=False)
    variance: NDArray[np.float64] = field(repr=False)

    def expected(self, reads: float) -> float:
        """Return the squared error of one weight; small weights get `reads` cells."""
        cells = reads * class_cells(len(self.ranges))
        return float(self.share @ (self.bias + self.variance / cells))


def class_cells(ranges: int) -> NDArray[np.float64]:
    """Return the cells of each class in units of the first class's."""
    return np.array([1.0, LARGE_CELLS][:ranges])


def tensor_ranges(
    magnitudes: Histogram, scheme: Scheme, channel: Channel, *, reads: float, large: float = 0.0
) -> TensorRanges:
    """Choose the ranges of a tensor.

    Args:
        magnitudes: Sizes of the tensor's weights that are stored in cells.
        scheme: Protections of the analog code.
        channel: The law at the age to design for.
        reads: Cells averaged for a weight (for a small one, where there are large ones).
        large: Share of the weights to give a range of their own; 0 for one range.
    """
    if large > 0 and magnitudes.counts.sum() > 0:
        threshold = ceiling(_quantile(magnitudes, 1 - large))
        if 0 < threshold < magnitudes.values.max():
            below = magnitudes.values <= threshold
            parts = [
                Histogram(magnitudes.values[side], magnitudes.counts[side])
                for side in (below, ~below)
            ]
            first = _range(parts[0], scheme, channel, 0.0, reads, threshold)
            second = _range(parts[1], scheme, channel, threshold, reads * LARGE_CELLS)
            return _costs([first, second], parts, channel, reads)
    low = 0.0 if scheme.has("sign") else None
    values = magnitudes if scheme.has("sign") else _symmetric(magnitudes)
    return _costs([_range(values, scheme, channel, low, reads)], [values], channel, reads)


def choose_large(
    magnitudes: Histogram,
    scheme: Scheme,
    channel: Channel,
    *,
    cells_per_weight: float,
    bits_per_cell: float,
) -> float:
    """Choose the share of large weights that leaves the least distortion for the same cells.

    The mask that says which weights are large is paid for from the same budget.

    Args:
        magnitudes: Sizes of the weights over all tensors, each in units of its tensor's deviation.
        scheme: Protections of the analog code.
        channel: The law at the age to design for.
        cells_per_weight: Cells for each weight and its place in the mask.
        bits_per_cell: Error-free bits in a cell.
    """
    best, best_cost = 0.0, np.inf
    for large in (0.0, *LARGE_FRACTIONS):
        mask = binary_entropy(large) / bits_per_cell
        reads = (cells_per_weight - mask) / (1 + large * (LARGE_CELLS - 1))
        if large and reads < 1:
            continue
        reads = max(reads, 1.0)
        chosen = tensor_ranges(magnitudes, scheme, channel, reads=reads, large=large)
        cost = chosen.expected(reads)
        if cost < best_cost * (1 - 1e-9):
            best, best_cost = large, cost
    return best


def binary_entropy(share: float) -> float:
    """Return the bits that tell whether an event of this probability happened."""
    if not 0 < share < 1:
        return 0.0
    return float(-share * np.log2(share) - (1 - share) * np.log2(1 - share))


def _range(
    values: Histogram,
    scheme: Scheme,
    channel: Channel,
    low: float | None,
    reads: float,
    high: float | None = None,
) -> ValueRange:
    """Return the range of some values from `low` (None: symmetric), to `high` if that is given."""
    if scheme.has("adaptive"):
        chosen = choose_range_above(values, channel, low=low, reads=reads, high=high)
    else:
        largest = float(np.abs(values.values).max()) if high is None else high
        places = (0, PLACES) if scheme.has("inversion") else (0, 0)
        chosen = ValueRange(0.0, max(largest, low or 0.0), *places)
    high = ceiling(chosen.high)
    return replace(chosen, low=-high if low is None else low, high=high)


def _costs(
    ranges: list[ValueRange], parts: list[Histogram], channel: Channel, reads: float
) -> TensorRanges:
    counts = np.array([part.counts.sum() for part in parts])
    each = np.array(
        [
            distortion(h, r, moments(map_of(r, channel), channel, nearest_reads(reads * cells)))
            for h, r, cells in zip(parts, ranges, class_cells(len(ranges)))
        ]
    )
    per_weight = each / np.maximum(counts, 1)[:, None]
    share = counts / max(counts.sum(), 1)
    return TensorRanges(tuple(ranges), share, per_weight[:, 0], per_weight[:, 1])


def _symmetric(magnitudes: Histogram) -> Histogram:
    """Return signed values: either sign is taken to be equally likely."""
    values = np.concatenate([-magnitudes.values[::-1], magnitudes.values])
    counts = np.concatenate([magnitudes.counts[::-1], magnitudes.counts]) / 2
    return Histogram(values, counts)


def _quantile(histogram: Histogram, share: float) -> float:
    cumulative = np.cumsum(histogram.counts) / histogram.counts.sum()
    return float(
        histogram.values[min(int(np.searchsorted(cumulative, share)), len(cumulative) - 1)]
    )
