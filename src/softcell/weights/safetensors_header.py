"""The header of a safetensors file: names, shapes and formats of its tensors, and where they lie.

A file is the header's length (u64, little-endian), the header (a JSON object), and the tensors'
bytes back to back. Read strictly: the safetensors library takes the last of two equal names.

Source:
    https://github.com/huggingface/safetensors, README, "Format".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from softcell.errors import FormatError, InputError
from softcell.weights.tensor_values import BITS

LENGTH_BYTES = 8
# The library's own limit.
_MAX_HEADER_BYTES = 100_000_000
_MOST_AXES = 32
_METADATA = "__metadata__"
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Name, shape and number format of a tensor.

    Attributes:
        name: Name of the tensor.
        shape: Lengths of its axes, each at least 0; empty for a scalar.
        dtype: Format as safetensors names it, such as "F32", "BF16", "I64", "BOOL".

    Raises:
        InputError: A name, shape or format that a safetensors file cannot hold.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name == _METADATA:
            raise InputError(f"{self.name!r} is not a tensor's name; use other text")
        if not self.name.isascii():
            try:
                self.name.encode()
            except UnicodeEncodeError:
                raise InputError(f"{self.name!r} is not a tensor's name: no Unicode text") from None
        if not all(type(n) is int and n >= 0 for n in self.shape):
            raise InputError(f"tensor {self.name!r}: shape {self.shape} is not made of counts")
        if not isinstance(self.dtype, str) or self.dtype not in BITS:
            raise InputError(f"tensor {self.name!r}: dtype {self.dtype!r} is none of {[*BITS]}")
        # NumPy counts bytes in 63 bits, even those of an empty array's other axes.
        widest = math.prod(max(n, 1) for n in self.shape[:_MOST_AXES]) * 16
        if len(self.shape) > _MOST_AXES or widest >= 1 << 63:
            shape = f"{self.shape}"
            raise InputError(f"tensor {self.name!r}: no array has the shape {shape:.80}")
        if self.size * BITS[self.dtype] % 8:
            raise InputError(f"tensor {self.name!r}: {self.dtype} does not fill whole bytes")

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def rows(self) -> int:
        """Output channels: the length of the first axis, 1 for a vector."""
        return rows_of(self.shape)

    @property
    def columns(self) -> int:
        """Weights of one output channel of a tensor that is not empty."""
        return self.size // self.rows

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        return self.size * BITS[self.dtype] // 8


def rows_of(shape: tuple[int, ...]) -> int:
    """Return the output channels of a tensor of this shape.

    Example:
        >>> rows_of((16, 3, 3, 3)), rows_of((10,))
        (16, 1)
    """
    return shape[0] if len(shape) > 1 else 1


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file holds.

    Attributes:
        tensors: Tensors by name with their offset from the start of the file, by offset.
        metadata: The file's own texts.
    """

    tensors: dict[str, tuple[TensorInfo, int]]
    metadata: dict[str, str]


