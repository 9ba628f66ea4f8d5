"""Arrays in a safetensors file that is whole and unaltered, or not there at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from softcell.atomic_file import AtomicFile
from softcell.errors import FormatError, InputError

_CHECK = "softcell.sha256"


def write_tensors(
    path: str | Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write arrays and their checksum to a file, which appears only once it is complete.

    Args:
        path: File to write; an existing one is replaced, a missing folder is made.
        tensors: Arrays by name, any shapes.
        metadata: Texts by name, kept in the file's header.

    Raises:
        InputError: The file cannot be written (no such place, no permission, disk full). Nothing
            is left behind then.
    """
    whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    contents = save(whole, metadata={**metadata, _CHECK: digest(whole)})
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the folder of {path}: {error.strerror or error}; choose another"
        ) from error
    file = AtomicFile(path)
    file.write(contents)
    file.commit()


def read_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read all arrays of a safetensors file and the metadata of its header.

    Args:
        path: File to read; it need not come from `write_tensors`, whose checksum is compared if
            it is there.

    Returns:
        The arrays by name, in memory of their own, and the texts by name.

    Raises:
        InputError: The file does not exist or cannot be read.
        FormatError: The file is not safetensors, truncated or altered.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
            metadata = dict(file.metadata() or {})
    except SafetensorError as error:
        raise FormatError(
            f"{path} is no complete safetensors file ({error}); give an unaltered one"
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror or error}; give a safetensors file"
        ) from error
    expected = metadata.pop(_CHECK, None)
    if expected is not None and expected != digest(tensors):
        raise FormatError(f"{path} was altered: its checksum differs; restore or delete it")
    return tensors, metadata


def digest(tensors: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of names, types, shapes and values, as hexadecimal digits.

    Example:
        >>> digest({"w": np.zeros(2)}) == digest({"w": np.zeros(3)})
        False
    """
    total = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        total.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        total.update(array.tobytes())
    return total.hexdigest()
