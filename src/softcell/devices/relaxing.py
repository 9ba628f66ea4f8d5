"""Resistive memory that relaxes after programming, known by measurements of thousands of cells."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from softcell.compiled import compiled
from softcell.devices.device import Axis, Cells, checked_levels, shortest
from softcell.devices.mixture import clipped_at_zero, mixture_law
from softcell.devices.relaxation import (
    REACH,
    SCORES,
    STEPS,
    Relaxation,
    change_table,
    relaxation,
    start_table,
)
from softcell.errors import InputError
from softcell.streams import Stream

# Knots between which a law has one slice of the normal score. Programming ends within a narrow
# range: what lies far out needs few.
_CHANGE_SLICES = np.unique([0, 7, 121, 128, *range(14, 115, 2), *range(44, 85)])
_START_SLICES = np.unique([0, 128, *range(34, 95, 5), *range(44, 85)])
_BLOCK = 64  # levels that a law is made of at a time, for little memory
_TAIL = 5.0  # 3e-7 of the cells lie beyond this score on either side


@compiled()
def _displace(levels, scores, table, out):
    """Add to `out` what a table over evenly spaced levels and scores says of each cell."""
    ranges, knots = table.shape
    for i in range(levels.size):
        position = levels[i] * np.float32(ranges - 1)
        k = min(int(position), ranges - 2)
        part = position - np.float32(k)
        score = (scores[i] + np.float32(REACH)) * np.float32(STEPS)
        j = min(max(int(score), 0), knots - 2)
        rest = score - np.float32(j)
        low = table[k, j] + rest * (table[k, j + 1] - table[k, j])
        high = table[k + 1, j] + rest * (table[k + 1, j + 1] - table[k + 1, j])
        out[i] += low + part * (high - low)


def _at(table: NDArray[np.float64], levels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the rows of a table at levels in [0, 1], shape (levels, knots)."""
    position = np.asarray(levels, np.float64) * (len(table) - 1)
    k = np.minimum(position.astype(np.int64), len(table) - 2)
    rows: NDArray[np.float64] = table[k] + (position - k)[:, None] * (table[k + 1] - table[k])
    return rows


