"""The weights that compression is about: a network's matrices, and what the loss feels of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.errors import InputError


def weight_matrices(
    state: Mapping[str, NDArray[Any]], keep: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """Return the tensors of two and more dimensions that hold floating-point weights.

    Vectors (biases, normalisation) are few and matter much; they are never among them.

    Args:
        state: Tensors by name.
        keep: Names of tensors to leave out.

    Raises:
        InputError: A name of `keep` is not in the network, no matrix is left, or one holds NaN or
            infinite values.

    Example:
        >>> list(weight_matrices({"fc.weight": np.ones((2, 3)), "fc.bias": np.ones(2)}))
        ['fc.weight']
    """
    unknown = [name for name in keep if name not in state]
    if unknown:
        raise InputError(
            f"tensors to keep that the network does not have: {_listed(unknown)}; it has "
            f"{_listed(state)}"
        )
    matrices = {
        name: values
        for name, values in state.items()
        if values.ndim > 1 and values.dtype.kind == "f" and values.size and name not in keep
    }
    if not matrices:
        raise InputError("the network has no matrix to compress; keep fewer of its tensors")
    for name, values in matrices.items():
        if not np.isfinite(values).all():
            raise InputError(
                f"tensor {name!r} holds weights that are NaN or infinite; repair the network first"
            )
    return matrices


def fisher_of(
    matrices: Mapping[str, NDArray[Any]], fisher: Mapping[str, NDArray[np.floating]]
) -> dict[str, NDArray[np.float64]]:
    """Return the Fisher information of every matrix, element by element.

    Args:
        matrices: Tensors by name.
        fisher: Diagonal Fisher information by name, as `softcell.curvature.diagonal_fisher` gives
            it, in nats per squared unit of the weight; that of other tensors may be among it.

    Raises:
        InputError: A matrix has none, or one of another shape, or it is negative or not finite.

    Example:
        >>> fisher_of({"a": np.ones((1, 2))}, {"a": np.ones((1, 2)), "b": np.ones(2)})
        {'a': array([[1., 1.]])}
    """
    missing = [name for name in matrices if name not in fisher]
    if missing:
        raise InputError(
            f"there is no Fisher information of {_listed(missing)}; compute it with `softcell "
            "calibrate` for this very network, or keep these tensors as they are"
        )
    found = {}
    for name, values in matrices.items():
        felt = np.asarray(fisher[name], np.float64)
        if felt.shape != values.shape:
            raise InputError(
                f"the Fisher information of {name!r} has shape {felt.shape}, the tensor "
                f"{values.shape}; compute it for this very network"
            )
        if not (np.isfinite(felt).all() and felt.min() >= 0):
            raise InputError(
                f"the Fisher information of {name!r} holds NaN, infinite or negative values; "
                "compute it again"
            )
        found[name] = felt
    return found


def _listed(names: Collection[str], most: int = 5) -> str:
    """Return the first of some names, and how many more there are."""
    first = ", ".join(repr(name) for name in list(names)[:most])
    return first if len(names) <= most else f"{first} and {len(names) - most} more"