def layout(infos: Sequence[TensorInfo], metadata: Mapping[str, str]) -> tuple[bytes, list[int]]:
    """Make the bytes before the tensors, and say where each tensor belongs.

    Wider formats come first, and the header is padded, so that every tensor is aligned to its
    element, as in files of the safetensors library.

    Returns:
        Length and header, and the offset of each of `infos` from the start of the file.

    Raises:
        InputError: Two tensors of one name; metadata that are not text.
    """
    if len({info.name for info in infos}) != len(infos):
        raise InputError("two tensors have the same name; give each its own")
    if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
        raise InputError("safetensors metadata must map text to text; convert numbers with str()")
    table: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    begins = [0] * len(infos)
    at = 0
    for i in sorted(range(len(infos)), key=lambda i: -BITS[infos[i].dtype]):
        info, begins[i] = infos[i], at
        at += info.nbytes
        table[info.name] = {
            "dtype": info.dtype,
            "shape": list(info.shape),
            "data_offsets": [begins[i], at],
        }
    text = json.dumps(table, ensure_ascii=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    front = len(text).to_bytes(LENGTH_BYTES, "little") + text
    return front, [len(front) + begin for begin in begins]


def header_bytes(start: bytes, file_bytes: int, path: Path) -> int:
    """Return the length of the header, from the first bytes of a file.

    Args:
        start: The file's first 8 bytes.
        file_bytes: Length of the file.
        path: The file, for the error.

    Raises:
        FormatError: Not a safetensors file, or truncated.
        InputError: A pickle, which is never opened.
    """
    length = int.from_bytes(start, "little")
    short = len(start) < LENGTH_BYTES
    if (short or length > _MAX_HEADER_BYTES) and (
        start.startswith(_PICKLE_STARTS) or path.suffix in _PICKLES
    ):
        safe = path.with_suffix(".safetensors").name
        raise InputError(
            f"{path} is a pickle, which can run code and is never opened; convert it where you "
            f'trust it: safetensors.torch.save_file(torch.load("{path.name}", weights_only=True), '
            f'"{safe}")'
        )
    if not start:
        raise FormatError(f"{path} is empty: expected a safetensors file; save or copy it again")
    if short or length > _MAX_HEADER_BYTES or length < 2:
        raise FormatError(f"{path} is not a safetensors file: it does not begin with a header")
    if LENGTH_BYTES + length > file_bytes:
        raise FormatError(
            f"{path} is truncated in its header, or not a safetensors file; copy it again"
        )
    return length


def parse_header(text: bytes, file_bytes: int, path: Path) -> Header:
    """Read and check a header.

    Args:
        text: The header, without its length.
        file_bytes: Length of the file.
        path: The file, for the error.

    Raises:
        FormatError: Not a header; two equal names; tensors that overlap, leave a gap, or do not
            end with the file; a shape that does not fit its bytes.
    """
    begin = LENGTH_BYTES + len(text)
    try:
        table = json.loads(text.decode(), object_pairs_hook=_unique, parse_constant=_refuse)
        if not isinstance(table, dict):
            raise ValueError("it is not a JSON object")
        metadata = _metadata(table.pop(_METADATA, {}))
        spans = [_span(name, entry) for name, entry in table.items()]
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not a safetensors header: {error}") from None
    spans.sort(key=lambda span: span[1:])
    tensors = {}
    at = 0
    for info, first, last in spans:
        if first != at:
            how = "overlaps the one before" if first < at else "leaves a gap before it"
            raise FormatError(f"{path}: tensor {info.name!r} {how}; save the file again")
        tensors[info.name] = (info, begin + first)
        at = last
    if begin + at != file_bytes:
        how = "truncated" if begin + at > file_bytes else "longer than its tensors"
        raise FormatError(
            f"{path} is {how}: expected {begin + at} bytes, got {file_bytes}; copy it again"
        )
    return Header(tensors, metadata)


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise ValueError(f"{name!r} occurs twice")
        table[name] = value
    return table


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _metadata(table: object) -> dict[str, str]:
    if not isinstance(table, dict) or not all(isinstance(text, str) for text in table.values()):
        raise ValueError(f"{_METADATA} does not map text to text")
    return table


def _span(name: str, entry: object) -> tuple[TensorInfo, int, int]:
    """Check one tensor's entry; return what it is and its first and last byte among the data."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} needs dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not isinstance(shape, list):
        raise ValueError(f"tensor {name!r} has dtype {dtype!r} and shape {shape!r}")
    if not isinstance(offsets, list) or [type(n) for n in offsets] != [int, int]:
        raise ValueError(f"tensor {name!r} has data_offsets {offsets!r}")
    info = TensorInfo(name, tuple(shape), dtype)
    first, last = offsets
    if first < 0 or last - first != info.nbytes:
        raise ValueError(
            f"tensor {name!r} of {info.nbytes} bytes has data_offsets {first} to {last}"
        )
    return info, first, last
