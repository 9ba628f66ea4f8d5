"""One trial of the search: a plan is made, the network written by it, read back and measured."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.allocate import EntropyCurves, Plan, Progress, Quantiser, make_plan, parse_scheme
from softcell.allocate.feedback_entropy import entropy_curves
from softcell.allocate.survey import survey
from softcell.compress import prune_absorbing
from softcell.curvature import Calibration
from softcell.devices import Device
from softcell.errors import FormatError, InputError
from softcell.feedback.memory import SimulatedMemory
from softcell.image.cell_image import CellImage, ImageHeader
from softcell.image.closed_loop import (
    Correct,
    Sequence,
    WrittenNetwork,
    folded,
    write_closed_loop,
)
from softcell.image.readings import SimulatedChip, simulated_chip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.search.explanation import losses
from softcell.search.goal import Goal
from softcell.search.judge import SEARCH, Judge, Verdict
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


@dataclass(frozen=True)
class Trial:
    """A recipe at a number of cells, and what came of it.

    Args:
        recipe: The recipe.
        target: Cells per weight that were asked for.
        cells_per_weight: Those that it took, everything counted.
        verdict: What was measured, on average over the chips.
        predicted: Divergence in nats that the curvature lets one expect; None without.
        score: Part of what is allowed that it takes.
        inputs: Set of inputs that it was measured on.
        chips: Number of chips that it was written to.
        first_seed: Seed of the first of them.
    """

    recipe: Recipe
    target: float
    cells_per_weight: float
    verdict: Verdict
    predicted: float | None
    score: float
    inputs: int = SEARCH
    chips: int = 1
    first_seed: int = 0

    def values(self) -> dict[str, Any]:
        """Return plain values, for a file."""
        divergence = self.verdict.divergence
        finite = None if divergence is None or not np.isfinite(divergence) else divergence
        values = asdict(self) | {"recipe": self.recipe.values()}
        values["verdict"]["divergence"] = finite
        return values | {"score": self.score if np.isfinite(self.score) else None}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Trial:
        """Return the trial of plain values.

        Raises:
            FormatError: They are those of no trial.
        """
        try:
            given = dict(values)
            score = given.pop("score")
            return cls(
                recipe=Recipe.of(given.pop("recipe")),
                verdict=Verdict(**given.pop("verdict")),
                score=float("inf") if score is None else float(score),
                **given,
            )
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise FormatError(f"a trial in the plan is not as expected ({error})") from None


class Workshop:
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
        self._curves: dict[tuple[Quantiser, float, bool], EntropyCurves] = {}

    def loops(self, recipe: Recipe) -> bool:
        """Return whether a network goes through the feedback loop by this recipe."""
        return self.subject.calibration is not None and (recipe.digital or self.goal.verify)

    def weights(self, recipe: Recipe) -> Weights:
        """Open the network as it is stored by a recipe."""
        return _opened(self.subject, recipe, self.loops(recipe))

    def plan(self, recipe: Recipe, cells_per_weight: float) -> Plan:
        """Make a plan.

        Raises:
            InfeasibleError: There are too few cells.
        """
        calibration = self.subject.calibration if self.loops(recipe) else None
        if calibration is not None and recipe.corrected:
            calibration = calibration.scaled(self.corrections)
        with self.weights(recipe) as weights:
            curves = None
            if calibration is not None and recipe.digital:
                curves = self._curves_of(recipe, weights, calibration)
            return make_plan(
                weights,
                self.device,
                recipe.scheme,
                cells_per_weight=cells_per_weight,
                age_seconds=self.goal.ages,
                sensitivity=self.subject.sensitivity,
                vector_bits=recipe.vector_bits,
                calibration=calibration,
                verify_reads=recipe.verify_reads,
                quantiser=recipe.quantiser,
                curves=curves,
                keep=self.subject.keep,
                progress=self._progress,
            )

    def write(
        self, recipe: Recipe, plan: Plan, seed: int
    ) -> tuple[Mapping[str, NDArray[Any]], ImageHeader, WrittenNetwork | None]:
        """Write the network to a chip, and read it at the last of its ages."""
        with tempfile.TemporaryDirectory(prefix="softcell-") as folder:
            path = Path(folder) / "image.cells"
            header, written = write_planned(
                self.subject,
                plan,
                recipe,
                path,
                loop=self.loops(recipe),
                seed=seed,
                progress=self._progress,
            )
            with CellImage(path) as image:
                chip = SimulatedChip(image, seed=seed, age_seconds=self.goal.ages.last)
                return dict(Restoration(image, chip).tensors()), header, written

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
            state, header, written = self.write(recipe, plan, seed)
            if written is not None and self.subject.calibration is not None:
                predicted = sum(losses(written, self.subject.calibration).values())
            verdicts.append(self.subject.judge(state, inputs))
            taken.append(header.cells_per_weight)
        verdict = _mean(verdicts)
        score = self.goal.score(verdict)
        of = recipe, cells_per_weight, float(np.mean(taken)), verdict, predicted, score
        return Trial(*of, inputs, chips, first_seed), plan

    def _curves_of(
        self, recipe: Recipe, weights: Weights, calibration: Calibration
    ) -> EntropyCurves | None:
        """Return curves that are kept from plan to plan."""
        key = recipe.quantiser, recipe.sparsity, recipe.corrected
        if key not in self._curves:
            surveys = survey(
                weights,
                parse_scheme(recipe.scheme),
                sensitivity=calibration.fisher or self.subject.sensitivity,
                keep=self.subject.keep,
            )
            analog = tuple(s for s in surveys if s.kind == "analog")
            self._curves[key] = entropy_curves(
                weights, analog, calibration, recipe.quantiser, self._progress
            )
        return self._curves[key]


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
    with _opened(network, recipe, loop) as weights:
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
            progress=progress,
        )


def _opened(network: Network, recipe: Recipe, loop: bool) -> Weights:
    """Open a network as it is stored: folded for the loop, and pruned if the recipe says so."""
    weights, calibration = network.source(), network.calibration
    if calibration is None or not loop:
        return weights
    named = {f"{n}." if n else "" for n in calibration.normalisations}
    for name in sorted(network.keep):
        if any(name.startswith(prefix) and "." not in name[len(prefix) :] for prefix in named):
            raise InputError(
                f"{name!r} belongs to a normalisation, which the feedback loop folds and corrects; "
                "it cannot be kept as it is"
            )
    given = folded(weights, calibration)
    if not recipe.sparsity:
        return given
    state = {name: given.read(name) for name in given.names}
    pruned = prune_absorbing(state, recipe.sparsity, calibration, keep=network.keep)
    return ReplacedWeights(given, {name: pruned[name] for name in calibration.layers})


def _mean(verdicts: list[Verdict]) -> Verdict:
    drops = [v.drop for v in verdicts if v.drop is not None]
    divergences = [v.divergence for v in verdicts if v.divergence is not None]
    return Verdict(
        float(np.mean(drops)) if drops else None,
        float(np.mean([v.error for v in verdicts])),
        float(np.mean(divergences)) if divergences else None,
    )
