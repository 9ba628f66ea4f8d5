"""Networks into images by their plans: one way for all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from softcell.allocate import Plan
from softcell.atomic_file import AtomicFile, Target, commit_together
from softcell.errors import InputError
from softcell.feedback.memory import Memory, SimulatedMemory
from softcell.image.cell_image import CellImage
from softcell.image.chip import write_chip
from softcell.image.closed_loop import WrittenNetwork, write_closed_loop
from softcell.image.header import ImageHeader
from softcell.image.readings import simulated_chip
from softcell.image.write import write_image
from softcell.network.network import Network, opened
from softcell.progress import Progress


def write_network(
    network: Network,
    plan: Plan,
    path: Target,
    *,
    seed: int = 0,
    memory: Memory | None = None,
    chip: str | None = None,
    progress: Progress | None = None,
) -> tuple[ImageHeader, WrittenNetwork | None]:
    """Write a network as it was planned.

    Args:
        network: The network, its tensors in any order.
        plan: Its plan, which says how.
        path: Image to write; an `AtomicFile` is completed, and left to its owner.
        seed: Which simulated chip it is written to in the feedback loop.
        memory: Where columns are programmed in that loop, if not on that chip.
        chip: Name of this memory, which alone the image is for.
        progress: Called as the work goes on.

    Returns:
        The image's header, and what was written in the loop; None without it.

    Raises:
        InputError: The plan is for another network, or needs what is not known of this one.
    """
    procedure, network = plan.procedure, replace(network, keep=plan.keep)
    with opened(network, procedure) as weights:
        plan = plan.in_order(weights.names)
        if not procedure.loop:
            return write_image(weights, plan, path, progress=progress), None
        sequence = None
        if procedure.sequential:
            if network.sequence is None:
                raise InputError("the plan writes layer after layer: give a module and its inputs")
            sequence = network.sequence(procedure.sequential)
        return write_closed_loop(
            weights,
            plan,
            network.require_calibration(),
            path,
            memory=memory or SimulatedMemory(plan.device, seed, procedure.verify_reads),
            chip=(chip or simulated_chip(seed)) if plan.uses_cells else None,
            correct=network.correct if procedure.corrected else None,
            sequence=sequence,
            keep=plan.keep,
            feedback=procedure.feedback,
            progress=progress,
        )


def write_network_and_chip(
    network: Network,
    plan: Plan,
    path: Path | str,
    chip: Path | str | None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> ImageHeader:
    """Write a network as it was planned, and keep the simulated chip of a seed that it is on.

    Args:
        network: The network, its tensors in any order.
        plan: Its plan.
        path: Image to write.
        chip: File to keep the chip in, if any.
        seed: Which simulated chip.
        progress: Called as the work goes on.

    Raises:
        InputError: As for `write_network`, or both names are one.
    """
    with ExitStack() as unfinished:
        file = AtomicFile(path)
        unfinished.callback(file.discard)
        header, _ = write_network(network, plan, file, seed=seed, progress=progress)
        commit_with_chip(file, path, chip, seed=seed, progress=progress)
    return header


def commit_with_chip(
    image: AtomicFile,
    path: Path | str,
    chip: Path | str | None,
    *,
    seed: int,
    progress: Progress | None = None,
) -> None:
    """Let a complete image appear, and the simulated chip that it is on with it or not at all.

    Args:
        image: The image.
        path: Its name.
        chip: File to keep the chip in, if any.
        seed: Which simulated chip.
        progress: Called as the work goes on.

    Raises:
        InputError: Both names are one, or a file cannot be written.
    """
    if chip is None:
        image.commit()
        return
    if os.path.realpath(path) == os.path.realpath(chip):
        raise InputError(f"{path} is to hold the image; keep the chip under another name")
    with ExitStack() as unfinished:
        kept = AtomicFile(chip)
        unfinished.callback(kept.discard)
        with CellImage(image.temporary) as opened_image:
            write_chip(opened_image, seed, kept, progress=progress)
        commit_together([image, kept])


def chips(
    network: Network,
    plan: Plan,
    path: Path | str,
    seeds: Iterable[int],
    *,
    progress: Progress | None = None,
) -> Iterator[tuple[Path, int]]:
    """Write one simulated chip after the other; an image that serves every chip is written once.

    Args:
        network: The network.
        plan: Its plan.
        path: Image to write, over and over.
        seeds: Seeds of the chips.
        progress: Called as the work goes on.

    Yields:
        Image and seed of each chip, as it is written.
    """
    for number, seed in enumerate(seeds):
        if plan.by_chip or number == 0:
            write_network(network, plan, path, seed=seed, progress=progress)
        yield Path(path), seed
