"""Laws of noise that readings allow, and which of them explains readings that it did not see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from softcell.devices.measurements.samples import Samples
from softcell.devices.noise_law import NoiseLaw, residual_law, smoothed

_Floats = NDArray[np.float64]

ENOUGH = 200
"""Readings from which on the shape of a level's law is its own; below, neighbours are pooled."""

_TAILS = 10.0 ** np.array([-16, -14, -12, -10, -8, -6, -5, -4, -3, -2])
_EDGES = np.concatenate([[0.0], _TAILS, np.linspace(0.05, 0.95, 10), [0.99, 1.0]])
"""Probabilities between which the components of Student's t lie, from the widest on."""

_WIDEST = 300.0  # deviations: decades that a logarithmic axis still has, in slices of 1e-8

_FREEDOM = np.array([2.2, 2.5, 3, 3.5, 4, 5, 6, 8, 11, 16, 25, 50, 200, 1000])
_SCALES = np.geomspace(0.5, 1.25, 16)
_STEPS = 40  # of expectation and maximisation


def _normal(samples: Samples) -> NoiseLaw:
    """Normal readings whose deviation is as uncertain as the number of readings makes it."""
    _, freedom = samples.predicted
    return _student_law("normal", freedom, np.ones(samples.levels))


def _student(samples: Samples) -> NoiseLaw:
    """Student's t of the likeliest degrees of freedom and scale."""
    from scipy.special import gammaln

    z = np.abs(samples.left_out)[:, None]
    found = np.full((2, samples.levels), -np.inf)
    best = np.full(samples.levels, -np.inf)
    for freedom in _FREEDOM:
        norm = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - np.log(freedom * np.pi) / 2
        each = norm - np.log(_SCALES) - (freedom + 1) / 2 * np.log1p((z / _SCALES) ** 2 / freedom)
        sums = np.stack([np.bincount(samples.place, e, samples.levels) for e in each.T], axis=1)
        total = _pooled(np.cumsum(np.pad(sums, ((1, 0), (0, 0))), axis=0), _windows(samples))
        scale = total.argmax(axis=1)
        likelihood = total[np.arange(samples.levels), scale]
        better = likelihood > best
        best = np.where(better, likelihood, best)
        found[:, better] = np.stack([np.full(samples.levels, freedom), _SCALES[scale]])[:, better]
    return _student_law("student", found[0], found[1])


def _outliers(samples: Samples) -> NoiseLaw:
    """Normal readings with a share of others that spread more, perhaps to one side."""
    rows = [_two_normals(each) for each in _neighbourhoods(samples)]
    return NoiseLaw("outliers", *(np.array(each) for each in zip(*rows)))


def _two_normals(z: _Floats) -> tuple[list[float], list[float], list[float]]:
    """Return weights, centres and scales of two normal components, the wider one last."""
    share, centres, scales = 0.05, np.zeros(2), np.array([0.9, 3.0])
    for _ in range(_STEPS):
        odds = (z[:, None] - centres) / scales
        each = np.exp(-0.5 * odds**2) / scales * [1 - share, share]
        wide = each[:, 1] / np.maximum(each.sum(axis=1), 1e-300)
        parts = np.stack([1 - wide, wide])
        sums = parts.sum(axis=1) + 1  # as if each had seen one reading of what it began with
        share = float(sums[1] / sums.sum())
        centres = parts @ z / sums
        squares = [part @ (z - centre) ** 2 for part, centre in zip(parts, centres)]
        scales = np.sqrt(np.add(squares, [0.8, 9.0]) / sums)
    return [1 - share, share], centres.tolist(), scales.tolist()


def _empirical(samples: Samples) -> NoiseLaw:
    """A normal kernel at each residual, wide where they are sparse."""
    pooled = _neighbourhoods(samples)
    return smoothed(residual_law(pooled), np.array([len(each) for each in pooled]))


LAWS: Mapping[str, Callable[[Samples], NoiseLaw]] = {
    "normal": _normal,
    "outliers": _outliers,
    "student": _student,
    "empirical": _empirical,
}
"""What makes each law of samples, the simplest first: in units of what the samples predict."""


def fitted_law(kind: str, samples: Samples, confidence: float = 0.5) -> NoiseLaw:
    """Return a law of noise in units of the levels' own deviations.

    Args:
        kind: One of `LAWS`.
        samples: The readings.
        confidence: Of a deviation, that it is no larger than the law has it, from 0.5: a code meets
            one cell, whose deviation is what it is, and not the mean of all that there might be.
    """
    law = LAWS[kind](samples)
    unit = samples.predicted[0] / np.sqrt(samples.variance) * samples.margin(confidence)
    return NoiseLaw(kind, law.weight, law.centre * unit[:, None], law.scale * unit[:, None])


def _windows(samples: Samples) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first level and that after the last that are pooled for each, (levels,) each."""
    total = np.concatenate([[0], np.cumsum(samples.readings)])
    at = np.arange(samples.levels)
    first, last = at.copy(), at + 1
    for _ in range(samples.levels):
        few = total[last] - total[first] < ENOUGH
        first = np.where(few, np.maximum(first - 1, 0), first)
        last = np.where(few, np.minimum(last + 1, samples.levels), last)
    return first, last


def _pooled(cumulated: _Floats, window: tuple[NDArray[np.int64], NDArray[np.int64]]) -> _Floats:
    total: _Floats = cumulated[window[1]] - cumulated[window[0]]
    return total


def _neighbourhoods(samples: Samples) -> list[_Floats]:
    """Return the residuals that count for each level: its own, or those of its neighbours too."""
    order = np.argsort(samples.place, kind="stable")
    residuals = samples.left_out[order]
    start = np.concatenate([[0], np.cumsum(samples.readings)])
    return [residuals[start[a] : start[b]] for a, b in zip(*_windows(samples))]


def _student_law(kind: str, freedom: _Floats, scale: _Floats) -> NoiseLaw:
    """Return Student's t of each level as a mixture of normal components of several scales.

    Args:
        kind: Name of the law.
        freedom: Degrees of freedom, above 2, shape (levels,).
        scale: Scales, same shape.
    """
    scales = np.stack([_student_scales(float(each)) for each in freedom])
    weight = np.diff(_EDGES)[None]
    return NoiseLaw(kind, weight, np.zeros_like(scales), scales * scale[:, None])


@lru_cache(maxsize=4096)
def _student_scales(freedom: float) -> _Floats:
    """Return the root mean square of sqrt(f / chi2) in each slice of probability, (slices,)."""
    from scipy.special import gammainc, gammaincinv

    half = freedom / 2
    edges = gammaincinv(half, _EDGES[:-1])
    # E[1/x; slice] of a gamma law of shape a is the probability of the slice under a - 1.
    below = np.append(gammainc(half - 1, edges), 1.0)
    scales = np.sqrt(half * np.diff(below) / (half - 1) / np.diff(_EDGES))
    return np.minimum(scales, _WIDEST)
