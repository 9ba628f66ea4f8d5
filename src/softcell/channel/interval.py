"""How certain a capacity is that was computed from measurements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from softcell.channel.channel import channel_of
from softcell.devices import Device


def capacity_interval(whole: Device, folds: Sequence[Device]) -> tuple[float, float] | None:
    """Return the 95 % interval of a capacity in bits per cell, by a jackknife over parts.

    With C_k the capacity of the device that was fitted without part k of K, the variance is
    (K - 1) / K sum (C_k - mean)^2, and Student's t has K - 1 degrees of freedom.

    Args:
        whole: The device that was fitted to all readings.
        folds: Those that were fitted without a part each; none if readings were too few.

    Source:
        Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 11.
    """
    from scipy.special import stdtrit

    if len(folds) < 2:
        return None
    parts = np.array([channel_of(each).capacity.bits for each in folds])
    error = np.sqrt((len(parts) - 1) * parts.var())
    reach = float(stdtrit(len(parts) - 1, 0.975) * error)
    middle = channel_of(whole).capacity.bits
    return max(middle - reach, 0.0), middle + reach
