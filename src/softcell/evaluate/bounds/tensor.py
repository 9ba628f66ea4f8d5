"""The rate-distortion curve of one tensor's weights, taken as independent draws."""

from __future__ import annotations

import numpy as np
from scipy.special import digamma, entr

from softcell.errors import InputError
from softcell.evaluate.bounds.curve import RateDistortion, gaussian_curve
from softcell.evaluate.bounds.density import density_curve
from softcell.evaluate.bounds.squared_error import rate_distortion

_MOST_WEIGHTS = 2**18
"""Weights looked at; a larger tensor is sampled, which moves the curve by about 0.002 bit."""

_FEWEST_WEIGHTS = 64
"""Below this a density cannot be told, and a Gaussian stands in."""

_MOST_VALUES = 256
"""A tensor of at most this many values, each used often, is a discrete source."""

_ATOM_HALF_WIDTH = 2.0**-10
"""Weights this near to zero, in standard deviations, count as zeros (dead filters)."""


def empirical_curve(weights: np.ndarray) -> RateDistortion:
    """Compute the rate-distortion curve of a tensor's weights at unit standard deviation.

    A tensor of few values is a discrete source; any other has a point mass at zero (the
    pruned weights) and a density, whose differential entropy is estimated from spacings.
    The curve ends at the rounding error of the weights' own number format, which is found from
    the weights: float16 stored as float32, or int8 with a scale per row, end where these do.

    Args:
        weights: Weights of one tensor, any shape, finite, not empty; the first axis counts the
            output channels.

    Returns:
        The curve of weights / std(weights): distortion 1 at rate 0. A constant tensor has
        the single point (0, 0), a tensor of fewer than 64 weights the curve of a Gaussian.

    Raises:
        InputError: The tensor is empty or not finite.

    Example:
        >>> pruned = np.random.default_rng(0).normal(size=9999) * (np.arange(9999) % 3 == 0)
        >>> curve = empirical_curve(pruned)
        >>> bool(curve.rate_at(0.01) < 0.7 * 0.5 * np.log2(1 / 0.01))
        True
    """
    every = np.asarray(weights).ravel()
    if not every.size:
        raise InputError("weights: expected at least one, got an empty tensor")
    w = np.sort(_sample(every).astype(np.float64))
    if not np.isfinite(w).all():
        raise InputError("weights: expected finite numbers, got NaN or infinity")
    change = np.flatnonzero(np.diff(w, prepend=-np.inf))
    counts = np.diff(change, append=len(w))
    if len(counts) == 1:
        return RateDistortion(np.zeros(1), np.zeros(1))
    # Scaled before squaring: no tensor is too small or too large for its variance.
    largest = float(np.abs(w).max())
    scale = float(np.std(w / largest)) * largest
    x = w / scale
    if len(counts) <= min(_MOST_VALUES, len(w) // 4):
        return rate_distortion(x[change], counts / len(w))
    spacing = _spacing_of_int8_rows(np.asarray(weights))
    if spacing is None:
        spacing = _spacing_of_format(w)
    resolution = float(np.mean((spacing / scale) ** 2)) / 12
    if len(w) < _FEWEST_WEIGHTS:
        return gaussian_curve(least_distortion=resolution)
    smooth = x[np.abs(x) > _ATOM_HALF_WIDTH]
    # Effective cells that n weights can tell apart: past this, cells would fit single weights.
    tellable_bits = float(np.log2(len(smooth) / 58))
    return density_curve(
        smooth,
        np.full(len(smooth), 1 / len(x)),
        entropy_bits=differential_entropy(smooth),
        atom_probability=1 - len(smooth) / len(x),
        least_distortion=resolution,
        asymptote_bits=min(3.5, tellable_bits),
    )


def differential_entropy(values: np.ndarray) -> float:
    """Estimate the differential entropy of a density from spacings of its samples.

    h = mean_i [ln(x_(i+m) - x_(i-m)) - psi(2 m)] + psi(n + 1) nats,  m = sqrt(n) / 4,

    with the window cut off (and 2 m counted down) at either end.

    Negative and positive samples are taken apart, so that a gap around zero, as pruning
    leaves it, does not count as spread.

    Args:
        values: Samples, shape (n,), rising, n >= 4.

    Returns:
        Bits.

    Example:
        >>> uniform = np.sort(np.random.default_rng(0).uniform(2, 10, size=4000))
        >>> round(differential_entropy(uniform), 1)
        3.0

    Source:
        Vasicek, J. R. Stat. Soc. B 38, 54 (1976); the digamma terms make it unbiased for a
        locally uniform density (Ebrahimi et al., Stat. Probab. Lett. 20, 225 (1994)).
    """
    zero = int(np.searchsorted(values, 0.0))
    if min(zero, len(values) - zero) < 16:
        return _spacing_entropy(values)
    share = zero / len(values)
    sign = float(entr(share) + entr(1 - share)) / float(np.log(2.0))
    negative, positive = _spacing_entropy(values[:zero]), _spacing_entropy(values[zero:])
    return sign + share * negative + (1 - share) * positive


def _spacing_entropy(x: np.ndarray) -> float:
    n = len(x)
    half = max(round(np.sqrt(n) / 4), 1)
    low = np.maximum(np.arange(n) - half, 0)
    high = np.minimum(np.arange(n) + half, n - 1)
    # Values that repeat this often lie on the number format's grid, not on one point.
    spacing = np.maximum(x[high] - x[low], 1e-9 * (x[-1] - x[0]))
    nats = np.mean(np.log(spacing) - digamma(high - low)) + digamma(n + 1)
    return float(nats) / float(np.log(2.0))


def _sample(every: np.ndarray) -> np.ndarray:
    """Draw one weight from each of equal stretches; a plain stride would see one filter tap."""
    if every.size <= _MOST_WEIGHTS:
        return every
    offset = np.random.default_rng(0).random(_MOST_WEIGHTS)
    stretch = every.size / _MOST_WEIGHTS
    return every[((np.arange(_MOST_WEIGHTS) + offset) * stretch).astype(np.int64)]


def _spacing_of_format(w: np.ndarray) -> np.ndarray:
    """Give the distance to the next number in the coarsest binary format that holds all w."""
    mantissa, exponent = np.frexp(w)
    digits = int(np.bitwise_or.reduce(np.abs(mantissa * 2.0**53).astype(np.int64)))
    unused = (digits & -digits).bit_length() - 1
    return np.where(w == 0, 0.0, np.ldexp(1.0, exponent - (53 - unused)))


def _spacing_of_int8_rows(weights: np.ndarray) -> np.ndarray | None:
    """Give the step of each row if all rows are 127ths of their largest weight, else None."""
    if weights.ndim < 2 or weights.size < 2 * len(weights):
        return None
    rows = weights.reshape(len(weights), -1)
    step: np.ndarray = np.abs(rows).max(axis=1, keepdims=True).astype(np.float64) / 127
    step[step == 0] = 1.0
    for some in (slice(1), slice(None)):  # one row tells nearly always, at no cost
        multiple = rows[some] / step[some]
        if (np.abs(multiple - np.rint(multiple)) > 1e-3).any():
            return None
    return step
