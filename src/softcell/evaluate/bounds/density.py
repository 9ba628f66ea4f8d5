"""Rate-distortion curves of sources with a density and, maybe, a point mass at zero."""

from __future__ import annotations

import numpy as np
from scipy.special import entr

from softcell.errors import InputError
from softcell.evaluate.bounds.curve import RateDistortion, convex_curve, distortion_grid
from softcell.evaluate.bounds.squared_error import (
    curve_through,
    kernel_widths,
    lattice,
    point_at,
)

_TWO_PI_E = 2 * np.pi * np.e


def shannon_lower_bound(entropy_bits: float, distortion: np.ndarray | float) -> np.ndarray:
    """Give the rate that no description of a density can undercut.

    R(D) >= h(X) - 1/2 log2(2 pi e D), with equality as D -> 0

    Args:
        entropy_bits: Differential entropy h of the source, bits.
        distortion: Mean squared error D, any shape, > 0, in the source's unit squared.

    Returns:
        Bits per sample, in the shape of the distortion; negative where the bound says nothing.

    Example:
        >>> h = 0.5 * np.log2(2 * np.pi * np.e)  # a unit Gaussian
        >>> float(shannon_lower_bound(h, 0.25))
        1.0

    Source:
        Shannon, IRE Nat. Conv. Rec. 7, 142 (1959); Linkov, Probl. Inf. Transm. 1, 18 (1965).
    """
    return entropy_bits - 0.5 * np.log2(_TWO_PI_E * np.asarray(distortion, dtype=np.float64))


def density_curve(
    values: np.ndarray,
    probabilities: np.ndarray,
    *,
    entropy_bits: float,
    atom_probability: float = 0.0,
    least_distortion: float = 2.0**-64,
    asymptote_bits: float = 3.5,
) -> RateDistortion:
    """Compute the curve of a source with a density and a point mass a at zero.

    Blahut-Arimoto at low rate, on cells that follow the kernel's width; then
    the high-rate limit, approached from the last point computed:

        R(D) -> H(a) + (1 - a) (h - 1/2 log2(2 pi e D / (1 - a)))

    Args:
        values: Closely spaced values of the continuous part, shape (V,), rising: the weights
            themselves, or a fine grid.
        probabilities: Their probabilities, shape (V,), >= 0, sum to 1 - a.
        entropy_bits: Differential entropy h of the continuous part alone, bits.
        atom_probability: a, in [0, 1).
        least_distortion: Where the curve ends, relative to the variance, in (0, 1).
        asymptote_bits: Rate of the continuous part from which the limit takes over, bits.

    Returns:
        The convex curve; never above that of a Gaussian of the same variance.

    Raises:
        InputError: The values do not rise, or probabilities and atom do not sum to 1.

    Example:
        >>> grid = np.arange(-0.5, 0.5, 1e-3) + 5e-4  # uniform on a unit interval: h = 0
        >>> curve = density_curve(grid, np.full(1000, 1e-3), entropy_bits=0.0)
        >>> round(curve.rate_at(1e-6) - float(shannon_lower_bound(0.0, 1e-6)), 2)
        0.0

    Source:
        Rosenthal and Binia, IEEE Trans. Inf. Theory 34, 1041 (1988), for the mixed source.
    """
    x = np.asarray(values, dtype=np.float64)
    p = np.asarray(probabilities, dtype=np.float64)
    if x.ndim != 1 or x.shape != p.shape or not x.size or not np.isfinite(x).all():
        raise InputError("expected finite values and as many probabilities")
    if not (np.diff(x) >= 0).all():
        raise InputError("expected values that rise; sort them")
    if not (p >= 0).all() or not 0 <= atom_probability < 1:
        raise InputError("expected probabilities >= 0 and an atom in [0, 1)")
    if not abs(p.sum() + atom_probability - 1) < 1e-6:
        raise InputError(
            "expected probabilities that sum to 1 together with the atom,"
            f" got {p.sum():.6g} and {atom_probability:.6g}"
        )
    x, p = x[p > 0], p[p > 0]
    variance = float(p @ x**2 - (p @ x) ** 2)
    entropy_power = 2.0 ** (2 * entropy_bits) / _TWO_PI_E
    points = []
    # A cell hides the spread within it: small beside the kernel, and beside the source.
    largest_cell = entropy_power**0.5 / 8
    least_square = min(entropy_power * 2.0 ** (-2 * asymptote_bits), variance)
    for width in kernel_widths(8 * variance, least_square, bits_apart=0.4):
        cells, masses = _cells(x, p, min(width / 2, largest_cell))
        if atom_probability > 0:
            place = int(np.searchsorted(cells, 0.0))
            cells = np.insert(cells, place, 0.0)
            masses = np.insert(masses, place, atom_probability)
        points.append(point_at(cells, masses, lattice(cells, width), width))
    computed = curve_through(points, variance, end=None)

    distortion = distortion_grid(variance, least_distortion * variance)
    rate = np.interp(distortion, computed.distortion[::-1], computed.rate_bits[::-1])
    fine = distortion < computed.distortion[-1]
    rate[fine] = _extended(computed, distortion[fine], entropy_bits, atom_probability)
    gaussian = 0.5 * np.log2(variance / distortion)
    rate = np.clip(rate, 0.0, np.maximum(gaussian, 0.0))
    rate[0] = 0.0
    return convex_curve(rate, distortion)


def _extended(
    computed: RateDistortion, distortion: np.ndarray, entropy_bits: float, atom: float
) -> np.ndarray:
    """Continue a curve to smaller distortions, towards the high-rate limit.

    What separates it from the limit (to the atom belongs what lies within sqrt(D) of it) falls
    as a power of D, about 1/2; the power is read off the last bit of the curve.
    """

    def limit(at: np.ndarray | float) -> np.ndarray:
        which = float(entr(atom) + entr(1 - atom)) / float(np.log(2.0))
        return which + (1 - atom) * shannon_lower_bound(entropy_bits, np.asarray(at) / (1 - atom))

    last = float(computed.distortion[-1])
    before = min(4 * last, float(computed.distortion[0]))
    gap = float(computed.rate_bits[-1] - limit(last))
    gap_before = float(computed.rate_at(before) - limit(before))
    power = 0.5
    if gap * gap_before > 0 and before > last:
        power = float(np.clip(np.log(gap_before / gap) / np.log(before / last), 0.25, 1.0))
    rate = limit(distortion) + gap * (distortion / last) ** power
    above: np.ndarray = np.maximum(rate, computed.rate_bits[-1])
    return above


def _cells(x: np.ndarray, p: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Gather rising values into cells that start at multiples of size: centroid and mass."""
    edges = size * np.arange(np.floor(x[0] / size), np.floor(x[-1] / size) + 1)
    starts = np.searchsorted(x, edges)
    starts[0] = 0  # the first edge may be rounded past the first value
    starts = starts[np.diff(starts, append=len(x)) > 0]
    masses = np.add.reduceat(p, starts)
    return np.add.reduceat(p * x, starts) / masses, masses
