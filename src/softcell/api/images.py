"""A network into a cell image."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softcell.allocate import Plan, Procedure
from softcell.allocate.plan_file import require_network
from softcell.codes.schemes import DEFAULT, LOOP_DEFAULT
from softcell.curvature import Calibration
from softcell.devices import Device, device_from
from softcell.durations import parse_ages
from softcell.errors import InputError
from softcell.image.closed_loop import Correct
from softcell.image.header import ImageHeader
from softcell.network import Network, plan_network, write_checked, write_network_and_chip
from softcell.progress import Progress
from softcell.weights import NetworkWeights, parse_weights

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
        chip: File to keep the written chip in, for `read` and `restore`. Image and chip appear
            together or not at all.
        seed: Which simulated chip.
        progress: Called with (what, done, total).

    Returns:
        The image's header, which counts its cells.

    Raises:
        SoftcellError: Whatever is wrong with the network, the device or the file.

    Example:
        >>> import tempfile
        >>> import softcell
        >>> weights = {"layer.weight": np.linspace(-1, 1, 4096, dtype=np.float32).reshape(64, 64)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     header = write(weights, f"{folder}/x.cells", scheme="int8")
        ...     restored = softcell.read(f"{folder}/x.cells", seed=1)
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
            header, _, check = write_checked(
                given, planned, path, chip=chip, seed=seed, progress=progress
            )
            for note in check.notes():
                _log.warning(note)
            return header
        plan = planned(given)
    else:
        _require_no_more(device, scheme, cells_per_weight, age, age_unknown, verify_reads)
        with given.source() as weights:
            require_network(plan.in_order(weights.names), weights)
    return write_network_and_chip(given, plan, path, chip, seed=seed, progress=progress)


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
