"""A network into a cell image and back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.allocate import Plan, Procedure
from softcell.allocate.plan_file import require_network
from softcell.codes.schemes import DEFAULT, LOOP_DEFAULT
from softcell.curvature import Calibration
from softcell.devices import Device, device_from
from softcell.durations import parse_age, parse_ages
from softcell.errors import InputError
from softcell.image.cell_image import CellImage
from softcell.image.chip import StoredChip, write_chip
from softcell.image.closed_loop import Correct
from softcell.image.header import ImageHeader
from softcell.image.readings import MeasuredReadings, Readings, SimulatedChip
from softcell.image.restore import ReadReport, Restoration
from softcell.network import Network, plan_network, write_checked, write_network
from softcell.progress import Progress
from softcell.weights import NetworkWeights, WeightsWriter, parse_weights
from softcell.weights.like import tensors_like

_log = logging.getLogger(__name__)


def write(
    network: NetworkWeights | Network,
    path: Path | str,
    *,
    plan: Plan | None = None,
    device: Device | str | None = None,
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
    The image is then for that chip alone, unless all is stored error-free. It is checked on inputs
    that the calibration holds out, or on some of a `Network`'s own, whether that does good: where
    not, the loop goes by what serves better, which is logged as a warning.

    Args:
        network: A safetensors file, tensors by name, or a `Network`, which knows more of itself.
        path: Cell image to write.
        plan: Plan of the network, such as `load_plan` gives; it says all that follows up to
            `age_unknown`, and how many verifying reads there are.
        device: A device, or its specification; by default "pcm-partial-reset".
        scheme: One of `softcell.codes.schemes.SCHEMES`, or protections of the analog code joined
            by "+", see docs/codes.md; by default "combined", and "packed" with a
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
    if isinstance(network, Network):
        if any(each is not None for each in (sensitivity, calibration, correct)):
            raise InputError("a Network says what is known of it; leave out what it takes")
        given, calibration = network, network.calibration
    else:
        given = Network(
            source=partial(parse_weights, network),
            calibration=calibration,
            correct=correct,
            sensitivity=sensitivity,
        )
    if plan is None:
        if calibration is None and (correct is not None or verify_reads != 1):
            raise InputError("drift correction and verifying reads need a calibration")
        loop = calibration is not None
        planned = partial(
            plan_network,
            device=device_from(device or "pcm-partial-reset"),
            scheme=scheme or (LOOP_DEFAULT if loop else DEFAULT),
            cells_per_weight=cells_per_weight,
            ages=parse_ages(age, told=not age_unknown),
            procedure=Procedure(loop=loop, verify_reads=verify_reads),
            progress=progress,
        )
        if loop:
            header, _, check = write_checked(given, planned, path, seed=seed, progress=progress)
            for note in check.notes():
                _log.warning(note)
        else:
            header, _ = write_network(given, planned(given), path, seed=seed, progress=progress)
    else:
        _require_no_more(device, scheme, cells_per_weight, age, age_unknown, verify_reads)
        with given.source() as weights:
            require_network(plan.in_order(weights.names), weights)
        header, _ = write_network(given, plan, path, seed=seed, progress=progress)
    if chip is not None:
        keep_chip(path, chip, seed=seed, progress=progress)
    return header


def _require_no_more(
    device: Device | str | None,
    scheme: str | None,
    cells_per_weight: float | None,
    age: str | float,
    age_unknown: bool,
    verify_reads: int,
) -> None:
    """Make sure that nothing is asked for that a plan says already."""
    asked = [each for each in (device, scheme, cells_per_weight) if each is not None]
    if asked or age != 0.0 or age_unknown or verify_reads != 1:
        raise InputError(
            "the plan says device, scheme, cells, ages and verifying reads; leave them out, or "
            "make another plan"
        )


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
    like: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write an image to a simulated chip, let it age, read it and decode the network.

    Args:
        path: A cell image.
        seed: Which chip.
        age: Time between writing and reading, such as "10y".
        age_unknown: Decode without being told the age; for images that were written for a span.
        chip: File of a chip that the image was written to, in place of that of `seed`.
        threads: Threads to use; the result does not depend on it.
        like: Tensors as which the result shall come, such as `module.state_dict()`: torch tensors
            of the same types and devices.

    Returns:
        Arrays by name: floating-point ones as float32, others in their own type; or as `like`.

    Raises:
        SoftcellError: A file is damaged, the image is for another chip, side information could not
            be decoded, or `like` is another network.
    """
    with CellImage(path) as image, ExitStack() as opened:
        source = _readings(image, opened, seed=seed, age=age, chip=chip)
        found = dict(Restoration(image, source, threads=threads, age_unknown=age_unknown).tensors())
    return found if like is None else tensors_like(found, like)


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
        header = image.header
        with WeightsWriter(output, [t.info for t in header.tensors], header.texts) as writer:
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
