"""A few levels that tell themselves apart best."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from softcell.channel.capacity import mutual_information
from softcell.channel.channel import Channel
from softcell.errors import InputError

Criterion = Literal["error", "information"]


@dataclass(frozen=True)
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
    information: float = field(compare=False)


def decisions(matrix: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the most likely symbol of each bin; (symbols, R) -> (R,).

    Bins that no symbol reaches take the decision of the nearest bin that one does.
    """
    best = matrix.argmax(axis=0)
    reached = np.flatnonzero(matrix.max(axis=0) > 0)
    bins = np.arange(matrix.shape[1])
    after = np.clip(np.searchsorted(reached, bins), 0, len(reached) - 1)
    before = np.maximum(after - 1, 0)
    left, right = reached[before], reached[after]
    return best[np.where(np.abs(bins - left) <= np.abs(right - bins), left, right)]


def constellation(channel: Channel, count: int, *, criterion: Criterion = "error") -> Constellation:
    """Choose `count` equiprobable levels by coordinate descent from several starts.

    Args:
        channel: The law to choose for.
        count: Number of levels, from 2 to the channel's.
        criterion: "error" for the least symbol error rate, "information" for the most mutual
            information.

    Raises:
        InputError: `count` is out of range.

    Example:
        >>> from softcell.channel.channel import channel_of
        >>> from softcell.devices import parse_device
        >>> constellation(channel_of(parse_device("ideal")), 2).levels.tolist()
        [0.0, 1.0]
    """
    if not 2 <= count <= len(channel.levels):
        raise InputError(f"a constellation needs 2 to {len(channel.levels)} levels, got {count}")
    key = (channel.matrix.tobytes(), channel.matrix.shape, count, criterion)
    chosen = np.array(_search(*key))
    chosen = chosen[np.argsort(channel.mean[chosen], kind="stable")]
    rows = channel.matrix[chosen]
    error = 1 - rows.max(axis=0).sum() / count
    bits = mutual_information(rows, np.full(count, 1 / count))
    return Constellation(chosen, channel.levels[chosen], max(float(error), 0.0), float(bits))


@lru_cache(maxsize=64)
def _search(data: bytes, shape: tuple[int, int], count: int, criterion: str) -> tuple[int, ...]:
    matrix = np.frombuffer(data).reshape(shape)
    best: tuple[float, list[int]] | None = None
    root = np.sqrt(matrix)
    overlap = root @ root.T  # Bhattacharyya: what two levels confuse, smooth where errors vanish
    for start in _starts(overlap, count):
        chosen = list(start)
        for cost in (_overlap_costs(overlap), _costs(matrix, criterion, overlap)):
            chosen = _descend(chosen, cost, shape[0])
        value = float(_costs(matrix, criterion, overlap)(chosen[:-1], np.array([chosen[-1]]))[0])
        if best is None or value < best[0] - 1e-12:
            best = (value, chosen)
    if best is None:
        raise InputError("no start for the search of a constellation")
    return tuple(best[1])


def _starts(overlap: NDArray, count: int) -> list[list[int]]:
    """Begin at each of a few levels and add the level least confused with those chosen."""
    starts = []
    for first in np.linspace(0, len(overlap) - 1, 6).astype(int):
        chosen = [int(first)]
        while len(chosen) < count:
            worst = overlap[:, chosen].max(axis=1)
            worst[chosen] = np.inf
            chosen.append(int(worst.argmin()))
        starts.append(chosen)
    starts.append([int(i) for i in np.linspace(0, len(overlap) - 1, count)])
    return starts


def _overlap_costs(overlap: NDArray):
    def costs(others: list[int], candidates: NDArray) -> NDArray:
        rows = overlap[np.ix_(candidates, others)].sum(axis=1)
        return rows + 1e3 * np.isin(candidates, others)

    return costs


def _costs(matrix: NDArray, criterion: str, overlap: NDArray):
    """Cost of the others with each candidate, shape (candidates,); overlaps break ties."""

    def costs(others: list[int], candidates: NDArray) -> NDArray:
        count = len(others) + 1
        tie = 1e-9 * overlap[np.ix_(candidates, others)].sum(axis=1)
        if criterion == "error":
            top = matrix[others].max(axis=0)
            return 1 - np.maximum(matrix[candidates], top).sum(axis=1) / count + tie
        output = (matrix[others].sum(axis=0) + matrix[candidates]) / count
        noise = _entropy(matrix[others]).sum() + _entropy(matrix[candidates])
        return -(_entropy(output) - noise / count) + tie

    return costs


def _entropy(rows: NDArray) -> NDArray:
    return -(rows * np.log2(np.where(rows > 0, rows, 1))).sum(axis=-1)


def _descend(chosen: list[int], costs, levels: int, sweeps: int = 60) -> list[int]:
    candidates = np.arange(levels)
    for _ in range(sweeps):
        before = list(chosen)
        for place in range(len(chosen)):
            others = chosen[:place] + chosen[place + 1 :]
            now = costs(others, np.array([chosen[place]]))[0]
            values = costs(others, candidates)
            if values.min() < now - 1e-14:
                chosen[place] = int(values.argmin())
        if chosen == before:
            break
    return chosen
