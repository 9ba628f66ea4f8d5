"""Which law explains readings that it did not see, and how well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softcell.devices.measurements.laws import ENOUGH, LAWS, fitted_law
from softcell.devices.measurements.samples import Samples
from softcell.devices.noise_law import NoiseLaw

FOLDS = 5
FAR = (3, 4, 5, 6)
"""Deviations beyond which readings are counted."""

_REJECTED = 0.01
_LEAST = 4  # readings of a cell at a level, without those that are left out


@dataclass(frozen=True)
class Evidence:
    """How a law fits readings.

    Args:
        law: Name of the law.
        scores: Mean log density of held-out readings under each law that was tried, relative to
            the normal one, in nats; empty if there are too few readings to leave some out.
        levels: Number of levels.
        readings: Number of readings.
        rejected: Levels at which held-out readings reject the law at 1 %; None if none were held
            out.
        rejected_normal: The same for the normal law.
        beyond: Readings farther than 3, 4, 5 and 6 deviations of their level from its mean.
        expected: How many the law expects there.
        fewest: Fewest readings at a level.
        freedom: Fewest degrees of freedom of a level's deviation, neighbours counted.
    """

    law: str
    scores: dict[str, float]
    levels: int
    readings: int
    rejected: int | None
    rejected_normal: int | None
    beyond: tuple[int, ...]
    expected: tuple[float, ...]
    fewest: int
    freedom: float

    @property
    def unseen(self) -> float:
        """Probability below which no reading says anything: what is rarer is the law's alone."""
        return 3 / self.readings

    @property
    def unseen_at_a_level(self) -> float:
        """The same for the level of fewest readings."""
        return 3 / self.fewest


def folds(samples: Samples) -> list[NDArray[np.bool_]]:
    """Return the rows of each fold, every fifth of a group; none if groups are too small."""
    order = np.argsort(samples.group, kind="stable")
    start = np.concatenate([[0], np.cumsum(samples.count)])
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order)) - start[samples.group[order]]
    # Neighbouring groups begin with other folds, so that folds are equal in size.
    fold = (number + samples.group) % FOLDS
    if samples.count.min() - -(-samples.count.min() // FOLDS) < _LEAST:
        return []
    return [fold == k for k in range(FOLDS)]


def choose_law(samples: Samples, kinds: Sequence[str] | None = None) -> Evidence:
    """Choose a law that explains held-out readings as well as the best.

    As well is within one standard error of the difference, reading by reading. Of such laws it is
    the simplest, but where levels have so few readings that their neighbours tell the shape of
    their law, the one that expects most beyond four deviations: what a level does of its own, few
    readings do not show.

    Args:
        samples: The readings.
        kinds: Names of the laws to choose from; by default all.
    """
    names = list(kinds or LAWS)
    held = folds(samples)
    tried = {name: _held_out(samples, name, held) for name in {*names, "normal"}} if held else {}
    chosen = names[0]
    if held:
        best = max(names, key=lambda name: float(tried[name][0].mean()))
        alike = [name for name in names if _as_good(tried[name][0], tried[best][0])]
        chosen = alike[0]
        if samples.readings.min() < ENOUGH:
            chosen = max(alike, key=lambda name: _far_off(fitted_law(name, samples), samples, 4))
    law = fitted_law(chosen, samples)
    z = _residuals(samples)
    return Evidence(
        law=chosen,
        scores={
            name: float((tried[name][0] - tried["normal"][0]).mean()) for name in names if tried
        },
        levels=samples.levels,
        readings=len(z),
        rejected=_rejecting(samples, tried[chosen][1]) if held else None,
        rejected_normal=_rejecting(samples, tried["normal"][1]) if held else None,
        beyond=tuple(int((np.abs(z) > far).sum()) for far in FAR),
        expected=tuple(_far_off(law, samples, far) for far in FAR),
        fewest=int(samples.readings.min()),
        freedom=float(samples.predicted[1].min()),
    )


def _as_good(scores: NDArray[np.float64], best: NDArray[np.float64]) -> bool:
    behind = best - scores
    return bool(behind.mean() <= behind.std() / np.sqrt(len(behind)))


def _far_off(law: NoiseLaw, samples: Samples, deviations: float) -> float:
    """Return how many of the readings a law expects beyond so many deviations."""
    return float((samples.readings * law.beyond(deviations)).sum())


def _held_out(
    samples: Samples, kind: str, held: Sequence[NDArray[np.bool_]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return log density and distribution of each reading by what the other folds say of it."""
    score, below = np.empty((2, len(samples.values)))
    for out in held:
        known = samples.chosen(~out)
        law, deviation = fitted_law(kind, known), np.sqrt(known.variance)
        place = samples.place[out]
        z = (samples.values[out] - known.centre[samples.group[out]]) / deviation[place]
        density = law.density(z, place) / deviation[place]
        score[out] = np.log(np.maximum(density, 1e-300))
        below[out] = law.cumulative(z, place)
    return score, below


def _rejecting(samples: Samples, below: NDArray[np.float64]) -> int:
    """Return the levels at which probabilities are not uniform, by Kolmogorov's test."""
    from scipy.special import kolmogorov

    order = np.lexsort((below, samples.place))
    start = np.concatenate([[0], np.cumsum(samples.readings)])
    rank = np.arange(len(order)) - start[samples.place[order]]
    count = samples.readings[samples.place[order]]
    value = below[order]
    apart = np.maximum(value - rank / count, (rank + 1) / count - value)
    farthest = np.maximum.reduceat(apart, start[:-1])
    root = np.sqrt(samples.readings)
    chance = kolmogorov((root + 0.12 + 0.11 / root) * farthest)  # Stephens' form for few readings
    return int((chance < _REJECTED).sum())


def _residuals(samples: Samples) -> NDArray[np.float64]:
    """Return readings in deviations of their level from the mean of their cell, shape (rows,)."""
    from_mean = samples.values - samples.centre[samples.group]
    scaled: NDArray[np.float64] = from_mean / np.sqrt(samples.variance)[samples.place]
    return scaled
