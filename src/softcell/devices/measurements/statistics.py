"""Statistics of readings by input and cell, and whether inputs can be told apart by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softcell.errors import InputError

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """Means and deviations of the readings at each input, each of shape (levels,).

    Args:
        mean: Mean reading.
        deviation: Standard deviation within one cell.
        spread: Standard deviation of the cells' means; zeros for one cell.
        group: Place of each row among the pairs of cell and level, shape (rows,).
        pooled: Whether cells were not told apart, because they share no inputs.
    """

    mean: _Floats
    deviation: _Floats
    spread: _Floats
    group: NDArray[np.int64]
    pooled: bool


def statistics(
    values: _Floats,
    place: NDArray[np.int64],
    inputs: _Floats,
    labels: Sequence[str] | None,
    where: str,
) -> Statistics:
    """Return the statistics of readings.

    Args:
        values: Readings, shape (rows,).
        place: Level of each, same shape.
        inputs: Input of each level, for messages, shape (levels,).
        labels: Name of each reading's cell; None for one cell.
        where: File, for messages.

    Raises:
        InputError: A cell has fewer than two readings at an input, where cells are told apart.
    """
    levels = len(inputs)
    names, row = numbered(labels if labels is not None else [""] * len(place))
    pairs, group, count = np.unique(row * levels + place, return_inverse=True, return_counts=True)
    pooled = bool(len(names) > 1 and 2 * (count < 2).sum() >= len(pairs)) or (
        len(names) > 1 and 2 * len(pairs) <= len(names) * levels
    )
    if pooled:
        names, pairs, group = names[:1], np.arange(levels), place
        count = np.bincount(place)
    elif len(pairs) < len(names) * levels or count.min() < 2:
        _refuse(pairs, count, names, inputs, where)
    mean = np.bincount(group, values) / count
    square = np.bincount(group, (values - mean[group]) ** 2)
    shape = (len(names), levels)
    weight, mean, square = count.reshape(shape), mean.reshape(shape), square.reshape(shape)
    centre = np.average(mean, axis=0, weights=weight)
    spread = np.sqrt(np.average((mean - centre) ** 2, axis=0, weights=weight))
    deviation = np.sqrt(square.sum(axis=0) / (weight - 1).sum(axis=0))
    return Statistics(centre, deviation, spread, group, pooled)


def _refuse(
    pairs: NDArray[np.int64],
    count: NDArray[np.int64],
    names: Sequence[str],
    inputs: _Floats,
    where: str,
) -> None:
    single = pairs[count < 2]
    absent = np.setdiff1d(np.arange(len(names) * len(inputs)), pairs)[:1]
    first = int(min([*single[:1], *absent]))
    rows = 0 if first in absent else 1
    raise InputError(
        f"{where}: input {inputs[first % len(inputs)]:g} of device {names[first // len(inputs)]} "
        f"has {rows} rows; every input needs at least two, for every device (take the column of "
        "the devices out to fit them as one)"
    )


def numbered(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return different texts in the order in which they come, and the place of each, (rows,)."""
    places: dict[str, int] = {}
    row = [places.setdefault(text, len(places)) for text in texts]
    return list(places), np.array(row, np.int64)


def explained(values: _Floats, group: NDArray[np.int64]) -> tuple[float, float]:
    """Return what share of the variance lies between groups, and the chance of seeing as much.

    omega^2 = (SSB - (k-1) MSW) / (SST + MSW), and the tail of the F distribution for MSB / MSW,
    as if readings were normal and groups did not matter.

    Args:
        values: Readings, shape (rows,).
        group: Group of each, 0 to k-1, same shape.
    """
    from scipy.special import fdtrc

    count = np.bincount(group)
    count = count[count > 0]
    rows, groups = len(values), len(count)
    if groups < 2 or rows <= groups:
        return 0.0, 1.0
    centre = values - values.mean()
    sums = np.bincount(group, centre)
    between = float((sums[np.bincount(group) > 0] ** 2 / count).sum())
    total = float((centre**2).sum())
    within = max(total - between, 0.0) / (rows - groups)
    if within <= 1e-18 * total:
        return (1.0, 0.0) if total > 0 else (0.0, 1.0)
    share = (between - (groups - 1) * within) / (total + within)
    return share, float(fdtrc(groups - 1, rows - groups, between / (groups - 1) / within))


def separation(mean: _Floats, deviation: _Floats) -> float:
    """Return the largest distance of two levels' means in units of their root mean variance."""
    square = deviation**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return max(
            float(np.nanmax(np.abs(mean - mean[k]) / np.sqrt((square + square[k]) / 2)))
            for k in range(len(mean))
        )
