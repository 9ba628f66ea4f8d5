"""A rate-distortion curve: convex, falling, and read off in both directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from softcell.codes.maps.lower_envelope import falling_hull
from softcell.errors import InputError

POINTS_PER_BIT = 16
"""Points of a curve per bit of rate; chords between them lie within 0.001 bit of the curve."""


@dataclass(frozen=True)
class RateDistortion:
    """The least rate at which a source can be described to within a mean squared error.

    The curve is piecewise linear in the distortion. It ends where the source is described
    completely: at distortion 0, or at the resolution of its number format.

    Attributes:
        rate_bits: Bits per sample, shape (P,), strictly rising from 0.
        distortion: Mean squared error, shape (P,), falling from the variance, convex.

    Example:
        >>> curve = gaussian_curve()
        >>> round(curve.distortion_at(2.0), 4), round(curve.rate_at(0.25), 3)
        (0.0625, 1.0)
    """

    rate_bits: np.ndarray
    distortion: np.ndarray

    def __post_init__(self) -> None:
        rate, distortion = self.rate_bits, self.distortion
        if rate.ndim != 1 or rate.shape != distortion.shape or not rate.size:
            raise InputError(
                f"expected rates and distortions of one shape (P,), got {rate.shape}"
                f" and {distortion.shape}"
            )
        if not (np.isfinite(rate).all() and np.isfinite(distortion).all()):
            raise InputError("expected finite rates and distortions")
        if rate[0] != 0 or distortion[-1] < 0:
            raise InputError("expected rates from 0 on and distortions >= 0")
        if not ((np.diff(rate) > 0).all() and (np.diff(distortion) <= 0).all()):
            raise InputError("expected rising rates and falling distortions")

    def rate_at(self, distortion: float) -> float:
        """Give the least rate at a distortion, bits; 0 from the variance on."""
        return float(np.interp(distortion, self.distortion[::-1], self.rate_bits[::-1]))

    def distortion_at(self, rate_bits: float) -> float:
        """Give the least distortion at a rate; beyond the end of the curve, that of its end."""
        return float(np.interp(rate_bits, self.rate_bits, self.distortion))


def convex_curve(rate_bits: np.ndarray, distortion: np.ndarray) -> RateDistortion:
    """Take the lower convex hull of points that a description can reach.

    Time-sharing reaches every chord, so the hull of reachable points is reachable.

    Args:
        rate_bits: Rates of the points, shape (P,), >= 0, at least one of them 0.
        distortion: Their distortions, shape (P,), >= 0.

    Returns:
        The curve through the points that lie on the hull.
    """
    corners = falling_hull(rate_bits, distortion)
    return RateDistortion(rate_bits[corners], distortion[corners])


def distortion_grid(variance: float, least: float) -> np.ndarray:
    """Space distortions evenly in rate, from the variance down to the least one."""
    bits = 0.5 * np.log2(variance / least)
    return np.geomspace(variance, least, max(int(np.ceil(bits * POINTS_PER_BIT)), 1) + 1)


def gaussian_curve(variance: float = 1.0, *, least_distortion: float = 2.0**-64) -> RateDistortion:
    """Give the curve of a Gaussian source, the worst of its variance.

    R(D) = 1/2 log2(variance / D)

    Args:
        variance: Of the source, > 0.
        least_distortion: Where the curve ends, relative to the variance, in (0, 1).

    Returns:
        The curve for 0 <= R <= 1/2 log2(1 / least_distortion).

    Raises:
        InputError: The variance or the end of the curve is out of range.

    Source:
        Cover and Thomas, Elements of Information Theory, 2nd ed., theorem 10.3.2.
    """
    if not (np.isfinite(variance) and variance > 0 and 0 < least_distortion < 1):
        raise InputError(
            "expected a variance > 0 and a least distortion in (0, 1),"
            f" got {variance} and {least_distortion}"
        )
    relative = distortion_grid(1.0, least_distortion)
    return RateDistortion(-0.5 * np.log2(relative), variance * relative)
