"""Leave out the weights that matter least, by one threshold for the whole network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.compress.matrices import fisher_of, weight_matrices
from softcell.errors import InputError


def prune_magnitude(
    state: Mapping[str, NDArray[Any]], fraction: float, *, keep: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """Set the smallest weights of a network's matrices to zero.

    Vectors (biases, normalisation) are left alone.

    Args:
        state: Tensors by name.
        fraction: Part to remove of the weights of all matrices but those to keep, from 0 to
            below 1.
        keep: Names of tensors to leave as they are.

    Returns:
        Tensors by name; those that change are copies. Of weights of equal size at the threshold,
        the first are removed, so that the number is exact.

    Raises:
        InputError: The fraction is out of range, there is no matrix, a weight is not finite, or a
            name of `keep` is not in the network.

    Source:
        Han et al., "Learning both weights and connections", NeurIPS 2015 (without retraining).

    Example:
        >>> pruned = prune_magnitude({"w": np.array([[3.0, -1.0], [2.0, -4.0]])}, 0.5)
        >>> pruned["w"].tolist()
        [[3.0, 0.0], [0.0, -4.0]]
    """
    matrices = weight_matrices(state, keep)
    return _without(state, least({name: np.abs(w) for name, w in matrices.items()}, fraction))


def prune_saliency(
    state: Mapping[str, NDArray[Any]],
    fraction: float,
    fisher: Mapping[str, NDArray[np.floating]],
    *,
    keep: Collection[str] = (),
) -> dict[str, NDArray[Any]]:
    """Set those weights of a network's matrices to zero whose loss is felt least.

    saliency = F w^2 / 2

    with F the diagonal of the Fisher information: the divergence of the outputs, in nats, that the
    weight's removal alone would cause.

    Args:
        state: Tensors by name.
        fraction: As for `prune_magnitude`.
        fisher: Diagonal Fisher information of every matrix that is not kept, by name.
        keep: Names of tensors to leave as they are.

    Returns:
        As for `prune_magnitude`.

    Raises:
        InputError: As for `prune_magnitude`, or the Fisher information of a matrix is missing, of
            another shape, negative or not finite.

    Source:
        LeCun, Denker and Solla, "Optimal brain damage", NeurIPS 1989, equation 4.

    Example:
        >>> felt = {"w": np.array([[1.0, 1.0], [9.0, 9.0]])}
        >>> prune_saliency({"w": np.array([[3.0, -1.0], [2.0, -4.0]])}, 0.5, felt)["w"].tolist()
        [[0.0, 0.0], [2.0, -4.0]]
    """
    matrices = weight_matrices(state, keep)
    felt = fisher_of(matrices, fisher)
    return _without(state, least({n: saliency(w, felt[n]) for n, w in matrices.items()}, fraction))


def saliency(weights: NDArray[Any], felt: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    """Return what the loss rises by when each weight alone is removed: felt w^2 / 2.

    Example:
        >>> saliency(np.array([1.0, 2.0]), np.array([4.0, 1.0])).tolist()
        [2.0, 2.0]
    """
    squares: NDArray[np.float64] = np.square(weights, dtype=np.float64)
    return 0.5 * felt * squares


def least(
    saliencies: Mapping[str, NDArray[np.floating]], fraction: float
) -> dict[str, NDArray[np.bool_]]:
    """Say which weights go if those of the least saliency do, by one threshold for all tensors.

    Args:
        saliencies: What is lost with each weight, >= 0, by the name of its tensor.
        fraction: Part of all weights that goes, from 0 to below 1, rounded down to whole weights.

    Returns:
        For each tensor an array of its shape, true where a weight goes. At the threshold itself the
        first go, in the order of the tensors.

    Raises:
        InputError: The fraction is out of range.

    Example:
        >>> least({"a": np.array([3.0, 1.0]), "b": np.array([1.0, 1.0])}, 0.5)
        {'a': array([False,  True]), 'b': array([ True, False])}
    """
    if not 0 <= fraction < 1:
        raise InputError(f"the pruned fraction must lie in [0, 1), got {fraction}")
    flat = np.concatenate([each.ravel() for each in saliencies.values()])
    goes = np.zeros(flat.size, bool)
    count = int(fraction * flat.size)
    if count:
        threshold = np.partition(flat, count - 1)[count - 1]
        goes = flat < threshold
        goes[np.flatnonzero(flat == threshold)[: count - np.count_nonzero(goes)]] = True
    ends = np.cumsum([each.size for each in saliencies.values()])[:-1]
    parts = zip(saliencies.items(), np.split(goes, ends), strict=True)
    return {name: part.reshape(each.shape) for (name, each), part in parts}


def _without(
    state: Mapping[str, NDArray[Any]], gone: Mapping[str, NDArray[np.bool_]]
) -> dict[str, NDArray[Any]]:
    """Return a network with some weights zero."""
    zeroed = {
        name: np.where(where, state[name].dtype.type(0), state[name])
        for name, where in gone.items()
    }
    return {**state, **zeroed}
