"""A few levels that tell themselves apart best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from softcell.channel.capacity import mutual_information
from softcell.channel.channel import Channel
from softcell.errors import InputError

Criterion = Literal["error", "information"]
_TIE = 1e-12  # what two choices may differ by and still count as equally good
_Costs = Callable[[list[int]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Constellation:
    """Levels used with equal probability, ordered by their mean reading.

    Args:
        indices: Indices of the levels in the channel, shape (M,).
        levels: The levels in [0, 1], shape (M,).
        symbol_error_rate: P(most likely level of the reading is not the written one).
        information: Mutual information in bits per cell.
    """

    indices: NDArray[np.int64]
    levels: NDArray[np.float64]
    symbol_error_rate: float
    information: float


def decisions(matrix: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the most likely symbol of each bin; (symbols, R) -> (R,).

    Bins that no symbol reaches take the decision of the nearest bin that one does.
    """
    best: NDArray[np.int64] = matrix.argmax(axis=0)
    reached = np.flatnonzero(matrix.max(axis=0) > 0)
    bins = np.arange(matrix.shape[1])
    after = np.clip(np.searchsorted(reached, bins), 0, len(reached) - 1)
    before = np.maximum(after - 1, 0)
    left, right = reached[before], reached[after]
    return best[np.where(np.abs(bins - left) <= np.abs(right - bins), left, right)]


def constellation(channel: Channel, count: int, *, criterion: Criterion = "error") -> Constellation:
    """Choose `count` equiprobable levels by coordinate descent from several starts.

    Of choices that are equally good, as where noise is far too weak to confuse so few levels,
    the one whose readings lie furthest apart is taken.

    Args:
        channel: The law to choose for.
        count: Number of levels, from 2 to the channel's.
        criterion: "error" for the least symbol error rate, "information" for the most mutual
            information.

    Raises:
        InputError: `count` is out of range, or the criterion unknown.

    Example:
        >>> from softcell.channel.channel import channel_of
        >>> from softcell.devices import parse_device
        >>> constellation(channel_of(parse_device("ideal")), 2).levels.tolist()
        [0.0, 1.0]
    """
    if not 2 <= count <= len(channel.levels):
        raise InputError(f"a constellation needs 2 to {len(channel.levels)} levels, got {count}")
    if criterion not in get_args(Criterion):
        raise InputError(f"criterion must be error or information, got {criterion!r}")
    chosen = np.array(
        _search(channel.matrix.tobytes(), channel.readings.tobytes(), count, criterion)
    )
    chosen = chosen[np.argsort(channel.mean[chosen], kind="stable")]
    rows = channel.matrix[chosen]
    error = 1 - rows.max(axis=0).sum() / count
    bits = mutual_information(rows, np.full(count, 1 / count))
    return Constellation(chosen, channel.levels[chosen], max(float(error), 0.0), float(bits))


@lru_cache(maxsize=64)
def _search(
    matrix_data: bytes, readings_data: bytes, count: int, criterion: str
) -> tuple[int, ...]:
    readings = np.frombuffer(readings_data)
    matrix = np.frombuffer(matrix_data).reshape(-1, len(readings))
    overlap = _overlap(matrix_data, len(readings))
    mean = matrix @ readings
    deviation = np.sqrt(np.maximum(matrix @ readings**2 - mean**2, 0)) + np.diff(readings).mean()
    confusion, goal = _overlap_costs(overlap), _costs(matrix, criterion, overlap)
    found = []
    for start in _starts(overlap, mean, count):
        chosen = _descend(_descend(start, confusion), goal)
        value = float(goal(chosen[:-1])[chosen[-1]])
        found.append((value, -_separation(mean, deviation, chosen), chosen))
    least = min(value for value, _, _ in found)
    return tuple(min((f for f in found if f[0] <= least + _TIE), key=lambda f: f[1])[2])


@lru_cache(maxsize=4)
def _overlap(matrix_data: bytes, bins: int) -> NDArray[np.float64]:
    """Return Bhattacharyya's measure of what two levels confuse, smooth where errors vanish."""
    root = np.sqrt(np.frombuffer(matrix_data).reshape(-1, bins))
    return root @ root.T


def _starts(overlap: NDArray[np.float64], mean: NDArray[np.float64], count: int) -> list[list[int]]:
    """Begin at each of a few levels and add the level least confused with those chosen.

    Two more starts are spaced evenly, by level and by mean reading.
    """
    starts = []
    for first in np.linspace(0, len(overlap) - 1, 6).astype(int):
        chosen = [int(first)]
        while len(chosen) < count:
            worst = overlap[:, chosen].max(axis=1)
            worst[chosen] = np.inf
            chosen.append(int(worst.argmin()))
        starts.append(chosen)
    starts.append([int(i) for i in np.linspace(0, len(overlap) - 1, count)])
    even: list[int] = []
    for target in np.linspace(mean.min(), mean.max(), count):
        distance = np.abs(mean - target)
        distance[even] = np.inf
        even.append(int(distance.argmin()))
    return [*starts, even]


def _separation(
    mean: NDArray[np.float64], deviation: NDArray[np.float64], chosen: list[int]
) -> float:
    """Return the least distance of neighbouring readings, in their standard deviations."""
    order = np.array(chosen)[np.argsort(mean[chosen])]
    return float((np.diff(mean[order]) / (deviation[order][1:] + deviation[order][:-1])).min())


def _overlap_costs(overlap: NDArray[np.float64]) -> _Costs:
    """Cost of some levels with one more, shape (levels,): what that one shares with them."""

    def costs(others: list[int]) -> NDArray[np.float64]:
        shared: NDArray[np.float64] = overlap[:, others].sum(axis=1)
        return shared

    return costs


def _costs(matrix: NDArray[np.float64], criterion: str, overlap: NDArray[np.float64]) -> _Costs:
    """Cost of some levels with one more, shape (levels,): the criterion; overlaps break ties."""
    entropy = _entropy(matrix)

    def error(others: list[int]) -> NDArray[np.float64]:
        right: NDArray[np.float64] = np.maximum(matrix, matrix[others].max(axis=0)).sum(axis=1)
        return 1 - right / (len(others) + 1)

    def lost_information(others: list[int]) -> NDArray[np.float64]:
        count = len(others) + 1
        output = _entropy((matrix[others].sum(axis=0) + matrix) / count)
        lost: NDArray[np.float64] = (entropy[others].sum() + entropy) / count - output
        return lost

    main = error if criterion == "error" else lost_information
    known: dict[tuple[int, ...], NDArray[np.float64]] = {}

    def costs(others: list[int]) -> NDArray[np.float64]:
        # Starts end in the same few choices, which are then weighed over and over.
        if tuple(others) not in known:
            known[tuple(others)] = main(others) + 1e-9 * overlap[:, others].sum(axis=1)
        return known[tuple(others)].copy()

    return costs


def _entropy(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    bits: NDArray[np.float64] = -(rows * np.log2(np.where(rows > 0, rows, 1))).sum(axis=-1)
    return bits


def _descend(start: list[int], costs: _Costs, sweeps: int = 60) -> list[int]:
    chosen = list(start)
    for _ in range(sweeps):
        before = list(chosen)
        for place, now in enumerate(before):
            others = chosen[:place] + chosen[place + 1 :]
            values = costs(others)
            values[others] = np.inf
            if values.min() < values[now] - 1e-14:
                chosen[place] = int(values.argmin())
        if chosen == before:
            break
    return chosen
