"""Leave out the smallest weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.errors import InputError


def prune_magnitude(state: Mapping[str, NDArray[Any]], fraction: float) -> dict[str, NDArray[Any]]:
    """Set the smallest weights of a network's matrices to zero, by one threshold for all of them.

    Vectors (biases, normalisation) are left alone.

    Args:
        state: Tensors by name.
        fraction: Part of the matrices' weights to remove, from 0 to below 1.

    Returns:
        Tensors by name; those that change are copies. Of weights of equal size at the threshold,
        the first are removed, so that the number is exact.

    Raises:
        InputError: The fraction is out of range, or there is no matrix.

    Source:
        Han et al., "Learning both weights and connections", NeurIPS 2015 (without retraining).

    Example:
        >>> pruned = prune_magnitude({"w": np.array([[3.0, -1.0], [2.0, -4.0]])}, 0.5)
        >>> pruned["w"].tolist()
        [[3.0, 0.0], [0.0, -4.0]]
    """
    if not 0 <= fraction < 1:
        raise InputError(f"the pruned fraction must lie in [0, 1), got {fraction}")
    names = [n for n, v in state.items() if v.ndim > 1 and v.dtype.kind == "f" and v.size]
    if not names:
        raise InputError("the network has no matrix to prune")
    sizes = np.concatenate([np.abs(state[name]).ravel() for name in names])
    if not np.isfinite(sizes).all():
        raise InputError("weights that are NaN or infinite cannot be pruned")
    count = int(fraction * sizes.size)
    removed = np.zeros(sizes.size, bool)
    removed[np.argsort(sizes, kind="stable")[:count]] = True
    result, at = dict(state), 0
    for name in names:
        values = state[name]
        gone = removed[at : at + values.size].reshape(values.shape)
        result[name] = np.where(gone, values.dtype.type(0), values)
        at += values.size
    return result