def _slices(
    rows: NDArray[np.float64], edges: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation, each (levels, slices), and probability of slices of a score.

    Within a slice a row is straight, and the score normal between two ends.
    """
    from scipy.special import ndtr

    first, last = SCORES[edges[:-1]], SCORES[edges[1:]]
    side = np.where(first < 0, 1.0, -1.0)  # upper slices from below, where tails are precise
    low, high = np.minimum(side * first, side * last), np.maximum(side * first, side * last)
    weight = ndtr(high) - ndtr(low)
    density_low, density_high = (np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi) for x in (low, high))
    mean = (density_low - density_high) / weight
    variance = 1 + (low * density_low - high * density_high) / weight - mean**2
    at = rows[:, edges]
    slope = np.diff(at, axis=1) / (last - first)
    centre = at[:, :-1] + slope * (side * mean - first)
    return centre, np.abs(slope) * np.sqrt(variance), weight / weight.sum()


@dataclass(frozen=True)
class RelaxingCell:
    """Resistive cell, programmed with verification to a conductance, that relaxes with time.

    g(t) = g_T + S(z_0) + D(z(t), t) + read noise, between 0 and the highest reading but for the
    noise. S is where the read that ended programming (age 0) found the cell, D the change since
    then. Both are measured quantiles over a normal score, by the range of conductance that a cell
    was programmed into, with straight lines between the middles of the ranges. A cell draws z_0 and
    a score for each measured time at writing and keeps them; with their correlations changes are
    correlated in time as the measured ones are. Between the measured times quantiles and scores go
    straight in ln t. Before the first the change grows as t does; beyond the last it goes on as
    between one second and the last, with the last score, which is extrapolation.

    Beyond 2.3 % on either side quantiles are those of an exponential distribution with the mean
    excess of the readings. 16,000 cells do not show what lies beyond one in 5,000: there the law is
    this assumption.

    Args:
        read_noise: Standard deviation of a read in uS, at least 0. The default is the bound that
            the measurements give: the change within 10 ms of the quietest range holds two reads.

    Raises:
        InputError: The read noise is negative or larger than the range of conductances.
    """

    kind: ClassVar[str]
    read_noise: float

    def __post_init__(self) -> None:
        if not 0 <= self.read_noise < self._data.g_max:
            raise InputError(
                f"{self.kind}: read_noise in uS must lie in [0, {shortest(self._data.g_max)}), "
                f"got {self.read_noise}"
            )

    @property
    def _data(self) -> Relaxation:
        return relaxation(self.kind)

    @property
    def name(self) -> str:
        same = self.read_noise == self._data.read_noise
        return self.kind if same else f"{self.kind}:read_noise={shortest(self.read_noise)}"

    @property
    def source(self) -> str:
        return self._data.source

    @property
    def measured_seconds(self) -> float:
        """Age up to which the cells were measured."""
        return float(self._data.times[-1])

    @property
    def level_axis(self) -> Axis:
        half = self._data.g_max / (2 * len(self._data.start))
        return Axis("target conductance", "uS", half, self._data.g_max - half)

    @property
    def reading_axis(self) -> Axis:
        return Axis("conductance", "uS", 0.0, 1.0)

    def write(self, levels: NDArray[np.float32], *, stream: Stream) -> Cells:
        levels = checked_levels(levels)
        axis, count = self.level_axis, len(levels)
        conductance = levels * np.float32(axis.high - axis.low) + np.float32(axis.low)
        start = start_table(self._data, self.read_noise).astype(np.float32)
        _displace(levels, stream.normal(count), start, conductance)
        np.clip(conductance, 0, self._data.highest, out=conductance)
        factor = np.linalg.cholesky(self._data.correlation).astype(np.float32)
        drawn = [stream.normal(count, draw=1 + i) for i in range(len(factor))]
        scores = {}
        for i, row in enumerate(factor):
            scores[f"score_{i}"] = score = drawn[i] * row[i]
            for j in range(i):
                score += drawn[j] * row[j]
        return Cells({"conductance": conductance, "target": levels, **scores})

    def age(self, cells: Cells, seconds: float) -> Cells:
        return cells.aged(seconds)

    def _score(self, cells: Cells) -> NDArray[np.float32]:
        """Return the cells' normal scores at their age, shape (cells,)."""
        first, second, part = self._data.between(cells.age_seconds)
        if first == second or part >= 1:
            return cells.state[f"score_{second}"]
        together = 2 * part * (1 - part) * self._data.correlation[first, second]
        norm = np.sqrt((1 - part) ** 2 + part**2 + together)
        score: NDArray[np.float32] = cells.state[f"score_{first}"] * np.float32((1 - part) / norm)
        score += cells.state[f"score_{second}"] * np.float32(part / norm)
        return score

    def read(self, cells: Cells, *, stream: Stream) -> NDArray[np.float32]:
        noise = stream.normal(len(cells))
        noise *= np.float32(self.read_noise)
        if cells.age_seconds == 0:
            noise += cells.state["conductance"]
            return noise
        conductance = cells.state["conductance"].copy()
        change = change_table(self._data, self.read_noise, cells.age_seconds).astype(np.float32)
        _displace(cells.state["target"], self._score(cells), change, conductance)
        noise += np.clip(conductance, 0, self._data.highest, out=conductance)
        return noise

    def span(self, age_seconds: float) -> tuple[float, float]:
        axis, kept = self.level_axis, np.abs(SCORES) <= _TAIL
        target = np.linspace(axis.low, axis.high, len(self._data.start))
        start = start_table(self._data, self.read_noise)
        change = change_table(self._data, self.read_noise, age_seconds)[:, kept]
        low = float((target + start.min(axis=1) + change.min(axis=1)).min())
        high = float((target + start.max(axis=1) + change.max(axis=1)).max())
        noise = 5 * self.read_noise
        return max(low, 0.0) - noise, min(high, self._data.highest) + noise

    def law(
        self, levels: NDArray[np.float64], edges: NDArray[np.float64], age_seconds: float
    ) -> NDArray[np.float64]:
        blocks = np.array_split(levels, range(_BLOCK, len(levels), _BLOCK))
        law = np.concatenate([self._law(block, edges, age_seconds) for block in blocks])
        return law if self.read_noise else clipped_at_zero(law, edges)

    def _law(
        self, levels: NDArray[np.float64], edges: NDArray[np.float64], age_seconds: float
    ) -> NDArray[np.float64]:
        start = _at(start_table(self._data, self.read_noise), levels)
        start += self.level_axis.to_unit(levels)[:, None]
        if age_seconds == 0:
            mean, deviation, weight = _slices(start, np.arange(len(SCORES)))
        else:
            change = _at(change_table(self._data, self.read_noise, age_seconds), levels)
            a, a_deviation, a_weight = _slices(start, _START_SLICES)
            b, b_deviation, b_weight = _slices(change, _CHANGE_SLICES)
            mean = (a[:, :, None] + b[:, None]).reshape(len(levels), -1)
            deviation = np.hypot(a_deviation[:, :, None], b_deviation[:, None])
            deviation = deviation.reshape(mean.shape)
            weight = np.outer(a_weight, b_weight).ravel()
        mean = np.clip(mean, 0, self._data.highest)
        room = np.minimum(mean, self._data.highest - mean) / _TAIL  # no slice reaches over an end
        deviation = np.hypot(np.minimum(deviation, room), self.read_noise)
        return mixture_law(mean, deviation, weight, edges)

    def definition(self) -> dict[str, Any]:
        return {"kind": self.kind, "read_noise": self.read_noise}


@dataclass(frozen=True)
class RelaxingCellB(RelaxingCell):
    """Technology B: 15,961 cells, 0 to 128 uS, followed for 10,000 s."""

    kind: ClassVar[str] = "rram-relax-b"
    read_noise: float = field(default_factory=lambda: relaxation("rram-relax-b").read_noise)


@dataclass(frozen=True)
class RelaxingCellC(RelaxingCell):
    """Technology C: 16,292 cells, 0 to 40 uS, followed for 100,000 s."""

    kind: ClassVar[str] = "rram-relax-c"
    read_noise: float = field(default_factory=lambda: relaxation("rram-relax-c").read_noise)
