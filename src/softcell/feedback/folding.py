"""Batch normalisation as two numbers for each channel instead of four."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from softcell.errors import InputError

_PARTS = ("weight", "bias", "running_mean", "running_var")


def fold_normalisations(
    state: Mapping[str, NDArray[np.generic]], normalisations: Mapping[str, float]
) -> dict[str, NDArray[np.generic]]:
    """Put all that a batch normalisation does into its weight and bias.

    weight <- weight sqrt((1 + eps) / (V + eps)),  bias <- bias - weight M / sqrt(V + eps),
    M <- 0,  V <- 1

    with running mean M and variance V. The network computes the same function, and the running mean
    and variance, being constant, cost next to nothing to store.

    Args:
        state: The network's tensors.
        normalisations: `eps` of every batch normalisation by the name of its module, as
            `softcell.curvature.calibration.normalisations` finds them.

    Returns:
        All tensors of `state`, with those of the normalisations replaced, in the order of `state`;
        the replaced ones are float32, the others the same arrays.

    Raises:
        InputError: A normalisation lacks a tensor, its tensors differ in shape, or its variance
            plus `eps` is not above 0.

    Example:
        >>> state = {"bn.weight": 2, "bn.bias": 1, "bn.running_mean": 3, "bn.running_var": 4}
        >>> state = {name: np.array([value], np.float32) for name, value in state.items()}
        >>> folded = fold_normalisations(state, {"bn": 0.0})
        >>> [float(folded[name][0]) for name in state]
        [1.0, -2.0, 0.0, 1.0]

    Source:
        Jacob et al., CVPR 2018, arXiv 1712.05877, section 3.2 (folding into the layer before,
        which is not done here: the weights keep their scale).
    """
    result = dict(state)
    for prefix, eps in normalisations.items():
        names = [f"{prefix}.{part}" if prefix else part for part in _PARTS]
        missing = [name for name in names if name not in state]
        if missing:
            raise InputError(
                f"normalisation {prefix!r} has no tensor {missing[0]!r}; only batch normalisations "
                f"with {', '.join(_PARTS)} can be folded"
            )
        weight, bias, mean, variance = (np.asarray(state[n], dtype=np.float64) for n in names)
        shapes = {array.shape for array in (weight, bias, mean, variance)}
        if len(shapes) > 1:
            raise InputError(f"tensors of normalisation {prefix!r} differ in shape: {shapes}")
        power = variance + eps
        if not (power > 0).all():
            raise InputError(
                f"{names[3]!r} plus eps {eps:g} must be above 0, got {power.min():g}; "
                "correct the stored variance first"
            )
        folded = (
            weight * np.sqrt((1 + eps) / power),
            bias - weight * mean / np.sqrt(power),
            np.zeros_like(mean),
            np.ones_like(variance),
        )
        result.update((name, array.astype(np.float32)) for name, array in zip(names, folded))
    return result
