"""The joint search: the recipe and the fewest cells that keep to a goal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from softcell.allocate.plan import Plan
from softcell.allocate.plan_file import save_plan
from softcell.codes.schemes import LOOK_UP_DEFAULT
from softcell.devices import Device
from softcell.errors import InfeasibleError
from softcell.image.header import ImageHeader
from softcell.network import Network, write_network
from softcell.network.corrections import GroupError, factors, group_errors
from softcell.progress import Progress
from softcell.search.goal import Goal
from softcell.search.judge import CONFIRM, FEW, SEARCH
from softcell.search.recipe import Recipe, first_recipe, variations
from softcell.search.subject import Subject
from softcell.search.trial import Trial
from softcell.search.trial_maker import TrialMaker

MOST_CELLS = 16.0
"""Cells per weight above which there is no use in looking."""

_CLOSE = 1.04
"""The search for cells ends when what is enough and what is too little are so close,"""

_TRIALS = 7
"""or after so many trials."""

_AIM = 0.93
"""Score that a trial aims at: a little better than needed, so that half of them are good enough."""

_SLOPE = 3.0
"""Usual fall of the logarithm of the score with that of the cells,"""

_SLOPES = (1.5, 12.0)
"""and its bounds."""

_NEAREST, _FAR = 4, 6.0
"""Trials that the next one is reckoned from: the nearest, unless their scores are so far off."""

_BETTER = 0.03
"""A variation is kept if it takes away this part of the damage."""

_CONFIRMATIONS = 4


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a search found.

    Args:
        plan: The plan.
        best: The trial that it was found by.
        confirmed: The same plan on inputs and chips that the search has not seen.
        trials: All that was tried, in order.
        groups: Predicted and measured divergence by groups of layers; empty if not measured.
        network: The network.
    """

    plan: Plan
    best: Trial
    confirmed: Trial
    trials: tuple[Trial, ...] = field(repr=False)
    groups: tuple[GroupError, ...] = field(repr=False)
    network: Network = field(repr=False)

    def write(self, path: Path | str, *, seed: int = 0) -> ImageHeader:
        """Write the network to a cell image, and to the simulated chip of a seed.

        Args:
            path: Image to write.
            seed: Which chip, for codes whose cells are verified.
        """
        return write_network(self.network, self.plan, path, seed=seed)[0]

    def save(self, path: Path | str) -> None:
        """Keep the plan in a file, for `load_plan` and `softcell write --plan`."""
        save_plan(path, self.plan)


