"""Arrays in a safetensors file that is whole and unaltered, or not there at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from softcell.atomic_file import AtomicFile, Target, written
from softcell.errors import FormatError, InputError
from softcell.weights.safetensors_file import WeightsReader

_CHECK = "softcell.sha256"


def write_tensors(
    path: Target, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write arrays and their checksum to a file, which appears only once it is complete.

    Args:
        path: File to write; an existing one is replaced, a missing folder is made. An `AtomicFile`
            is completed, and left to its owner.
        tensors: Arrays by name, any shapes.
        metadata: Texts by name, kept in the file's header.

    Raises:
        InputError: The file cannot be written (no such place, no permission, disk full). Nothing
            is left behind then.
    """
    whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    contents = save(whole, metadata={**metadata, _CHECK: digest(whole)})
    if not isinstance(path, AtomicFile):
        make_folder(Path(path).parent)
    with written(path) as file:
        file.write(contents)


def make_folder(folder: Path) -> None:
    """Make a folder, and those that it is in, where they are missing.

    Raises:
        InputError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the folder {folder}: {error.strerror or error}; choose another"
        ) from error


def read_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read all arrays of a safetensors file and the metadata of its header.

    Args:
        path: File to read; it need not come from `write_tensors`, whose checksum is compared if
            it is there.

    Returns:
        The arrays by name, in their own types (bfloat16 as float32), and the texts by name.

    Raises:
        InputError: The file does not exist or cannot be read, or holds a type that NumPy lacks.
        FormatError: The file is not safetensors, truncated or altered.
    """
    with WeightsReader(path) as file:
        try:
            tensors = {name: _own_type(file, name) for name in sorted(file.names)}
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        metadata = dict(file.metadata)
    expected = metadata.pop(_CHECK, None)
    if expected is not None and expected != digest(tensors):
        raise FormatError(f"{path} was altered: its checksum differs; restore or delete it")
    return tensors, metadata


def _own_type(file: WeightsReader, name: str) -> np.ndarray:
    if file.info(name).dtype == "F16":
        return file.raw(name).view("<f2").reshape(file.info(name).shape)
    return file.read(name)


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
