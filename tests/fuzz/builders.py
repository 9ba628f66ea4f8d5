"""Files put together from parts that no writer would write, their checksums right."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from softcell.image.container import Container
from softcell.image.container_index import DIGEST_BYTES, HEADER
from softcell.weights.tensor_file import digest

Parts = dict[str, tuple[str, bytes]]
"""Type and bytes of arrays by name."""


def container_parts(path: Path) -> tuple[dict[str, Any], Parts]:
    """Return metadata and sections of a container file."""
    with Container(path) as opened:
        names = opened.sections
        parts = {n: (names[n].dtype.name, opened.read(n).tobytes()) for n in names}
        return opened.metadata, parts


def container(metadata: str, sections: Parts) -> bytes:
    """Return a container file of metadata as text and sections of one segment each."""
    data, table = bytearray(HEADER), {}
    for name, (dtype, content) in sections.items():
        segment = content + bytes(-len(content) % 8)
        check = hashlib.blake2b(segment, digest_size=DIGEST_BYTES).hexdigest()
        segments = [[len(data), len(content), check]] if content else []
        length = len(content) // np.dtype(dtype).itemsize
        table[name] = {"dtype": dtype, "length": length, "segments": segments}
        data += segment
    return closed(data, f'{{"metadata":{metadata},"sections":{json.dumps(table)}}}')


def closed(data: bytes | bytearray, index: str) -> bytes:
    """Return a container file of header and segments, and an index as text."""
    text = index.encode(errors="surrogatepass")
    position = struct.pack("<QQ", len(data), len(text))
    check = hashlib.blake2b(HEADER + position + text, digest_size=DIGEST_BYTES).digest()
    return bytes(data) + text + position + check + b"\r\nsllec\x89"


def safetensors(table: str, data: bytes) -> bytes:
    """Return a safetensors file of a header as text and the tensors' bytes."""
    text = table.encode(errors="surrogatepass")
    return len(text).to_bytes(8, "little") + text + data


def safetensors_parts(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return header and data of a safetensors file."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def tensors_file(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file of arrays with their checksum, as `write_tensors` makes them."""
    kinds = {"f": "F", "i": "I", "u": "U"}
    table: dict[str, Any] = {"__metadata__": {**metadata, "softcell.sha256": digest(tensors)}}
    data = b""
    for name, array in tensors.items():
        kind = array.dtype.kind
        dtype = "BOOL" if kind == "b" else f"{kinds[kind]}{8 * array.dtype.itemsize}"
        at, data = len(data), data + np.ascontiguousarray(array).tobytes()
        offsets = [at, len(data)]
        table[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
    return safetensors(json.dumps(table), data)
