"""A calibration as a safetensors file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.curvature.calibration import Calibration
from softcell.curvature.held_out import HeldOut
from softcell.curvature.layer import Kind, LayerCurvature
from softcell.errors import FormatError
from softcell.records import parse_json, record_of, values_of
from softcell.weights.tensor_file import read_tensors, write_tensors

KIND = "softcell.calibration/1"
"""Kind of the file, in its header."""


@dataclass(frozen=True)
class _Facts:
    """What the file says besides its tensors."""

    images: int
    kind: Kind
    layers: tuple[str, ...]
    normalisations: Mapping[str, float]
    held: int = 0
    tied: tuple[tuple[str, ...], ...] = ()
    surprise: float | None = None


def save_calibration(path: str | Path, calibration: Calibration) -> None:
    """Write a calibration as safetensors, under its final name only once it is complete.

    Of a covariance its upper triangle is kept, row by row.

    Args:
        path: File to write; an existing one is replaced.
        calibration: What `calibrate` returned.

    Raises:
        InputError: The file cannot be written.
    """
    tensors = {f"fisher/{name}": values for name, values in calibration.fisher.items()}
    for name, layer in calibration.layers.items():
        for part, each in (("layer", layer), ("across", layer.across)):
            if each is not None:
                _put(tensors, part, name, each)
    held = calibration.held
    if held is not None:
        for part, moments in (("check", held.check), ("fit", held.fit)):
            for name, each in moments.items():
                _put(tensors, part, name, each)
    facts = _Facts(
        images=calibration.images,
        kind=calibration.kind,
        layers=tuple(calibration.layers),
        normalisations=calibration.normalisations,
        held=0 if held is None else held.inputs,
        tied=calibration.tied,
        surprise=calibration.surprise,
    )
    text = json.dumps(values_of(facts))
    write_tensors(path, tensors, {"kind": KIND, "calibration": text})


def load_calibration(path: str | Path) -> Calibration:
    """Read a calibration that `save_calibration` wrote.

    Args:
        path: File to read.

    Raises:
        InputError: The file does not exist or cannot be read.
        FormatError: The file is damaged, of another kind, or holds what no calibration can.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("kind") != KIND:
        raise FormatError(
            f"{path} is no calibration (its kind is {metadata.get('kind')!r}, expected {KIND!r}); "
            "give a file of `softcell calibrate --kind fisher`"
        )
    try:
        said = parse_json(metadata["calibration"])
        facts = record_of(_Facts, said, "calibration", optional=True, rest=True)
        return Calibration(
            layers={name: _layer(tensors, name) for name in facts.layers},
            normalisations=facts.normalisations,
            images=facts.images,
            kind=facts.kind,
            fisher={
                name.removeprefix("fisher/"): require_information(values, name)
                for name, values in tensors.items()
                if name.startswith("fisher/")
            },
            held=HeldOut(_moments(tensors, "check"), _moments(tensors, "fit"), facts.held)
            if facts.held
            else None,
            tied=facts.tied,
            surprise=facts.surprise,
        )
    except (KeyError, ValueError) as error:
        raise FormatError(f"{path} holds no whole calibration ({error}); make it again") from error


def require_information(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Return what can be the diagonal Fisher information of a tensor's weights.

    Raises:
        FormatError: It is not of float32 numbers, or one is negative or not finite.
    """
    if values.dtype != np.float32:
        raise FormatError(f"tensor {name!r} is of {values.dtype}, Fisher information of float32")
    if not np.isfinite(values).all() or (values < 0).any():
        raise FormatError(
            f"tensor {name!r} holds a negative or infinite value, which no Fisher information "
            "has; compute it again"
        )
    return values


def _put(
    tensors: dict[str, NDArray[np.float32]], part: str, name: str, layer: LayerCurvature
) -> None:
    tensors[f"{part}.covariance/{name}"] = _triangle(layer.covariance)
    tensors[f"{part}.rows/{name}"] = layer.rows


def _layer(tensors: Mapping[str, NDArray[np.float32]], name: str) -> LayerCurvature:
    across = None
    if f"across.rows/{name}" in tensors:
        across = _part(tensors, "across", name, joined=True)
    return _part(tensors, "layer", name, across=across)


def _moments(tensors: Mapping[str, NDArray[np.float32]], part: str) -> dict[str, LayerCurvature]:
    start = f"{part}.rows/"
    names = [name.removeprefix(start) for name in tensors if name.startswith(start)]
    return {name: _part(tensors, part, name) for name in names}


def _part(
    tensors: Mapping[str, NDArray[np.float32]], part: str, name: str, **more: Any
) -> LayerCurvature:
    square = _square(tensors[f"{part}.covariance/{name}"])
    return LayerCurvature(square, tensors[f"{part}.rows/{name}"], **more)


def _triangle(covariance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the upper triangles of (groups, n, n), row by row: (groups, n (n + 1) / 2)."""
    return np.concatenate([covariance[:, i, i:] for i in range(covariance.shape[1])], axis=1)


def _square(triangle: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the symmetric matrices of upper triangles."""
    groups, length = triangle.shape
    size = math.isqrt(2 * length)
    if size * (size + 1) != 2 * length or not length:
        raise FormatError(f"{length} numbers are no triangle of a matrix")
    square = np.empty((groups, size, size), np.float32)
    start = 0
    for i in range(size):
        row = triangle[:, start : start + size - i]
        square[:, i, i:] = row
        square[:, i:, i] = row
        start += size - i
    return square
