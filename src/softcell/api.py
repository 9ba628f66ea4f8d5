"""The package's few public functions, on files or on a network's tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.allocate import SCHEMES, Progress, make_plan
from softcell.devices import Device, parse_device
from softcell.durations import parse_age
from softcell.evaluate.results import Result
from softcell.evaluate.trials import DEFAULT_CELLS, Experiment
from softcell.evaluate.trials import compare as compare_schemes
from softcell.image.cell_image import CellImage, ImageHeader
from softcell.image.readings import MeasuredReadings, SimulatedChip
from softcell.image.restore import ReadReport, Restoration
from softcell.image.write import write_image
from softcell.weights import WeightsWriter, parse_weights

Network = Path | str | Mapping[str, Any]
"""A safetensors file, or tensors by name (NumPy or torch)."""


def write(
    network: Network,
    path: Path | str,
    *,
    device: Device | str = "pcm-partial-reset",
    scheme: str = "combined",
    cells_per_weight: float | None = None,
    age: str | float = 0.0,
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None,
    progress: Progress | None = None,
) -> ImageHeader:
    """Write a network to a cell image.

    Args:
        network: A safetensors file, or tensors by name.
        path: Cell image to write.
        device: A device, or its specification.
        scheme: "float32", "float16", "int8", "naive", "combined" or protections joined by "+".
        cells_per_weight: For analog schemes, all cells over all weights.
        age: Age up to which the cells must be readable, such as "10y".
        sensitivity: Diagonal Fisher information by tensor, such as `diagonal_fisher` gives.
        progress: Called with (what, done, total).

    Returns:
        The image's header, which counts its cells.

    Raises:
        SoftcellError: Whatever is wrong with the network, the device or the file.

    Example:
        >>> import tempfile
        >>> weights = {"layer.weight": np.linspace(-1, 1, 4096, dtype=np.float32).reshape(64, 64)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     header = write(weights, f"{folder}/x.cells", scheme="int8")
        ...     restored = read(f"{folder}/x.cells", seed=1)
        >>> bool(np.abs(restored["layer.weight"] - weights["layer.weight"]).max() < 0.01)
        True
    """
    device = parse_device(device) if isinstance(device, str) else device
    with parse_weights(network) as weights:
        plan = make_plan(
            weights,
            device,
            scheme,
            cells_per_weight=cells_per_weight,
            age_seconds=parse_age(age),
            sensitivity=sensitivity,
            progress=progress,
        )
        return write_image(weights, plan, path, progress=progress)


def read(
    path: Path | str, *, seed: int = 0, age: str | float = 0.0, threads: int | None = None
) -> dict[str, NDArray[Any]]:
    """Write an image to a simulated chip, let it age, read it and decode the network.

    Args:
        path: A cell image.
        seed: Which chip.
        age: Time between writing and reading, such as "10y".
        threads: Threads to use; the result does not depend on it.

    Returns:
        Tensors by name: floating-point ones as float32, others in their own type.

    Raises:
        SoftcellError: The file is damaged, or side information could not be decoded.
    """
    with CellImage(path) as image:
        chip = SimulatedChip(image, seed=seed, age_seconds=parse_age(age))
        return dict(Restoration(image, chip, threads=threads).tensors())


def restore(
    path: Path | str,
    output: Path | str,
    *,
    seed: int = 0,
    age: str | float = 0.0,
    readings: Path | str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ReadReport:
    """Decode an image to a safetensors file, tensor by tensor.

    Args:
        path: A cell image.
        output: Safetensors file to write, with the tensors' original types.
        seed: Which simulated chip.
        age: Age of the cells when they are read, such as "10y".
        readings: Measured readings of a real chip instead of a simulated one, as
            `MeasuredReadings` takes them.
        threads: Threads to use; the result does not depend on it.
        progress: Called with (what, done, total).

    Returns:
        How many code words there were, and how many failed.
    """
    with CellImage(path) as image:
        seconds = parse_age(age)
        source = (
            SimulatedChip(image, seed=seed, age_seconds=seconds)
            if readings is None
            else MeasuredReadings(image, readings, age_seconds=seconds)
        )
        restoration = Restoration(image, source, threads=threads)
        with WeightsWriter(output, [t.info for t in image.header.tensors]) as writer:
            for name, values in restoration.tensors(progress):
                writer.write(name, values)
                del values  # or the next tensor would be decoded beside it
            writer.finish()
        return restoration.report


def compare(
    network: Network,
    evaluate: Callable[[Any], float],
    *,
    device: Device | str = "pcm-partial-reset",
    schemes: Sequence[str] = SCHEMES,
    cells_per_weight: Sequence[float] = DEFAULT_CELLS,
    age: str | float = 0.0,
    seeds: int = 10,
    first_seed: int = 0,
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Store a network by every scheme on several chips, and yield what each costs and keeps.

    Args:
        network: A safetensors file, or tensors by name.
        evaluate: Gives the accuracy (or any figure of merit) of tensors by name. Given torch
            tensors in `network`, it receives torch tensors of the same types.
        device: A device, or its specification.
        schemes: Schemes to compare.
        cells_per_weight: Numbers of cells for the analog ones.
        age: Age at which chips are read, and for which they are planned.
        seeds: Number of chips for each scheme.
        first_seed: Seed of the first chip.
        sensitivity: Diagonal Fisher information by tensor.
        progress: Called with (what, done, total).
    """
    state, convert = _arrays(network)
    experiment = Experiment(
        state=state,
        evaluate=lambda restored: evaluate(convert(restored)),
        device=parse_device(device) if isinstance(device, str) else device,
        age_seconds=parse_age(age),
        sensitivity=sensitivity,
        source=partial(parse_weights, network),
    )
    return compare_schemes(
        experiment,
        schemes=schemes,
        cells_per_weight=cells_per_weight,
        seeds=seeds,
        first_seed=first_seed,
        progress=progress,
    )


def _arrays(network: Network) -> tuple[dict[str, NDArray[Any]], Callable[[Any], Any]]:
    """Return tensors as arrays, and what turns restored arrays into the network's own kind."""
    with parse_weights(network) as weights:
        state = {name: weights.read(name) for name in weights.names}
    if not isinstance(network, Mapping) or not any(hasattr(v, "detach") for v in network.values()):
        return state, dict

    def to_torch(restored: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        import torch

        return {
            name: torch.from_numpy(np.array(values)).to(network[name].dtype)
            if hasattr(network[name], "detach")
            else values
            for name, values in restored.items()
        }

    return state, to_torch
