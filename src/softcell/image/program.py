"""A network into a real chip: the write loop, closed through a lab script."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from softcell.allocate.plan import Plan, make_plan
from softcell.allocate.survey import Progress
from softcell.codes.schemes import parse_scheme
from softcell.curvature import Calibration
from softcell.devices import Device
from softcell.errors import InputError
from softcell.image.bench import Bench, Exchange
from softcell.image.cell_image import CellImage, ImageHeader
from softcell.image.closed_loop import Correct, folded, write_closed_loop
from softcell.image.readings import simulated_chip
from softcell.weights import Weights


def loop_plan(weights: Weights, device: Device, scheme: str, **settings: Any) -> Plan:
    """Return the plan of a network that is to go through the feedback loop.

    Args:
        weights: The network, its normalisations folded.
        device: The device.
        scheme: Name of the scheme.
        settings: Further settings of `make_plan`.

    Raises:
        InputError: The scheme is not written through the loop, or as for `make_plan`.
    """
    if not parse_scheme(scheme).takes_feedback:
        raise InputError(
            f"scheme {scheme!r} is not written through the feedback loop; use packed, "
            "strong-digital or another analog or entropy-coded one"
        )
    return make_plan(weights, device, scheme, vector_bits=None, **settings)


def require_chip_name(name: str) -> None:
    """Make sure that a real chip can be named so.

    Raises:
        InputError: It is empty, has more than one line, or names a simulated chip.
    """
    if not name.strip() or not name.isprintable() or name.startswith(simulated_chip(0)[:-1]):
        raise InputError(
            f"{name!r} is no name for a real chip; give printable text such as wafer3-die7"
        )


def program(
    weights: Weights,
    path: Path | str,
    *,
    chip: str,
    device: Device,
    exchange: Exchange,
    calibration: Calibration,
    scheme: str,
    correct: Correct | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> ImageHeader:
    """Write a network to a real chip through the feedback loop, and keep its image.

    Args:
        weights: The network.
        path: Cell image to write. It appears when all cells are programmed and not before.
        chip: Name of the chip, which alone the image is for.
        device: What the chip's cells are taken to be.
        exchange: Programs a batch of cells and returns their readings.
        calibration: Curvature of the network's layers.
        scheme: A scheme whose cells can be written column by column.
        correct: Corrects biases and normalisations for the drift of activations.
        progress: Called with (what, done, total).
        settings: Further settings of `make_plan`.

    Returns:
        The image's header.

    Raises:
        InputError: The network, the scheme or a reading cannot be used.
    """
    given, bench = folded(weights, calibration), Bench(device, exchange)
    plan = loop_plan(given, device, scheme, calibration=calibration, progress=progress, **settings)
    target = Path(os.path.realpath(path))
    with tempfile.TemporaryDirectory(prefix=".softcell-", dir=target.parent) as folder:
        part = Path(folder) / "part.cells"
        header, _ = write_closed_loop(
            given,
            plan,
            calibration,
            part,
            memory=bench,
            chip=chip if plan.uses_cells else None,
            correct=correct,
            progress=progress,
        )
        with CellImage(part) as image:
            bench.program_rest(image, progress)
        os.replace(part, target)
    return header
