"""Weights, tensor by tensor: from a safetensors file or a state dict, and to a safetensors file.

No more than one tensor is in memory at a time. The safetensors library is not used: without torch
it cannot read bfloat16, what it maps stays in memory, and it writes only what it is given whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from softcell.atomic_file import AtomicFile, Target
from softcell.closing import Closing
from softcell.errors import FormatError, InputError
from softcell.own_bytes import OwnBytes
from softcell.replacement import settle
from softcell.weights.safetensors_header import (
    LENGTH_BYTES,
    TensorInfo,
    header_bytes,
    layout,
    parse_header,
)
from softcell.weights.state_dict import StateDictWeights
from softcell.weights.tensor_values import decode, encode

__all__ = [
    "StateDictWeights",
    "TensorInfo",
    "Weights",
    "WeightsReader",
    "WeightsWriter",
    "parse_weights",
]

# Elements that are converted at a time.
_BLOCK = 1 << 20


class Weights(Protocol):
    """Named tensors that are read one at a time; a context manager."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors, in their order."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """Texts that go with the tensors, as in a file's header."""

    def info(self, name: str) -> TensorInfo:
        """Return shape and number format of a tensor."""

    def read(self, name: str) -> NDArray[Any]:
        """Return the values: floats as float32 (F64 as float64), integers and bool as they are.

        The array is the caller's own, in the tensor's shape.
        """

    def raw(self, name: str) -> NDArray[np.uint8]:
        """Return the bytes as stored: little-endian, row-major, shape (nbytes,)."""

    def __enter__(self) -> Self:
        """Return the weights."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close what was opened to read them."""


class WeightsReader(Closing):
    """Read the tensors of a safetensors file, each when it is asked for.

    Args:
        path: File to read.

    Attributes:
        path: The file.
        names: Names of the tensors, by their place in the file.
        metadata: The file's own texts.

    Raises:
        InputError: No such file, or a PyTorch pickle.
        FormatError: Not a safetensors file, truncated, or with a header that contradicts itself.
    """

    def __init__(self, path: Path | str) -> None:
        settle(Path(path))
        self._file = OwnBytes(path, "a safetensors file")
        self.path = self._file.path
        try:
            size = self._file.size
            start = self._file.read(0, min(size, LENGTH_BYTES)).tobytes()
            length = header_bytes(start, size, self.path)
            header = parse_header(self._file.read(LENGTH_BYTES, length).tobytes(), size, self.path)
        except (FormatError, InputError):
            self.close()
            raise
        self._tensors = header.tensors
        self.metadata: Mapping[str, str] = header.metadata
        self.names: tuple[str, ...] = tuple(header.tensors)

    def info(self, name: str) -> TensorInfo:
        """Return shape and number format of a tensor.

        Raises:
            InputError: The file has no such tensor.
        """
        return self._place(name)[0]

    def read(self, name: str) -> NDArray[Any]:
        """Return the values of a tensor, as `Weights.read` says.

        Raises:
            InputError: No such tensor, or a format whose values are not supported (F8, complex).
            FormatError: The file was shortened since it was opened.
        """
        info = self.info(name)
        return decode(self.raw(name), info.dtype, name).reshape(info.shape)

    def raw(self, name: str) -> NDArray[np.uint8]:
        """Return the bytes of a tensor, shape (nbytes,).

        Raises:
            InputError: The file has no such tensor.
            FormatError: The file was shortened since it was opened.
        """
        info, offset = self._place(name)
        return self._file.read(offset, info.nbytes)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _place(self, name: str) -> tuple[TensorInfo, int]:
        if name not in self._tensors:
            known = ", ".join(self.names[:5]) + (", ..." if len(self.names) > 5 else "")
            raise InputError(f"{self.path} has no tensor {name!r}; it has: {known or 'none'}")
        return self._tensors[name]


class WeightsWriter:
    """Write a safetensors file tensor by tensor.

    Nothing appears under `path` until `finish`, or until the `with` block ends without an
    exception; an exception leaves nothing behind.

    Args:
        path: File to write; one that exists is replaced. An `AtomicFile` is completed by `finish`,
            and left to its owner.
        infos: The tensors, in the order in which `write` will be given them.
        metadata: Texts to keep in the file.

    Raises:
        InputError: Two tensors of one name; metadata that are not text; a folder that does not
            exist or cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "model.safetensors"
        ...     with WeightsWriter(path, [TensorInfo("bias", (2,), "BF16")]) as writer:
        ...         writer.write("bias", np.array([0.5, 3.0], np.float32))
        ...     with WeightsReader(path) as weights:
        ...         weights.read("bias")
        array([0.5, 3. ], dtype=float32)
    """

    def __init__(
        self,
        path: Target,
        infos: Sequence[TensorInfo],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self._infos = tuple(infos)
        header, self._offsets = layout(self._infos, metadata or {})
        self._written = 0
        self._finished = False
        self._owned = not isinstance(path, AtomicFile)
        self._file = path if isinstance(path, AtomicFile) else AtomicFile(path)
        self._file.write(header)

    def write(self, name: str, array: NDArray[Any]) -> None:
        """Write the next tensor, converted to its declared format.

        Floats are rounded to nearest, ties to even; integers and bool are never made from floats.

        Args:
            name: Name of the next tensor of `infos`.
            array: Values, in its shape.

        Raises:
            InputError: Another name, shape or type; a finite value beyond the format's range; no
                space is left on the disk.
        """
        rest = self._infos[self._written :]
        if not rest or rest[0].name != name:
            expected = f"tensor {rest[0].name!r}" if rest else "no further tensor"
            raise InputError(f"expected {expected}, got {name!r}; write them in the given order")
        info = rest[0]
        if array.shape != info.shape:
            raise InputError(f"tensor {name!r}: expected shape {info.shape}, got {array.shape}")
        self._file.seek(self._offsets[self._written])
        values = array.reshape(-1)
        for start in range(0, values.size, _BLOCK):
            self._file.write(encode(values[start : start + _BLOCK], info.dtype, name).data)
        self._written += 1

    def finish(self) -> None:
        """Complete the file and put it in its place.

        Raises:
            InputError: A tensor was not written; no space is left on the disk.
        """
        if self._written < len(self._infos):
            missing = self._infos[self._written].name
            raise InputError(f"tensor {missing!r} was not written; write every one declared")
        self._file.complete()
        if self._owned:
            self._file.commit()
        self._finished = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None and not self._finished:
                self.finish()
        finally:
            if self._owned:
                self._file.discard()


NetworkWeights = Path | str | Mapping[str, Any]
"""A safetensors file, or tensors by name (NumPy or torch)."""


def parse_weights(source: Path | str | Mapping[str, Any]) -> Weights:
    """Open weights wherever they are.

    Args:
        source: Name of a safetensors file, or a state dict of NumPy arrays or torch tensors.

    Raises:
        InputError: Neither; no such file; a PyTorch pickle; an entry that is not a tensor.
        FormatError: Not a safetensors file, or a damaged one.

    Example:
        >>> with parse_weights({"bias": np.zeros(3, np.float16)}) as weights:
        ...     weights.info("bias").dtype, weights.read("bias").dtype.name
        ('F16', 'float32')
    """
    if isinstance(source, (str, Path)):
        return WeightsReader(source)
    if isinstance(source, Mapping):
        return StateDictWeights(source)
    hint = "pass model.state_dict()" if hasattr(source, "state_dict") else "pass one of these"
    raise InputError(
        f"expected a safetensors file or a state dict, got {type(source).__name__}; {hint}"
    )
