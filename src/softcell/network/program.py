"""A network into a real chip: the write loop, closed through a lab script."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from softcell.allocate import Plan
from softcell.errors import InputError
from softcell.image.bench import Bench, Exchange
from softcell.image.cell_image import CellImage
from softcell.image.header import ImageHeader
from softcell.image.readings import simulated_chip
from softcell.network.network import Network
from softcell.network.write import write_network
from softcell.progress import Progress


def require_chip_name(name: str) -> None:
    """Make sure that a real chip can be named so.

    Raises:
        InputError: It is empty, has more than one line, or names a simulated chip.
    """
    if not name.strip() or not name.isprintable() or name.startswith(simulated_chip(0)[:-1]):
        raise InputError(
            f"{name!r} is no name for a real chip; give printable text such as wafer3-die7"
        )


def program_chip(
    network: Network,
    plan: Plan,
    path: Path | str,
    *,
    chip: str,
    exchange: Exchange,
    progress: Progress | None = None,
) -> ImageHeader:
    """Write a network to a real chip through the feedback loop, and keep its image.

    Args:
        network: The network.
        plan: Its plan; the device is what the chip's cells are taken to be.
        path: Cell image to write. It appears when all cells are programmed and not before.
        chip: Name of the chip, which alone the image is for.
        exchange: Programs a batch of cells and returns their readings.
        progress: Called with (what, done, total).

    Returns:
        The image's header.

    Raises:
        InputError: The plan is none for the loop or for this network, or a reading cannot be used.
    """
    require_chip_name(chip)
    if not plan.procedure.loop:
        raise InputError("a real chip is programmed through the feedback loop; plan for that")
    bench = Bench(plan.device, exchange)
    target = Path(os.path.realpath(path))
    with tempfile.TemporaryDirectory(prefix=".softcell-", dir=target.parent) as folder:
        part = Path(folder) / "part.cells"
        header, _ = write_network(network, plan, part, memory=bench, chip=chip, progress=progress)
        with CellImage(part) as image:
            bench.program_rest(image, progress)
        os.replace(part, target)
    return header
