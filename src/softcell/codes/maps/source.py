"""Densities that maps are designed for: the generalised Gaussian family at unit variance.

p(v) ~ exp(-|v / s|^beta),  s^2 = Gamma(1 / beta) / Gamma(3 / beta)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHAPES = (0.5, 0.6, 0.75, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0)
"""Exponents of the generalised Gaussian densities that maps are designed for; 1 is Laplacian,
2 Gaussian."""

STEPS = 12001
"""Values that a map is designed on."""


def shape_of(weights: NDArray[np.floating]) -> int:
    """Return the index in SHAPES whose ratio of mean size to deviation is the weights'.

    Example:
        >>> SHAPES[shape_of(np.random.default_rng(0).normal(size=10_000))]
        2.0
    """
    deviation = float(np.sqrt(np.mean(np.square(weights, dtype=np.float64))))
    return nearest_shape(float(np.mean(np.abs(weights), dtype=np.float64)), deviation)


def nearest_shape(mean_size: float, deviation: float) -> int:
    """Return the index in SHAPES that fits a mean size and a root mean square best."""
    from scipy.special import gamma

    if deviation == 0:
        return len(SHAPES) - 1
    ratio = mean_size / deviation
    shapes = np.array(SHAPES)
    expected = gamma(2 / shapes) / np.sqrt(gamma(1 / shapes) * gamma(3 / shapes))
    return int(np.abs(expected - ratio).argmin())


def source_density(shape: int) -> tuple[float, NDArray[np.float64]]:
    """Return the reach and the probabilities of the values of a unit-variance source.

    Args:
        shape: Index in SHAPES.
    """
    from scipy.special import gamma

    beta = SHAPES[shape]
    scale = np.sqrt(gamma(1 / beta) / gamma(3 / beta))
    reach = float(scale * 16 ** (1 / beta))  # exp(-16) of the density at its centre
    values = np.linspace(-reach, reach, STEPS)
    density = np.exp(-(np.abs(values / scale) ** beta))
    return reach, density / density.sum()
