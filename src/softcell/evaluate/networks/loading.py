"""A network with given weights, without drawing a single random number."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from softcell.errors import InputError


def with_weights(network: Callable[[], nn.Module], state: Mapping[str, np.ndarray]) -> nn.Module:
    """Build a network in evaluation mode that holds its own float32 copy of the weights.

    Args:
        network: Makes the network, whatever its weights.
        state: One array for every tensor of its state dict, of the same shape and any real type.
            Values that are not finite are taken as they are: what a memory gave back is for the
            evaluation to judge.

    Returns:
        The network in evaluation mode, its memory not shared with `state`.

    Raises:
        InputError: A tensor is missing, unknown, of another shape or holds no real numbers.

    Example:
        >>> from softcell.evaluate.networks import LeNet300
        >>> with_weights(LeNet300, {})
        Traceback (most recent call last):
            ...
        softcell.errors.InputError: tensor 'fc1.weight' of shape (300, 784) is missing from the \
weights; give every tensor of the network
    """
    # On the meta device no memory is filled and the global random state is not touched.
    with torch.device("meta"):
        module = network()
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    unknown = sorted(set(state) - set(expected))
    if unknown:
        raise InputError(
            f"tensor {unknown[0]!r} is not part of this network; give only its "
            f"{len(expected)} tensors, under their own names"
        )
    tensors = {name: _tensor(name, shape, state) for name, shape in expected.items()}
    module.load_state_dict(tensors, assign=True)
    return module.eval()


def _tensor(name: str, shape: tuple[int, ...], state: Mapping[str, np.ndarray]) -> Tensor:
    if name not in state:
        raise InputError(
            f"tensor {name!r} of shape {shape} is missing from the weights; "
            "give every tensor of the network"
        )
    array = np.asarray(state[name])
    if array.shape != shape:
        raise InputError(f"tensor {name!r} must have shape {shape}, got {array.shape}")
    if array.dtype.kind in "cmMOSU":
        raise InputError(f"tensor {name!r} must hold real numbers, got {array.dtype}")
    # A value too large for float32 becomes infinite, as it would in the network.
    with np.errstate(over="ignore", invalid="ignore"):
        return torch.from_numpy(np.array(array, dtype=np.float32, order="C", copy=True))
