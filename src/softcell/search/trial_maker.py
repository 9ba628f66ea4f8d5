"""Plans are made here, and tried: the network written by them, read back and measured."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.allocate import Plan, Procedure
from softcell.allocate.survey import Known, survey
from softcell.codes.entropy.plan.curves import EntropyCurves
from softcell.codes.entropy.plan.loop import entropy_curves
from softcell.codes.schemes import parse_scheme
from softcell.curvature import Calibration
from softcell.devices import Device
from softcell.image.cell_image import CellImage
from softcell.image.closed_loop import WrittenNetwork, losses
from softcell.image.header import ImageHeader
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.network import opened, plan_network, write_network
from softcell.progress import Progress
from softcell.search.goal import Goal
from softcell.search.judge import SEARCH, Verdict
from softcell.search.recipe import Recipe
from softcell.search.subject import Subject
from softcell.search.trial import Trial
from softcell.weights import Weights

_CURVES = ("states", "trade_off", "sparsity", "by_row", "corrected")
"""What curves of loss against bits depend on."""


class TrialMaker:
    """Makes plans of a network, and tries them.

    Args:
        subject: The network.
        device: The device.
        goal: What plans have to keep to.
        progress: Called as the work goes on.
    """

    def __init__(
        self,
        subject: Subject,
        device: Device,
        goal: Goal,
        *,
        progress: Progress | None = None,
    ) -> None:
        self.subject, self.device, self.goal = subject, device, goal
        self.corrections: dict[str, float] = {}
        self._progress = progress
        self._curves: dict[Recipe, EntropyCurves] = {}
        self._known: defaultdict[tuple[bool, float], Known] = defaultdict(dict)

    def loops(self, recipe: Recipe) -> bool:
        """Return whether a network goes through the feedback loop by this recipe."""
        return self.subject.calibration is not None and (recipe.digital or self.goal.verify)

    def procedure(self, recipe: Recipe) -> Procedure:
        """Return how a network is written by a recipe."""
        return recipe.procedure(loop=self.loops(recipe))

    def weights(self, recipe: Recipe) -> AbstractContextManager[Weights]:
        """Open the network as it is stored by a recipe."""
        return opened(self.subject, self.procedure(recipe))

    def plan(self, recipe: Recipe, cells_per_weight: float) -> Plan:
        """Make a plan.

        Raises:
            InfeasibleError: There are too few cells.
        """
        calibration = self.subject.calibration if self.loops(recipe) else None
        if calibration is not None and recipe.corrected:
            calibration = calibration.scaled(self.corrections)
        if calibration is not None and not recipe.by_row:
            calibration = calibration.by_tensor()
        curves = None
        if calibration is not None and recipe.digital:
            curves = self._curves_of(recipe, calibration)
        return plan_network(
            self.subject,
            self.device,
            recipe.scheme,
            cells_per_weight=cells_per_weight,
            ages=self.goal.ages,
            procedure=self.procedure(recipe),
            vector_bits=recipe.vector_bits,
            calibration=calibration,
            quantiser=recipe.quantiser,
            curves=curves,
            known=self._known_of(recipe),
            progress=self._progress,
        )

    def write(
        self, plan: Plan, seed: int
    ) -> tuple[dict[str, NDArray[Any]], ImageHeader, WrittenNetwork | None]:
        """Write the network to a chip, and read it at the last of its ages."""
        states, header, written = self._written(plan, seed)
        return states[0], header, written

    def _written(
        self, plan: Plan, seed: int
    ) -> tuple[list[dict[str, NDArray[Any]]], ImageHeader, WrittenNetwork | None]:
        """Write the network to a chip; read it at the last of its ages, and at the first if that is
        another.
        """
        ages = self.goal.ages
        with tempfile.TemporaryDirectory(prefix="softcell-") as folder:
            path = Path(folder) / "image.cells"
            header, written = write_network(
                self.subject, plan, path, seed=seed, progress=self._progress
            )
            with CellImage(path) as image:
                states = []
                for age in dict.fromkeys((ages.last, ages.first)):
                    chip = SimulatedChip(image, seed=seed, age_seconds=age)
                    restoration = Restoration(image, chip, age_unknown=not ages.told)
                    states.append(dict(restoration.tensors()))
                return states, header, written

    def trial(
        self,
        recipe: Recipe,
        cells_per_weight: float,
        *,
        inputs: int = SEARCH,
        chips: int = 1,
        first_seed: int = 0,
    ) -> tuple[Trial, Plan]:
        """Plan, write, read and measure; return the plan, too.

        Raises:
            InfeasibleError: There are too few cells.
        """
        plan = self.plan(recipe, cells_per_weight)
        verdicts, taken, predicted = [], [], None
        # All that is stored error-free is the same on every chip.
        for seed in range(first_seed, first_seed + (1 if recipe.digital else chips)):
            states, header, written = self._written(plan, seed)
            if written is not None and self.subject.calibration is not None:
                predicted = sum(losses(written, self.subject.calibration).values())
            judged = [self.subject.judge(state, inputs) for state in states]
            verdicts.append(max(judged, key=self.goal.score))
            taken.append(header.cells_per_weight)
        verdict = _mean(verdicts)
        score = self.goal.score(verdict)
        of = recipe, cells_per_weight, float(np.mean(taken)), verdict, predicted, score
        return Trial(*of, inputs, chips, first_seed), plan

    def _known_of(self, recipe: Recipe) -> Known:
        """Return what earlier plans saw of the weights as `weights` opens them."""
        procedure = self.procedure(recipe)
        return self._known[procedure.loop, procedure.sparsity]

    def _curves_of(self, recipe: Recipe, calibration: Calibration) -> EntropyCurves:
        """Return curves that are kept from plan to plan."""
        key = replace(Recipe(), **{name: getattr(recipe, name) for name in _CURVES})
        if key in self._curves:
            return self._curves[key]
        with self.weights(recipe) as weights:
            surveys = survey(
                weights,
                parse_scheme(recipe.scheme),
                sensitivity=calibration.fisher or self.subject.sensitivity,
                keep=self.subject.keep,
                known=self._known_of(recipe),
            )
            matrices = tuple(s for s in surveys if s.coded)
            self._curves[key] = entropy_curves(
                weights, matrices, calibration, recipe.quantiser, self._progress
            )
        return self._curves[key]


def _mean(verdicts: list[Verdict]) -> Verdict:
    drops = [v.drop for v in verdicts if v.drop is not None]
    divergences = [v.divergence for v in verdicts if v.divergence is not None]
    return Verdict(
        float(np.mean(drops)) if drops else None,
        float(np.mean([v.error for v in verdicts])),
        float(np.mean(divergences)) if divergences else None,
        verdicts[0].guessing,
    )
