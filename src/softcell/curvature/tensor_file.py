"""Arrays in a safetensors file, which is complete or not there at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from softcell.errors import FormatError, InputError


def write_tensors(
    path: str | Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write arrays to a temporary file beside `path`, then give it its name.

    Args:
        path: File to write; an existing one is replaced, a missing folder is made.
        tensors: Arrays by name, any shapes.
        metadata: Texts by name, kept in the file's header.

    Raises:
        InputError: The file cannot be written (no such place, no permission, disk full). Nothing
            is left behind then.
    """
    path = Path(path)
    contents = save(
        {name: np.ascontiguousarray(array) for name, array in tensors.items()},
        metadata=dict(metadata),
    )
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = file.name
            file.write(contents)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; choose a folder that can be written "
            "and has room"
        ) from error


def read_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read all arrays of a safetensors file and the metadata of its header.

    Args:
        path: File to read.

    Returns:
        The arrays by name, in memory of their own, and the texts by name.

    Raises:
        InputError: The file does not exist or cannot be read.
        FormatError: The file is not safetensors, truncated or altered in its header.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except SafetensorError as error:
        raise FormatError(
            f"{path} is no complete safetensors file ({error}); give an unaltered one"
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror or error}; give a safetensors file"
        ) from error
