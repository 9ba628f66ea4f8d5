"""How sure a mean or a fraction is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from softcell.errors import InputError

_UPPER = 0.975  # upper end of a two-sided interval of 95 %


def figure_of_merit(given: Any) -> float:
    """Return what an evaluate function gave as a number.

    Raises:
        InputError: It is none, or not finite.
    """
    try:
        merit = float(given)
    except (TypeError, ValueError, RuntimeError):  # torch's, for tensors of several numbers
        merit = math.nan
    if not math.isfinite(merit):
        raise InputError(f"the evaluate function gave {given!r:.60}; expected a finite number")
    return merit


def mean_and_ci95(values: Sequence[float] | np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return the mean of independent values and its 95 % confidence interval.

    mean -+ t s / sqrt(n),  t the 97.5 % quantile of Student's t with n - 1 degrees of freedom,
    s^2 = sum (x - mean)^2 / (n - 1)

    One value says nothing of its spread: its interval is the value itself, twice. Read such an
    interval beside the number of seeds.

    Args:
        values: One finite value for each seed, at least one, any unit.

    Returns:
        Mean, and the lower and upper end of the interval, in the unit of the values.

    Raises:
        InputError: No value, or one that is not finite.

    Example:
        >>> mean, (low, high) = mean_and_ci95([0.90, 0.92, 0.91])
        >>> round(mean, 3), round(low, 3), round(high, 3)
        (0.91, 0.885, 0.935)

    Source:
        Student, Biometrika 6, 1 (1908).
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
        raise InputError(f"values must be a list of one or more finite numbers, got {values!r}")
    mean = math.fsum(sample) / sample.size
    if sample.size == 1:
        return mean, (mean, mean)
    deviation = float(sample.std(ddof=1))
    half = float(special.stdtrit(sample.size - 1, _UPPER)) * deviation / math.sqrt(sample.size)
    return mean, (mean - half, mean + half)


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a fraction that was counted.

    (f + z^2 / 2n -+ z sqrt(f (1 - f) / n + z^2 / 4n^2)) / (1 + z^2 / n),
    f = correct / n,  z = 1.96

    Args:
        correct: Number of hits, 0 to `total`.
        total: Number of trials n, >= 1.

    Returns:
        Lower and upper end, both in [0, 1].

    Raises:
        InputError: The counts are not of that range.

    Example:
        >>> low, high = wilson_interval(915, 1000)
        >>> round(low, 3), round(high, 3)
        (0.896, 0.931)

    Source:
        Wilson, J. Am. Stat. Assoc. 22, 209 (1927).
    """
    if total < 1 or not 0 <= correct <= total:
        raise InputError(f"expected 0 <= correct <= total and total >= 1, got {correct} of {total}")
    z = float(special.ndtri(_UPPER))
    fraction = correct / total
    centre = fraction + z * z / (2 * total)
    half = z * math.sqrt(fraction * (1 - fraction) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # Rounding must not carry an end past the fraction's own range.
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
