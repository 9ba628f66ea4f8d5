"""Where training for few cells starts: the best of some plans that need none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.plan import Plan
from softcell.devices import Device
from softcell.durations import Ages
from softcell.progress import Progress
from softcell.search import Goal, Recipe
from softcell.search.judge import State
from softcell.search.trial import Trial
from softcell.search.trial_maker import TrialMaker
from softcell.training.matrix_steps import entropy_codes
from softcell.training.problem import Problem
from softcell.training.settings import FewCells
from softcell.training.trained_network import TrainedNetwork

VECTOR_BITS = 12
"""Bits of a number in biases and normalisations."""

_LESS = 0.985
"""Cells of the next plan that is tried, over those of the one before."""


@dataclass(frozen=True, eq=False)
class Start:
    """What training starts from.

    Args:
        latent: All tensors, normalisations folded; matrices as they are to be trained, or as they
            are written.
        steps: Steps of every matrix: one, or one for each row.
        states: States of the trellis that the matrices are paths of.
        plan: The plan.
        cells: Cells per weight that it takes.
    """

    latent: Mapping[str, NDArray[np.float32]]
    steps: Mapping[str, NDArray[np.float32]]
    states: int
    plan: Plan
    cells: float


def start_of(
    problem: Problem,
    device: Device,
    ages: Ages,
    settings: FewCells,
    *,
    given: State,
    progress: Progress | None = None,
) -> Start:
    """Return where the training of a network starts.

    Rounding is a matter of luck: of plans of nearly as many cells that with the least estimated
    drop is taken, as the problem's subject is judged: a task's network on training images.

    Args:
        problem: The network.
        device: The device.
        ages: Ages at which the cells are read.
        settings: The settings.
        given: The float network.
        progress: Called as the work goes on.
    """
    cells = settings.cells + settings.above
    goal = Goal(max_cells=cells, ages=ages)
    maker = TrialMaker(problem.subject(given), device, goal, progress=progress)
    states = 1 if settings.matrices else 8
    recipe = Recipe(states=states, vector_bits=VECTOR_BITS, sequential=0.5, by_row=settings.by_row)
    tried: list[tuple[Trial, Plan]] = []
    for number in range(settings.plans):
        tried.append(maker.trial(recipe, cells * _LESS**number))
        if progress:
            progress("plans", number + 1, settings.plans)
    best, plan = min(tried, key=lambda each: each[0].score)
    state, header, _ = maker.write(plan, best.first_seed)
    latent, steps = dict(state), {}
    for name, (code, rows) in entropy_codes(plan).items():
        by_row = code.row_steps(rows)
        steps[name] = by_row if settings.by_row else by_row.max(keepdims=True)
        if settings.matrices and name in problem.parameters:
            most = settings.room * steps[name].reshape(-1, *(1,) * (state[name].ndim - 1))
            latent[name] = state[name] + np.clip(given[name] - state[name], -most, most)
    return Start(latent, steps, states, plan, header.cells_per_weight)


def start_from(network: TrainedNetwork) -> Start:
    """Return a trained network as the start of another training: its plan, and its very weights."""
    plan, codes = network.plan, entropy_codes(network.plan)
    return Start(
        network.state,
        {name: code.row_steps(rows) for name, (code, rows) in codes.items()},
        max((code.states for code, _ in codes.values()), default=1),
        plan,
        float(plan.target or 0),
    )
