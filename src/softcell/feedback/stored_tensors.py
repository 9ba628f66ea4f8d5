"""The tensors of a stored network, as a module of its kind computes with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from softcell.errors import InputError


class StoredTensors:
    """A stored network's tensors by their first names, of the module's type and device.

    Buffers that are no part of the state are the module's own.

    Args:
        module: The float network.
        state: All tensors of the stored network, by their names in the module's state dict.

    Raises:
        InputError: A tensor is missing or has another shape.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> stored = StoredTensors(layer, {"weight": np.zeros((1, 2)), "bias": np.ones(1)})
        >>> stored.of(layer.bias)
        tensor([1.])
    """

    def __init__(self, module: nn.Module, state: Mapping[str, NDArray[np.generic]]) -> None:
        self.names: dict[int, list[str]] = {}
        """All names of a tensor of the module, by its identity."""
        for name, tensor in _tensors(module):
            self.names.setdefault(id(tensor), []).append(name)
        self.values: dict[str, Tensor] = {}
        self._state = state
        self._origins: dict[str, str] = {}
        persistent = module.state_dict().keys()
        for name, tensor in _tensors(module):
            known = self.names[id(tensor)]
            if known[0] not in self.values:
                found = next((each for each in known if each in state), None)
                if found is None and name in persistent:
                    raise InputError(
                        f"tensor {name!r} of shape {tuple(tensor.shape)} is missing from the "
                        "stored network; give every tensor of the module"
                    )
                if found is None:
                    self.values[name] = tensor.detach().clone()
                else:
                    self.values[name] = _like(tensor, found, state[found])
                    self._origins[found] = name

    def of(self, tensor: Tensor) -> Tensor:
        """Return the stored network's values of a tensor of the module."""
        return self.values[self.names[id(tensor)][0]]

    def replace(self, name: str, values: NDArray[np.generic]) -> None:
        """Replace the values that came from the state under a name, in place; others are ignored.

        Raises:
            InputError: They have another shape.
        """
        if name in self._origins:
            tensor = self.values[self._origins[name]]
            tensor.copy_(_like(tensor, name, values))

    def arrays(self, tensors: Iterable[Tensor]) -> dict[str, NDArray[np.floating]]:
        """Return the values of some tensors of the module, by all names that the state has.

        They are float32, or float64 where the state has it.
        """
        result = {}
        for tensor in tensors:
            for name in self.names[id(tensor)]:
                if name in self._state:
                    kind = np.result_type(np.asarray(self._state[name]).dtype, np.float32)
                    result[name] = self.of(tensor).double().cpu().numpy().astype(kind)
        return result


def _like(tensor: Tensor, name: str, values: NDArray[np.generic]) -> Tensor:
    """Return values as a tensor of a tensor's shape, type and device."""
    array = np.asarray(values)
    if array.shape != tuple(tensor.shape):
        raise InputError(
            f"tensor {name!r} must have shape {tuple(tensor.shape)}, got {array.shape}"
        )
    # A value too large for the module's type becomes infinite, as it would in the network.
    return torch.tensor(array, dtype=tensor.dtype, device=tensor.device)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield all parameters and buffers; one that has several names comes under each."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)
