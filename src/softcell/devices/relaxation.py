"""What is measured of cells that relax: quantiles by range of conductance, over time."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

REACH, STEPS = 6.4, 10
"""Normal scores that a stream draws, and knots of a table for each unit of them."""

SCORES: NDArray[np.float64] = np.arange(-64, 65) / STEPS
"""Normal scores of the knots of the tables that cells are drawn from."""
SCORES.setflags(write=False)


@dataclass(frozen=True, eq=False)
class Relaxation:
    """What measurements say of cells that were programmed into equal ranges of conductance.

    Args:
        source: Where they come from.
        g_max: Conductance in uS up to which the ranges go.
        highest: Highest reading in uS: cells go no further.
        read_noise: Bound on the standard deviation of reading, in uS.
        times: Seconds after programming at which the cells were read, increasing.
        scores: Normal scores that the quantiles below belong to, increasing.
        start: Quantiles in uS of the reading that ended programming, from the middle of the range;
            shape (ranges, scores).
        change: Quantiles in uS of the change since then, shape (times, ranges, scores).
        correlation: Of the cells' normal scores at the times, shape (times, times).
    """

    source: str
    g_max: float
    highest: float
    read_noise: float
    times: NDArray[np.float64] = field(repr=False)
    scores: NDArray[np.float64] = field(repr=False)
    start: NDArray[np.float64] = field(repr=False)
    change: NDArray[np.float64] = field(repr=False)
    correlation: NDArray[np.float64] = field(repr=False)

    def between(self, age_seconds: float) -> tuple[int, int, float]:
        """Return two of the times, and how far between them an age lies in ln t.

        Before the first time both are the first; after the last, the distance is beyond 1 and
        counted from the time that is nearest one second.
        """
        last = len(self.times) - 1
        if age_seconds <= self.times[0]:
            return 0, 0, 0.0
        second = int(np.searchsorted(self.times, age_seconds))
        first = second - 1
        if second > last:
            second, first = last, int(np.argmin(np.abs(np.log(self.times[:last]))))
        low, high = np.log(self.times[[first, second]])
        return first, second, float((np.log(age_seconds) - low) / (high - low))

    def changed(self, age_seconds: float) -> NDArray[np.float64]:
        """Return the quantiles of the change at an age, shape (ranges, scores)."""
        first, second, part = self.between(age_seconds)
        known: NDArray[np.float64] = (1 - part) * self.change[first] + part * self.change[second]
        known *= min(age_seconds / float(self.times[0]), 1.0)
        return known


@lru_cache(maxsize=4)
def relaxation(name: str) -> Relaxation:
    """Return the packaged statistics of a device."""
    text = (resources.files("softcell.devices") / "coefficients" / f"{name}.toml").read_text()
    values = tomllib.loads(text)
    tables = ("times", "scores", "start", "change", "correlation")
    return Relaxation(
        values["source"],
        values["g_max"],
        values["highest"],
        values["read_noise"],
        *(np.array(values[table], np.float64) for table in tables),
    )


def without_noise(
    quantiles: NDArray[np.float64], scores: NDArray[np.float64], noise: float
) -> NDArray[np.float64]:
    """Return quantiles without the share of normal noise, at `SCORES`, shape (ranges, 129).

    As far as quantiles follow a straight line in the normal score the readings are normal with its
    slope as deviation: the slope of what is left is sqrt(slope^2 - noise^2), about the median.

    Args:
        quantiles: Quantiles of readings, shape (ranges, scores).
        scores: Normal scores that they belong to, an odd number about 0, increasing.
        noise: Standard deviation of the noise, at least 0.
    """
    slopes = np.diff(quantiles, axis=1) / np.diff(scores)
    slopes = np.sign(slopes) * np.sqrt(np.maximum(slopes**2 - noise**2, 0))
    way = np.cumsum(slopes * np.diff(scores), axis=1)
    way = np.concatenate([np.zeros_like(way[:, :1]), way], axis=1)
    middle = len(scores) // 2
    way += (quantiles - way)[:, middle, None]
    return np.stack([np.interp(SCORES, scores, row) for row in way])


@lru_cache(maxsize=32)
def start_table(data: Relaxation, noise: float) -> NDArray[np.float64]:
    """Return where programming ends by range and score, shape (ranges, 129).

    What is measured holds the noise of the read that ended programming. A cell ends evenly within
    its range, which is far from normal: the range is drawn together, not slope by slope.
    """
    known = np.stack([np.interp(SCORES, data.scores, row) for row in data.start])
    weight = np.exp(-0.5 * SCORES**2) / np.exp(-0.5 * SCORES**2).sum()
    mean = (known @ weight)[:, None]
    variance = ((known - mean) ** 2 @ weight)[:, None]
    table: NDArray[np.float64] = mean + (known - mean) * np.sqrt(
        np.maximum(1 - noise**2 / variance, 0)
    )
    return table


@lru_cache(maxsize=32)
def change_table(data: Relaxation, noise: float, age_seconds: float) -> NDArray[np.float64]:
    """Return the change of a cell's conductance at an age by range and score.

    The measured change is that of two readings, so that it holds their noise twice.
    """
    return without_noise(data.changed(age_seconds), data.scores, math.sqrt(2) * noise)
