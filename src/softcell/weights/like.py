"""Restored arrays as what a user has: torch tensors of their types and devices, or NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from softcell.errors import InputError


def tensors_like(arrays: Mapping[str, NDArray[Any]], like: Mapping[str, Any]) -> dict[str, Any]:
    """Return each array as the tensor of its name in another state dict is.

    Args:
        arrays: Arrays by name; they are not changed.
        like: For every name a torch tensor, whose type and device the result has, or a NumPy
            array, whose type it has. Other names may be there.

    Raises:
        InputError: A name is missing in `like`, or its tensor has another shape.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> tensors_like({"w": np.ones(2, np.float32)}, {"w": torch.zeros(2, dtype=torch.half)})
        {'w': tensor([1., 1.], dtype=torch.float16)}
    """
    return {name: _like(name, values, like) for name, values in arrays.items()}


def _like(name: str, values: NDArray[Any], like: Mapping[str, Any]) -> Any:
    if name not in like:
        raise InputError(f"`like` has no tensor {name!r}; give the network's own state dict")
    model = like[name]
    if tuple(model.shape) != values.shape:
        raise InputError(
            f"tensor {name!r} has shape {values.shape}, and {tuple(model.shape)} in `like`"
        )
    if not hasattr(model, "detach"):
        return values.astype(model.dtype)
    import torch

    # A value too large for the type becomes infinite, as it would in the network.
    return torch.tensor(values, dtype=model.dtype, device=model.device)
