"""Weights in memory: a mapping from names to NumPy arrays or torch tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.closing import Closing
from softcell.errors import InputError
from softcell.weights.safetensors_header import TensorInfo
from softcell.weights.tensor_values import decode

# Names that NumPy and torch share, in the words of safetensors.
_DTYPES = {
    "bool": "BOOL",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}
_DTYPES |= {f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)}
_DTYPES |= {f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)}


class StateDictWeights(Closing):
    """Read the tensors of a state dict as if they were in a file.

    Args:
        mapping: NumPy arrays or dense torch tensors by name, on any device. They are not copied
            here; each read copies one.

    Attributes:
        names: Names of the tensors, in the mapping's order.
        metadata: None, for a state dict has no texts.

    Raises:
        InputError: A name that is not text; an entry that is no array of numbers.

    Example:
        >>> StateDictWeights({"a": np.ones(2, np.float16)}).read("a")
        array([1., 1.], dtype=float32)
    """

    def __init__(self, mapping: Mapping[str, Any]) -> None:
        self._mapping = dict(mapping)
        self._infos = {name: _info(name, value) for name, value in self._mapping.items()}
        self.names: tuple[str, ...] = tuple(self._infos)
        self.metadata: Mapping[str, str] = {}

    def info(self, name: str) -> TensorInfo:
        """Return shape and number format of a tensor.

        Raises:
            InputError: There is no such tensor.
        """
        if name not in self._infos:
            known = ", ".join(self.names[:5]) + (", ..." if len(self.names) > 5 else "")
            raise InputError(f"the state dict has no tensor {name!r}; it has: {known or 'none'}")
        return self._infos[name]

    def read(self, name: str) -> NDArray[Any]:
        """Return a copy of the values: floats as float32 (F64 as float64), others as they are.

        Raises:
            InputError: No such tensor, or a format whose values are not supported (F8, complex).
        """
        info = self.info(name)
        return decode(self.raw(name), info.dtype, name).reshape(info.shape)

    def raw(self, name: str) -> NDArray[np.uint8]:
        """Return a copy of the bytes, little-endian and row-major, shape (nbytes,).

        Raises:
            InputError: There is no such tensor, or its device does not give its values.
        """
        self.info(name)
        value = self._mapping[name]
        if not isinstance(value, np.ndarray):
            return _torch_bytes(name, value)
        little = value.astype(value.dtype.newbyteorder("<"), order="C", copy=True)
        return little.reshape(-1).view(np.uint8)

    def close(self) -> None:
        """Do nothing: the arrays are the caller's."""


def _info(name: str, value: Any) -> TensorInfo:
    is_torch = hasattr(value, "detach") and hasattr(value, "cpu")
    if not isinstance(value, np.ndarray) and not is_torch:
        raise InputError(
            f"state dict entry {name!r}: expected a NumPy array or a torch tensor, "
            f"got {type(value).__name__}"
        )
    # torch names its types "torch.float32", NumPy "float32".
    dtype = str(value.dtype).removeprefix("torch.") if is_torch else value.dtype.name
    if dtype not in _DTYPES or (is_torch and str(value.layout) != "torch.strided"):
        raise InputError(
            f"tensor {name!r} is {value.layout if is_torch and dtype in _DTYPES else dtype}; "
            "expected a dense array of numbers: convert it to float32"
        )
    return TensorInfo(name, tuple(int(n) for n in value.shape), _DTYPES[dtype])


def _torch_bytes(name: str, tensor: Any) -> NDArray[np.uint8]:
    # Whoever has a tensor has imported torch; whoever has none shall not wait for it.
    import torch

    try:
        flat = tensor.detach().cpu().reshape(-1)
        # NumPy has no bfloat16, so the bytes go over.
        return np.array(flat.view(torch.uint8).numpy(), copy=True)
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"tensor {name!r} cannot be read from its device: {reason}") from None
