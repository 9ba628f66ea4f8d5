"""A network that plans are made for, and how it is written by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.plan import Plan
from softcell.allocate.survey import Progress
from softcell.compress import prune_absorbing
from softcell.curvature import Calibration
from softcell.errors import InputError
from softcell.feedback.memory import SimulatedMemory
from softcell.image.cell_image import ImageHeader
from softcell.image.closed_loop import (
    Correct,
    Sequence,
    WrittenNetwork,
    folded,
    write_closed_loop,
)
from softcell.image.readings import simulated_chip
from softcell.image.write import write_image
from softcell.search.judge import Judge
from softcell.search.recipe import Recipe
from softcell.weights import ReplacedWeights, Weights


@dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """A network that is to be stored, and what is known of it.

    Args:
        source: Opens its tensors.
        calibration: Curvature of its layers; None to store it without the feedback loop.
        correct: Corrects normalisations and biases for the drift of activations.
        sequence: Gives what writes the network layer after layer, for a share of the shift.
        sensitivity: Diagonal Fisher information by tensor, where there is no calibration.
        keep: Names of tensors that are stored as they are.
    """

    source: Callable[[], Weights]
    calibration: Calibration | None = field(default=None, repr=False)
    correct: Correct | None = None
    sequence: Callable[[float], Sequence] | None = None
    sensitivity: Mapping[str, NDArray[np.floating]] | None = field(default=None, repr=False)
    keep: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject(Network):
    """A network that a plan is looked for, with what measures how it was stored."""

    judge: Judge


def write_planned(
    network: Network,
    plan: Plan,
    recipe: Recipe,
    path: Path | str,
    *,
    loop: bool,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[ImageHeader, WrittenNetwork | None]:
    """Write a network as it was planned.

    Args:
        network: The network.
        plan: Its plan.
        recipe: The plan's recipe.
        path: Image to write.
        loop: Whether it goes through the feedback loop.
        seed: Which simulated chip it is written to in that loop.
        progress: Called as the work goes on.

    Returns:
        The image's header, and what was written in the loop.

    Raises:
        InputError: The plan is for another network, or needs what is not known of this one.
    """
    calibration = network.calibration
    with opened(network, recipe, loop=loop) as weights:
        plan = plan.in_order(weights.names)
        if not loop:
            return write_image(weights, plan, path, progress=progress), None
        if calibration is None:
            raise InputError(
                "the plan goes through the feedback loop, for which the network's calibration is "
                "needed; make one with `softcell calibrate`"
            )
        sequence = None
        if recipe.sequential:
            if network.sequence is None:
                raise InputError("the plan writes layer after layer: give a module and its inputs")
            sequence = network.sequence(recipe.sequential)
        return write_closed_loop(
            weights,
            plan,
            calibration,
            path,
            memory=SimulatedMemory(plan.device, seed, recipe.verify_reads),
            chip=simulated_chip(seed) if plan.uses_cells else None,
            correct=network.correct,
            sequence=sequence,
            keep=network.keep,
            progress=progress,
        )


@contextmanager
def opened(network: Network, recipe: Recipe, *, loop: bool) -> Iterator[Weights]:
    """Open a network as it is stored: folded for the loop, and pruned if the recipe says so.

    Raises:
        InputError: A tensor is to be kept that the loop changes.
    """
    calibration = network.calibration
    with network.source() as weights:
        if calibration is None or not loop:
            yield weights
            return
        _require_kept(network.keep, calibration)
        given = folded(weights, calibration)
        if recipe.sparsity:
            state = {name: given.read(name) for name in given.names}
            pruned = prune_absorbing(state, recipe.sparsity, calibration, keep=network.keep)
            given = ReplacedWeights(given, {name: pruned[name] for name in calibration.layers})
        yield given


def _require_kept(keep: frozenset[str], calibration: Calibration) -> None:
    modules = {f"{n}." if n else "" for n in calibration.normalisations}
    for name in sorted(keep):
        if any(name.startswith(m) and "." not in name[len(m) :] for m in modules):
            raise InputError(
                f"{name!r} belongs to a normalisation, which the feedback loop folds and corrects; "
                "it cannot be kept as it is"
            )
