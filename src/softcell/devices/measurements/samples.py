"""Readings by level and cell: what they say of a reading that is not among them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_Places = NDArray[np.int64]

_LEAST_PRIOR = 4.0
"""Readings that neighbouring inputs stand for at least: deviations do not differ without bound."""

_MOST_PRIOR = 1000.0
_EQUAL = 1e-9  # of the largest reading: what readings differ by that are the same


@dataclass(frozen=True, eq=False)
class Samples:
    """Readings, the level and the group of each: a level of one cell.

    A deviation that was estimated from few readings is drawn towards those of the neighbouring
    levels: with s0 what they lead to expect and d0 how much they are worth, it is that of

        s^2 = (d0 s0^2 + d s_own^2) / (d0 + d)

    with d0 + d degrees of freedom. d0 follows from how well neighbours predict each other.

    Args:
        values: Readings, shape (rows,).
        place: Level of each, same shape; every level has two readings in one group at least.
        group: Group of each, same shape.
        levels: How many levels there are.

    Source:
        Smyth, Statistical Applications in Genetics and Molecular Biology 3, 3 (2004), with the
        neighbours' variances in place of one common prior.
    """

    values: _Floats
    place: _Places
    group: _Places
    levels: int

    def chosen(self, rows: NDArray[np.bool_]) -> Samples:
        """Return those of some rows."""
        return Samples(self.values[rows], self.place[rows], self.group[rows], self.levels)

    @cached_property
    def count(self) -> _Places:
        """Readings of each group, shape (groups,)."""
        return np.bincount(self.group)

    @cached_property
    def centre(self) -> _Floats:
        """Mean of each group, shape (groups,)."""
        return np.bincount(self.group, self.values) / np.maximum(self.count, 1)

    @cached_property
    def readings(self) -> _Places:
        """Readings of each level, shape (levels,)."""
        return np.bincount(self.place, minlength=self.levels)

    @cached_property
    def freedom(self) -> _Floats:
        """Degrees of freedom of each level's deviation, shape (levels,)."""
        share = 1 - 1 / self.count[self.group]
        return np.asarray(np.bincount(self.place, share, self.levels), np.float64)

    @cached_property
    def _residuals(self) -> _Floats:
        return self.values - self.centre[self.group]

    @cached_property
    def variance(self) -> _Floats:
        """Variance within cells at each level, shape (levels,).

        Where all readings are equal, it is the smallest of the others.
        """
        square = np.bincount(self.place, self._residuals**2, self.levels) / self.freedom
        seen = square > (_EQUAL * np.abs(self.values).max()) ** 2
        least = square[seen].min() if seen.any() else 1.0
        return np.where(seen, square, least)

    @cached_property
    def _prior(self) -> tuple[_Floats, float]:
        """Variance that the neighbours lead to expect, shape (levels,), and what it is worth."""
        from scipy.special import digamma, polygamma

        half = self.freedom / 2
        logarithm = np.log(self.variance) - digamma(half) + np.log(half)
        noise = polygamma(1, half)
        number = _neighbours(np.ones(self.levels))
        expected = _neighbours(logarithm) / number
        uncertain = _neighbours(noise) / number**2
        excess = float(np.mean((logarithm - expected) ** 2 - noise - uncertain))
        worth = 2 * _inverse_trigamma(max(excess, 0.0) + float(uncertain.mean()))
        worth = min(max(worth, _LEAST_PRIOR), _MOST_PRIOR)
        return np.exp(expected + digamma(worth / 2) - np.log(worth / 2)), worth

    @cached_property
    def predicted(self) -> tuple[_Floats, _Floats]:
        """Deviation and degrees of freedom of one more reading at each level, (levels,) each."""
        prior, worth = self._prior
        total = worth + self.freedom
        variance = (worth * prior + self.freedom * self.variance) / total
        return np.sqrt(variance * (1 + 1 / self.readings)), total

    def margin(self, confidence: float) -> _Floats:
        """Return by what a deviation and a mean may be off together, shape (levels,), at least 1.

        Args:
            confidence: That the deviation is no larger than the predicted one times this, and the
                mean no farther off than its variance grows by; from 0.5.
        """
        from scipy.special import chdtri, ndtri

        if confidence <= 0.5:
            return np.ones(self.levels)
        freedom = self.predicted[1]
        largest = np.sqrt(np.maximum(freedom / chdtri(freedom, confidence), 1))
        off = max(float(ndtri(confidence)) ** 2, 1.0)
        mean = np.sqrt((1 + off / self.readings) / (1 + 1 / self.readings))
        margin: _Floats = largest * mean
        return margin

    @cached_property
    def left_out(self) -> _Floats:
        """Each reading in deviations of what all others say of it, shape (rows,)."""
        prior, worth = self._prior
        count = np.maximum(self.count[self.group], 2)
        own = self._residuals**2 * count / (count - 1)
        rest = (self.freedom * self.variance)[self.place] - own
        total = worth + self.freedom[self.place] - 1
        variance = (worth * prior[self.place] + np.maximum(rest, 0)) / total
        left_out: _Floats = self._residuals * np.sqrt(count / (count - 1)) / np.sqrt(variance)
        return left_out


def _neighbours(values: _Floats) -> _Floats:
    """Return the sum of the values before and after each."""
    padded = np.pad(values, 1)
    total: _Floats = padded[:-2] + padded[2:]
    return total


def _inverse_trigamma(value: float) -> float:
    """Return the x at which the trigamma function has a value above 0."""
    from scipy.special import polygamma

    if value < 1e-6:
        return 1e6
    x = 0.5 + 1 / value
    for _ in range(20):  # Newton's on 1/trigamma, nearly linear
        now = float(polygamma(1, x))
        x += now * (1 - now / value) / float(polygamma(2, x))
    return x
