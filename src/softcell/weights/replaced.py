"""Weights of which some tensors have other values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.closing import Closing
from softcell.errors import InputError
from softcell.weights.safetensors_file import Weights
from softcell.weights.safetensors_header import TensorInfo
from softcell.weights.tensor_values import encode


class ReplacedWeights(Closing):
    """Read the tensors of a network, with the values of some replaced.

    Args:
        weights: The network's tensors. They are not closed with this.
        values: Arrays by name, of the tensors' shapes.

    Raises:
        InputError: A name that the network does not have, or an array of another shape.

    Example:
        >>> from softcell.weights import StateDictWeights
        >>> given = StateDictWeights({"a": np.zeros(2, np.float16)})
        >>> ReplacedWeights(given, {"a": np.ones(2)}).read("a").tolist()
        [1.0, 1.0]
    """

    def __init__(self, weights: Weights, values: Mapping[str, NDArray[Any]]) -> None:
        self._weights, self._values = weights, dict(values)
        self.names: tuple[str, ...] = tuple(weights.names)
        self.metadata: Mapping[str, str] = weights.metadata
        for name, array in self._values.items():
            shape = weights.info(name).shape
            if array.shape != shape:
                raise InputError(f"tensor {name!r} has shape {shape}, got values of {array.shape}")

    def info(self, name: str) -> TensorInfo:
        """Return shape and number format of a tensor."""
        return self._weights.info(name)

    def read(self, name: str) -> NDArray[Any]:
        """Return a copy of the values of a tensor."""
        if name in self._values:
            return self._values[name].copy()
        return self._weights.read(name)

    def raw(self, name: str) -> NDArray[np.uint8]:
        """Return the bytes of a tensor in its own number format."""
        if name not in self._values:
            return self._weights.raw(name)
        flat = np.ascontiguousarray(self._values[name]).reshape(-1)
        return encode(flat, self.info(name).dtype, name)

    def close(self) -> None:
        """Do nothing: the arrays are the caller's."""
