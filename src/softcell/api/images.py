"""A network into a cell image and back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.plan import make_plan
from softcell.allocate.survey import Progress
from softcell.codes.schemes import PACKED
from softcell.curvature import Calibration
from softcell.devices import Device, device_from
from softcell.durations import parse_age, parse_ages
from softcell.errors import InputError
from softcell.feedback.memory import SimulatedMemory
from softcell.image.cell_image import CellImage, ImageHeader
from softcell.image.chip import StoredChip, write_chip
from softcell.image.closed_loop import Correct, folded, write_closed_loop
from softcell.image.program import loop_plan
from softcell.image.readings import MeasuredReadings, Readings, SimulatedChip, simulated_chip
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
    scheme: str | None = None,
    cells_per_weight: float | None = None,
    age: str | float = 0.0,
    age_unknown: bool = False,
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None,
    calibration: Calibration | None = None,
    correct: Correct | None = None,
    verify_reads: int = 1,
    chip: Path | str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> ImageHeader:
    """Write a network to a cell image, and to a simulated chip if you like.

    With a calibration the network goes through the feedback loop: it is written to the chip of
    `seed` column by column, each absorbing the error that the cells before it were found to make.
    The image is then for that chip alone, unless all is stored error-free.

    Args:
        network: A safetensors file, or tensors by name.
        path: Cell image to write.
        device: A device, or its specification.
        scheme: "float32", "float16", "int8", "naive", "combined", protections joined by "+", or a
            code of its own, see docs/codes.md; by default "combined", and "packed" with a
            calibration.
        cells_per_weight: For analog schemes, all cells over all weights.
        age: Age up to which the cells must be readable, such as "10y", or a span of ages that they
            are read at, such as "1d..10y".
        age_unknown: Design for a decoder that is not told the age.
        sensitivity: Diagonal Fisher information by tensor, such as `diagonal_fisher` gives.
        calibration: Curvature of the network's layers, such as `calibrate` gives.
        correct: With a calibration, takes the tensors as they will be read and returns those that
            make up for the drift of activations, such as
            `DriftCorrection(module, images)` of `softcell.feedback`.
        verify_reads: With a calibration, verifying reads of each cell, which are averaged.
        chip: File to keep the written chip in, for `read` and `restore`.
        seed: Which simulated chip.
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
    device = device_from(device)
    ages = parse_ages(age, told=not age_unknown)
    with parse_weights(network) as weights:
        if calibration is None:
            if correct is not None or verify_reads != 1:
                raise InputError("drift correction and verifying reads need a calibration")
            plan = make_plan(
                weights,
                device,
                scheme or "combined",
                cells_per_weight=cells_per_weight,
                age_seconds=ages,
                sensitivity=sensitivity,
                progress=progress,
            )
            header = write_image(weights, plan, path, progress=progress)
        else:
            given = folded(weights, calibration)
            plan = loop_plan(
                given,
                device,
                scheme or PACKED,
                cells_per_weight=cells_per_weight,
                age_seconds=ages,
                sensitivity=sensitivity,
                calibration=calibration,
                verify_reads=verify_reads,
                progress=progress,
            )
            header, _ = write_closed_loop(
                given,
                plan,
                calibration,
                path,
                memory=SimulatedMemory(device, seed, verify_reads),
                chip=simulated_chip(seed) if plan.uses_cells else None,
                correct=correct,
                progress=progress,
            )
    if chip is not None:
        keep_chip(path, chip, seed=seed, progress=progress)
    return header


def keep_chip(
    path: Path | str, chip: Path | str, *, seed: int, progress: Progress | None = None
) -> None:
    """Write an image to a simulated chip, and keep the chip in a file.

    Args:
        path: A cell image.
        chip: File to write.
        seed: Which simulated chip.
        progress: Called with (what, done, total).
    """
    with CellImage(path) as image:
        write_chip(image, seed, chip, progress=progress)


def read(
    path: Path | str,
    *,
    seed: int = 0,
    age: str | float = 0.0,
    age_unknown: bool = False,
    chip: Path | str | None = None,
    threads: int | None = None,
) -> dict[str, NDArray[Any]]:
    """Write an image to a simulated chip, let it age, read it and decode the network.

    Args:
        path: A cell image.
        seed: Which chip.
        age: Time between writing and reading, such as "10y".
        age_unknown: Decode without being told the age; for images that were written for a span.
        chip: File of a chip that the image was written to, in place of that of `seed`.
        threads: Threads to use; the result does not depend on it.

    Returns:
        Tensors by name: floating-point ones as float32, others in their own type.

    Raises:
        SoftcellError: A file is damaged, the image is for another chip, or side information could
            not be decoded.
    """
    with CellImage(path) as image, ExitStack() as opened:
        source = _readings(image, opened, seed=seed, age=age, chip=chip)
        return dict(Restoration(image, source, threads=threads, age_unknown=age_unknown).tensors())


def restore(
    path: Path | str,
    output: Path | str,
    *,
    seed: int = 0,
    age: str | float = 0.0,
    age_unknown: bool = False,
    chip: Path | str | None = None,
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
        age_unknown: Decode without being told the age; for images that were written for a span.
        chip: File of a chip that the image was written to, in place of that of `seed`.
        readings: Measured readings of a real chip instead of a simulated one, as
            `MeasuredReadings` takes them.
        threads: Threads to use; the result does not depend on it.
        progress: Called with (what, done, total).

    Returns:
        How many code words there were, and how many failed.
    """
    with CellImage(path) as image, ExitStack() as opened:
        source = _readings(image, opened, seed=seed, age=age, chip=chip, measured=readings)
        restoration = Restoration(image, source, threads=threads, age_unknown=age_unknown)
        with WeightsWriter(output, [t.info for t in image.header.tensors]) as writer:
            for name, values in restoration.tensors(progress):
                writer.write(name, values)
                del values  # or the next tensor would be decoded beside it
            writer.finish()
        return restoration.report


def _readings(
    image: CellImage,
    opened: ExitStack,
    *,
    seed: int,
    age: str | float,
    chip: Path | str | None,
    measured: Path | str | None = None,
) -> Readings:
    """Return the readings of a simulated chip, of one in a file, or of a real one."""
    seconds = parse_age(age)
    if chip is not None and measured is not None:
        raise InputError("measured readings are of a real chip; leave out the simulated one")
    if measured is not None:
        return MeasuredReadings(image, measured, age_seconds=seconds)
    if chip is not None:
        return opened.enter_context(StoredChip(image, chip, age_seconds=seconds))
    return SimulatedChip(image, seed=seed, age_seconds=seconds)
