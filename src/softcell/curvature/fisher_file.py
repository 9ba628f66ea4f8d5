"""A diagonal Fisher as a safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from softcell.curvature.calibration_file import KIND as CALIBRATION
from softcell.curvature.calibration_file import load_calibration, require_information
from softcell.errors import FormatError, InputError
from softcell.weights.tensor_file import read_tensors, write_tensors

_KIND = "softcell.fisher/1"


def save_fisher(path: str | Path, fisher: Mapping[str, np.ndarray]) -> None:
    """Write a diagonal Fisher as safetensors, under its final name only once it is complete.

    Args:
        path: File to write; an existing one is replaced.
        fisher: What `diagonal_fisher` returned.

    Raises:
        InputError: The file cannot be written.
    """
    write_tensors(path, fisher, {"kind": _KIND})


def load_fisher(path: str | Path) -> dict[str, np.ndarray]:
    """Read a diagonal Fisher that `save_fisher` wrote.

    A calibration that `save_calibration` wrote serves too, if it is of the kind `fisher`.

    Args:
        path: File to read.

    Returns:
        One float32 array for every parameter, values >= 0.

    Raises:
        InputError: The file does not exist or cannot be read, or is a calibration of the kind
            `inputs`.
        FormatError: The file is damaged, of another kind, or holds a negative or infinite value.
    """
    fisher, metadata = read_tensors(path)
    if metadata.get("kind") == CALIBRATION:
        fisher = dict(load_calibration(path).fisher)
        if not fisher:
            raise InputError(
                f"{path} is a calibration by the inputs of the layers, which tells nothing of the "
                "outputs; make one with `softcell calibrate --kind fisher`"
            )
    elif metadata.get("kind") != _KIND:
        raise FormatError(
            f"{path} is no diagonal Fisher (its kind is {metadata.get('kind')!r}, expected "
            f"{_KIND!r}); give a file that save_fisher wrote"
        )
    try:
        return {name: require_information(values, name) for name, values in fisher.items()}
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
