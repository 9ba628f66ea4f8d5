"""Numbers that tests draw: always the same, whatever ran before."""

from __future__ import annotations

import numpy as np

from softcell.streams import Stream


def normal(*shape: int, seed: int = 0, label: str = "w") -> np.ndarray:
    """Return standard normal numbers of a shape, float32."""
    return Stream.of(seed, label).normal(int(np.prod(shape, dtype=int))).reshape(shape)


def uniform(*shape: int, seed: int = 0) -> np.ndarray:
    """Return numbers uniform in (0, 1) of a shape, float32."""
    return Stream.of(seed, "u").uniform(int(np.prod(shape, dtype=int))).reshape(shape)


def laplacian(*shape: int, seed: int = 0) -> np.ndarray:
    """Return Laplacian numbers of scale 1 and a shape, float32."""
    u = uniform(*shape, seed=seed) - np.float32(0.5)
    return (-np.sign(u) * np.log1p(-2 * np.abs(u))).astype(np.float32)