class Search:
    """Looks for the fewest cells.

    Args:
        subject: The network.
        device: The device.
        goal: What must hold.
        known: Trials of a search that was interrupted: they are not made again.
        seeds: Chips that a plan is confirmed on.
        first_seed: Seed of the first of these; the search itself writes to the chip before it.
        verify_reads: Verifying reads of a cell in the loop.
        vary: Whether other recipes than the first are tried; otherwise cells alone are looked for.
        told: Called after every trial with it and the best so far (None while none is good enough).
        progress: Called as the work goes on.

    Attributes:
        first: The recipe that the search begins with.
        trials: What was tried so far.
        groups: Predicted and measured divergence by groups of layers, if it was measured.
    """

    def __init__(
        self,
        subject: Subject,
        device: Device,
        goal: Goal,
        *,
        known: Sequence[Trial] = (),
        seeds: int = 3,
        first_seed: int = 1,
        verify_reads: int = 1,
        vary: bool = True,
        told: Callable[[Trial, Trial | None], None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.maker = TrialMaker(subject, device, goal, progress=progress)
        self.first = replace(first_recipe(goal.decoder), verify_reads=verify_reads)
        if not self.first.digital and not self.maker.loops(self.first):
            self.first = replace(self.first, scheme=LOOK_UP_DEFAULT)
        self.goal, self.trials = goal, list[Trial]()
        self.groups: tuple[GroupError, ...] = ()
        self._known = {_key(trial): trial for trial in known}
        self._plans: dict[tuple[Recipe, float], Plan] = {}
        self._seeds, self._first, self._told = seeds, first_seed, told
        self._vary, self._progress = vary, progress

    @property
    def best(self) -> Trial | None:
        """The trial of fewest cells among those that are good enough; where cells alone are
        limited, that of the least damage.
        """
        seen = [t for t in self.trials if t.inputs == SEARCH and self._allowed(t)]
        if not self.goal.measured:
            return min(seen, key=_damage, default=None)
        enough = [t for t in seen if t.score <= 1]
        return min(enough, key=lambda t: t.cells_per_weight, default=None)

    def run(self) -> Outcome:
        """Search.

        Raises:
            InfeasibleError: The goal cannot be reached.
            InputError: What the goal asks for cannot be measured.
        """
        if not self.goal.measured:
            trial = self._fitting(self.first, float(self.goal.max_cells or 1))
            return self._confirmed(self._varied(trial))
        base = self._settled(self.first, 1.0)
        varied = self._varied(base)
        if varied.recipe != base.recipe:
            with suppress(InfeasibleError):  # the first recipe may do where this one does not
                self._settled(varied.recipe, self._next_target([varied], 0.0, np.inf))
        if self.best is None:
            nearest = min(self.trials, key=lambda t: t.score)
            raise InfeasibleError(
                f"{self.goal} cannot be reached: at {nearest.cells_per_weight:.2f} cells per "
                f"weight {_shown(nearest)}; allow more, or another decoder"
            )
        return self._confirmed(self.best)

    def at(self, recipe: Recipe, target: float, *, inputs: int = SEARCH) -> Trial:
        """Try a recipe at a number of cells, unless that is known already."""
        target = float(f"{target:.4g}")
        chips, seed = (1, self._first - 1) if inputs == SEARCH else (self._seeds, self._first)
        if recipe.corrected and not self.maker.corrections:
            self._measure_groups(recipe)
        key = recipe, target, inputs, chips, seed
        trial = self._known.get(key)
        if trial is None:
            trial, plan = self.maker.trial(
                recipe, target, inputs=inputs, chips=chips, first_seed=seed
            )
            self._known[key], self._plans[recipe, target] = trial, plan
        self.trials.append(trial)
        if self._told:
            self._told(trial, self.best)
        return trial

    def _fitting(self, recipe: Recipe, target: float) -> Trial:
        """Try a recipe; ask for less, if it takes more cells than there are."""
        trial = self.at(recipe, target)
        if self.goal.max_cells is not None and not self._allowed(trial):
            trial = self.at(recipe, 0.998 * target * self.goal.max_cells / trial.cells_per_weight)
        return trial

    def plan_of(self, trial: Trial) -> Plan:
        """Return the plan of a trial."""
        key = trial.recipe, trial.target
        if key not in self._plans:  # of a search that was interrupted
            if trial.recipe.corrected and not self.maker.corrections:
                self._measure_groups(trial.recipe)
            self._plans[key] = self.maker.plan(*key)
        return self._plans[key]

    def _settled(self, recipe: Recipe, target: float) -> Trial:
        """Return the trial of fewest cells that is good enough, or the best if none is.

        Raises:
            InfeasibleError: None could be made, whatever the cells.
        """
        most = self.goal.max_cells or MOST_CELLS
        made: list[Trial] = []
        low, high = 0.0, np.inf
        reason = ""
        for _ in range(_TRIALS):
            target = min(target, most)
            try:
                trial = self._fitting(recipe, target)
            except InfeasibleError as error:
                low, reason = max(low, target), str(error)
                if target >= most or high <= _CLOSE * low:
                    break
                target = float(np.sqrt(low * high)) if np.isfinite(high) else 2 * low
                continue
            made.append(trial)
            if trial.score <= 1:
                high = min(high, target)
            else:
                low = max(low, target)
                if target >= most:
                    break
            if high <= _CLOSE * low:
                break
            target = self._next_target(made, low, high)
        if not made:
            raise InfeasibleError(f"{self.goal} cannot be reached: {reason}")
        enough = [t for t in made if t.score <= 1]
        if not enough:
            return min(made, key=lambda t: t.score)
        return min(enough, key=lambda t: t.target)

    def _next_target(self, made: Sequence[Trial], low: float, high: float) -> float:
        """Return cells at which the score is expected to be as aimed at."""
        logs = np.log([[t.target, float(np.clip(t.score, 1e-2, 1e2))] for t in made])
        away = np.abs(logs[:, 1] - np.log(_AIM))
        nearest = np.argsort(away, kind="stable")[:_NEAREST]
        nearest = nearest[away[nearest] < away[nearest[0]] + np.log(_FAR)]
        x, y = logs[nearest].T
        slope = _SLOPE
        if np.ptp(x) > 0.02:
            slope = float(np.clip(-np.polyfit(x, y, 1)[0], *_SLOPES))
        wanted = float(np.exp(np.mean(x + (y - np.log(_AIM)) / slope)))
        wanted = float(np.clip(wanted, 0.4 * np.exp(x[0]), 2.5 * np.exp(x[0])))
        if high <= low * _CLOSE**2:
            return float(np.sqrt(low * high))
        return float(np.clip(wanted, low * _CLOSE, high / _CLOSE))

    def _varied(self, trial: Trial) -> Trial:
        """Return the trial of the best recipe at these cells, one change after the other."""
        if not self._vary:
            return trial
        maker = self.maker
        module = maker.subject.sequence is not None
        changes = variations(trial.recipe, loop=maker.loops(trial.recipe), module=module)
        for number, change in enumerate(changes):
            if self._progress:
                self._progress("variations", number, len(changes))
            recipe = replace(trial.recipe, **change)
            try:
                other = self._fitting(recipe, trial.target)
            except InfeasibleError:
                continue
            if _damage(other) < _damage(trial) - _BETTER * abs(_damage(trial)):
                trial = other
        if self._progress:
            self._progress("variations", len(changes), len(changes))
        return trial

    def _measure_groups(self, recipe: Recipe) -> None:
        """Learn by what the sensitivities of groups of layers are to be corrected."""
        maker, subject = self.maker, self.maker.subject
        plain = replace(recipe, corrected=False, sequential=0.0)
        near = [t for t in self.trials if t.inputs == SEARCH]
        target = min(near, key=lambda t: abs(np.log(max(t.score, 1e-9)))).target if near else 1.0
        plan = maker.plan(plain, target)
        _, _, written = maker.write(plan, self._first - 1)
        if written is None or subject.calibration is None:
            return
        with maker.weights(plain) as weights:
            state = {name: weights.read(name) for name in weights.names}
        errors = group_errors(
            state,
            written,
            subject.calibration,
            lambda stored: subject.judge(stored, FEW).divergence,
            subject.correct,
            progress=self._progress,
        )
        self.groups = tuple(errors)
        maker.corrections = factors(errors)

    def _confirmed(self, trial: Trial) -> Outcome:
        """Measure a plan on inputs and chips that it was not chosen on; give it more cells until it
        is good enough there, too.
        """
        for turn in range(1, _CONFIRMATIONS + 1):
            confirmed = self.at(trial.recipe, trial.target, inputs=CONFIRM)
            score = max(trial.score, confirmed.score)
            if not self.goal.measured or score <= 1:
                plan = self.plan_of(trial)
                of = trial, confirmed, tuple(self.trials), self.groups, self.maker.subject
                return Outcome(plan, *of)
            most = self.goal.max_cells or MOST_CELLS
            more = max(score ** (turn / _SLOPE), 1 + 0.02 * turn) * trial.target
            if trial.target >= most:
                break
            trial = self._fitting(trial.recipe, min(more, most))
        raise InfeasibleError(
            f"{self.goal} holds on the inputs of the search and not on others: at "
            f"{confirmed.cells_per_weight:.2f} cells per weight {_shown(confirmed)}; allow more"
        )

    def _allowed(self, trial: Trial) -> bool:
        return self.goal.max_cells is None or trial.cells_per_weight <= self.goal.max_cells * 1.0001


def _key(trial: Trial) -> tuple[Recipe, float, int, int, int]:
    return trial.recipe, trial.target, trial.inputs, trial.chips, trial.first_seed


def _damage(trial: Trial) -> float:
    """Return what tells recipes at equal cells apart: the divergence, of which chance decides less
    than of answers that change; or else the score.
    """
    divergence = trial.verdict.divergence
    return trial.score if divergence is None else divergence


def _shown(trial: Trial) -> str:
    if trial.verdict.drop is not None:
        return f"the drop is {100 * trial.verdict.drop:.2f} points"
    return f"the divergence is {trial.verdict.divergence:.3g}"
