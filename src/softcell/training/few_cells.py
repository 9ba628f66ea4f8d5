"""Train a network for few cells, from the best plan without training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from softcell.allocate.plan import Plan
from softcell.codes.number.vector_formats import NUMBER_FORMATS
from softcell.devices import Device
from softcell.durations import Ages
from softcell.errors import InputError
from softcell.progress import Progress
from softcell.records import values_of
from softcell.search import Recipe
from softcell.search.goal import NOW
from softcell.search.judge import State
from softcell.search.record import PlanSettings
from softcell.training.grid_plan import plan_of_grid
from softcell.training.matrix_steps import entropy_codes
from softcell.training.problem import Problem, machine
from softcell.training.quantised import QuantisedStorage
from softcell.training.settings import FewCells
from softcell.training.start import VECTOR_BITS, Start, start_from, start_of
from softcell.training.storage import FloatStorage, Storage
from softcell.training.stored_weights import StoredWeights
from softcell.training.trained_network import TrainedNetwork
from softcell.training.trainer import StoredTraining, TrainingProgress, train_stored
from softcell.training.training_log import TrainingLog, without_parts
from softcell.training.written import WrittenStorage

_SPARE = 0.02
"""Part of the cells that training does without, since it ends near its target, not on it."""


def train_problem(
    problem: Problem,
    device: Device,
    settings: FewCells,
    *,
    name: str,
    command: str,
    ages: Ages = NOW,
    seed: int = 0,
    source: TrainedNetwork | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    told: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> TrainedNetwork:
    """Train a network such that strong digital storage takes few cells.

    It starts from a plan made without training, as the joint search makes them: weights quantised
    through the feedback loop, each row with the step that its sensitivity asks for. (If parts of
    the network are to go, the rest first learns to do without, as floats.) Then biases and
    normalisations are trained with the matrices as they are written; or all of it through the
    quantisation, steps too, the price of a bit steered such that the network ends at the number of
    cells that was asked for.

    `train_task` makes the problem of a task's network, `train_for_cells` that of a user's own.

    Args:
        problem: The network, what it learns from and what it aims at.
        device: The device.
        settings: The settings.
        name: Name of the trained network.
        command: Command that it is made by, for the record.
        ages: Ages at which the cells are read.
        seed: Seed of what is random within the network (dropout).
        source: Network of an earlier training to go on from, in place of a plan; parts that went
            then stay away. `require_source` says whether it may be one.
        checkpoint: File that keeps the state of the training; the log is kept beside it.
        resume: Go on from it, if it is there.
        told: Called with each line of the log.
        progress: Called as the work goes on.

    Raises:
        InputError: The checkpoint is of another training, or the data are missing.
        InfeasibleError: There are too few cells for what is stored besides the matrices.
        SoftcellError: The training diverged.
    """
    before = source.log if source else ()
    log = TrainingLog(checkpoint, resume=resume, told=told, before=before)
    say = log.say
    # A checkpoint also holds what was written, which is of one number of cells and one device.
    origin = source.digest if source else ""
    course = _Course(
        problem,
        f"{problem.about}, {device.name}, {ages}, {settings}, {origin}",
        seed=seed,
        resume=resume,
        say=say,
        progress=progress,
    )
    if source is not None:
        begun = start_from(source)
        say(f"on from {begun.cells:.4f} cells per weight")
    else:
        begun = _begin(problem, device, ages, settings, course, checkpoint, progress)
        say(f"start: {begun.cells:.4f} cells per weight without training through storage")
    module = problem.with_weights(begun.latent)
    stored = StoredWeights(module, lambda matrix, weight: _storage(begun, matrix, weight, settings))
    # What has gone stays away, also where everything else is trained.
    stored.drop([matrix for matrix in stored.names if not begun.latent[matrix].any()])
    through = settings.matrices
    training = StoredTraining(
        steps=course.steps(settings.epochs),
        learning_rate=settings.learning_rate,
        price=settings.price if through else 0.0,
        warm_up=settings.warm_up,
        target_bits=_target(stored, begun, settings, device, ages) if through else None,
        settle=settings.settle if through else 1.0,
        bfloat16=settings.bfloat16,
        storage_rate=settings.storage_rate,
    )
    course.run(stored.to(machine()), training, checkpoint)
    state, plan = _planned(stored.to("cpu"), begun, device, ages)
    say(f"trained: {plan.target:.4f} cells per weight")
    stays = Recipe(states=begun.states, trade_off=0.0, vector_bits=VECTOR_BITS)
    goal = f"{settings.cells:g} cells per weight, by training"
    about = PlanSettings(stays, problem.task, problem.model, goal)
    plan = replace(plan, settings=values_of(about))
    seen = _decoded(state, plan)
    return TrainedNetwork(
        name, problem.task, problem.model, seen, plan, command, seed, tuple(log.lines)
    )


def require_source(source: TrainedNetwork, settings: FewCells, *, task: str, model: str) -> None:
    """Require that a training may go on from a network that was trained before.

    Args:
        source: The network.
        settings: Settings of the training.
        task: Name of the task whose network is to be trained; "" for a network of one's own.
        model: Name of that network; or "".

    Raises:
        InputError: It is of another task, of other codes, or comes with parts that are yet to go.
    """
    if (source.task, source.model) != (task, model):
        of = f"of {task} {model}" if task else "of your own"
        found = f"of {source.task} {source.model}" if source.task else "of somebody's own"
        which = "this task" if task else "this module"
        raise InputError(f"{source.name} is a network {found}, not {of}; go on with one of {which}")
    coded = entropy_codes(source.plan)
    others = [name for name, v in source.state.items() if v.ndim > 1 and name not in coded]
    if others:
        raise InputError(
            f"{others[0]!r} of {source.name} is not on the steps of an entropy code; go on with a "
            "network that softcell train has made"
        )
    if settings.drop:
        raise InputError("parts can only go at the start: leave out drop, or begin anew")


class _Course:
    """Trains the network of a problem, as often as needed, and tells of each epoch."""

    def __init__(
        self,
        problem: Problem,
        about: str,
        *,
        seed: int,
        resume: bool,
        say: Callable[[str], None],
        progress: Progress | None,
    ) -> None:
        self._batches, self._objective = problem.batches, problem.objective
        self._about, self._seed, self._resume = about, seed, resume
        self.say, self._progress = say, progress

    def steps(self, epochs: float) -> int:
        """Return the steps of so many epochs."""
        return max(round(epochs * self._batches.epoch), 1)

    def run(self, stored: StoredWeights, training: StoredTraining, kept: Path | None) -> None:
        """Train a network, with a checkpoint."""
        losses: list[float] = []
        epoch, before = self._batches.epoch, 0

        def show(at: TrainingProgress) -> None:
            nonlocal before
            if not before and at.step > 1:
                self.say(f"resumed after {at.step - 1} steps")
            before = at.step
            losses.append(at.loss)
            if self._progress:
                self._progress("training steps", at.step, at.steps)
            if at.step % epoch == 0 or at.step == at.steps:
                bits = f", {at.bits_per_weight:.4f} bits per weight" if at.bits_per_weight else ""
                mean = np.mean(losses)
                self.say(
                    f"epoch {at.step / epoch:g} of {at.steps / epoch:g}: loss {mean:.4f}{bits}"
                )
                losses.clear()

        train_stored(
            *(stored, self._objective, self._batches, training),
            seed=self._seed,
            checkpoint=kept,
            resume=self._resume,
            about=self._about,
            progress=show,
        )


def _begin(
    problem: Problem,
    device: Device,
    ages: Ages,
    settings: FewCells,
    course: _Course,
    checkpoint: Path | None,
    progress: Progress | None,
) -> Start:
    """Plan a network; if parts of it are to go, that which does without them."""
    given = problem.state
    if settings.drop:
        course.say(f"without {', '.join(settings.drop)}")
        smaller = _without(problem, settings).to(machine())
        training = StoredTraining(
            steps=course.steps(settings.drop_epochs),
            learning_rate=settings.drop_rate,
            bfloat16=settings.bfloat16,
        )
        course.run(smaller, training, checkpoint and without_parts(checkpoint))
        given = _named(smaller.to("cpu").state(), problem.state)
    return start_of(problem, device, ages, settings, given=given, progress=progress)


def _without(problem: Problem, settings: FewCells) -> StoredWeights:
    """Return the float network without the parts that go, corrected for their absence."""
    state = {name: np.array(values) for name, values in problem.state.items()}
    for name, values in state.items():
        if values.ndim > 1 and any(name.startswith(f"{part}.") for part in settings.drop):
            values[:] = 0
    state |= problem.correct(state)
    stored = StoredWeights(problem.with_weights(state), lambda *_: FloatStorage())
    stored.drop(settings.drop)
    return stored


def _storage(begun: Start, matrix: str, weight: Tensor, settings: FewCells) -> Storage:
    if settings.matrices:
        return QuantisedStorage(weight, step=begun.steps[matrix])
    return WrittenStorage(weight)


def _decoded(state: State, plan: Plan) -> dict[str, NDArray[np.float32]]:
    """Return a network whose vectors, too, are as they come back from error-free storage."""
    seen = dict(state)
    for tensor in plan.tensors:
        name = tensor.info.name
        if tensor.kind in NUMBER_FORMATS:
            number_format = NUMBER_FORMATS[tensor.kind]
            seen[name] = number_format.decode(number_format.encode(state[name]), tensor.info.shape)
    return seen


def _target(
    stored: StoredWeights, begun: Start, settings: FewCells, device: Device, ages: Ages
) -> float:
    """Return the bits of the matrices, over all weights, at the cells that are asked for."""
    _, plan = _planned(stored, begun, device, ages)
    before = float(stored.bits().detach()) / stored.weights
    # A store takes whole code words: what a cell more or less holds comes from large counts.
    large = 10**6
    rate, cells = 8 * large / plan.store.cells(large), float(plan.target or 0)
    wanted = before + rate * ((1 - _SPARE) * settings.cells - cells)
    if wanted <= 0:
        raise InputError(
            f"{settings.cells:g} cells per weight are too few: what is stored besides the "
            f"matrices takes {cells - before / rate:.4f}"
        )
    return wanted


def _planned(
    stored: StoredWeights, begun: Start, device: Device, ages: Ages
) -> tuple[dict[str, NDArray[np.float32]], Plan]:
    """Return what was trained, and its plan."""
    steps = dict(begun.steps)
    for matrix in stored.names:
        storage = stored.storage(matrix)
        if isinstance(storage, QuantisedStorage):
            steps[matrix] = storage.steps().detach().numpy()[:, 0]
    state = _named(stored.state(), begun.latent)
    plan = plan_of_grid(*(state, steps, device, ages), states=begun.states, vector_bits=VECTOR_BITS)
    return state, plan


def _named(state: State, names: State) -> dict[str, NDArray[np.float32]]:
    """Return tensors of several names under the one that storage knows them by."""
    return {name: values for name, values in state.items() if name in names}
