"""Train the network of a task for few cells, from the best plan without training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softcell.allocate.plan import Plan
from softcell.allocate.plan_file import PlanFile
from softcell.allocate.survey import Progress
from softcell.atomic_file import AtomicFile
from softcell.codes.entropy.code import EntropyCode
from softcell.codes.number.vector_formats import NUMBER_FORMATS
from softcell.devices import Device
from softcell.durations import Ages
from softcell.errors import InputError
from softcell.evaluate.correction import task_correction
from softcell.evaluate.datasets import DATASETS
from softcell.evaluate.models import TASKS
from softcell.evaluate.networks import with_weights
from softcell.evaluate.tasks import Task, load_task
from softcell.search import Recipe
from softcell.search.goal import NOW
from softcell.search.record import PlanSettings
from softcell.training.grid_plan import plan_of_grid
from softcell.training.image_batches import ImageBatches
from softcell.training.matrix_steps import State
from softcell.training.objectives import CrossEntropy, Distillation, Mixture
from softcell.training.quantised import QuantisedStorage
from softcell.training.settings import FewCells
from softcell.training.start import VECTOR_BITS, Start, start_from, start_of
from softcell.training.storage import FloatStorage, Storage
from softcell.training.stored_weights import StoredWeights
from softcell.training.trained_network import TrainedNetwork
from softcell.training.trainer import StoredTraining, TrainingProgress, train_stored
from softcell.training.written import WrittenStorage

_SPARE = 0.02
"""Part of the cells that training does without, since it ends near its target, not on it."""


def left_files(checkpoint: Path) -> list[Path]:
    """Return the files that an interrupted training may leave, those that are there.

    They are the checkpoint, that of the training without the parts that go, and the log.
    """
    each = [checkpoint, _without_parts(checkpoint), _log_file(checkpoint)]
    return [path for path in each if path.exists()]


def train_for_cells(
    task: Task,
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
    """Train a task's network such that strong digital storage takes few cells.

    It starts from a plan made without training, as the joint search makes them: weights quantised
    through the feedback loop, each row with the step that its sensitivity asks for. (If parts of
    the network are to go, the rest first learns to do without, as floats.) Then biases and
    normalisations are trained with the matrices as they are written; or all of it through the
    quantisation, steps too, the price of a bit steered such that the network ends at the number of
    cells that was asked for.

    Args:
        task: The task; its test images are not used.
        device: The device.
        settings: The settings.
        name: Name of the trained network.
        command: Command that it is made by, for the record.
        ages: Ages at which the cells are read.
        seed: Seed of the images' order and variation.
        source: Network of an earlier training to go on from, in place of a plan; parts that went
            then stay away.
        checkpoint: File that keeps the state of the training; the log is kept beside it.
        resume: Go on from it, if it is there.
        told: Called with each line of the log.
        progress: Called as the work goes on.

    Raises:
        InputError: The checkpoint is of another training, the source is of another task's network,
            of other codes or comes with parts that are yet to go, or the data are missing.
        InfeasibleError: There are too few cells for what is stored besides the matrices.
        SoftcellError: The training diverged.
    """
    if source is not None:
        _require_same(source, task, settings)
    log = _Log(checkpoint and _log_file(checkpoint), resume, told, source.log if source else ())
    say = log.say
    course = _Course(
        *(task, settings, device, ages),
        source=source.digest if source else "",
        seed=seed,
        resume=resume,
        say=say,
        progress=progress,
    )
    if source is not None:
        begun = start_from(source)
        say(f"on from {begun.cells:.4f} cells per weight")
    else:
        begun = _begin(task, device, ages, settings, course, checkpoint, progress)
        say(f"start: {begun.cells:.4f} cells per weight without training through storage")
    module = with_weights(TASKS[task.name][task.model].network, begun.latent)
    stored = StoredWeights(module, lambda matrix, weight: _storage(begun, matrix, weight, settings))
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
    course.run(stored.to(course.machine), training, checkpoint)
    plan = _plan(stored.to("cpu"), begun, device, ages)
    say(f"trained: {plan.target:.4f} cells per weight")
    stays = Recipe(states=begun.states, trade_off=0.0, vector_bits=VECTOR_BITS)
    goal = f"{settings.cells:g} cells per weight, by training"
    about = PlanSettings(stays, False, task.name, task.model, goal)
    file = PlanFile(plan, "", about.values(), {})
    state = _decoded(stored.state(), plan)
    return TrainedNetwork(name, task.name, task.model, state, file, command, seed, tuple(log.lines))


def _without_parts(checkpoint: Path) -> Path:
    return checkpoint.with_stem(f"{checkpoint.stem}.drop")


def _log_file(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".log")


class _Log:
    """Lines of a training, kept in a file as they are told, so that a resumed one has them all."""

    def __init__(
        self,
        path: Path | None,
        resume: bool,
        told: Callable[[str], None] | None,
        before: tuple[str, ...],
    ) -> None:
        self._path, self._told = path, told
        self.lines = list(before)
        if path is not None and resume and path.exists():
            self.lines = path.read_text(encoding="utf-8").splitlines()
        self._told_before = set(self.lines[len(before) :])

    def say(self, line: str) -> None:
        """Add a line. One that a training says again when it is resumed is there already."""
        if self._told:
            self._told(line)
        if line in self._told_before:
            return
        self.lines.append(line)
        if self._path is not None:
            file = AtomicFile(self._path)
            file.write("".join(f"{each}\n" for each in self.lines).encode())
            file.commit()


class _Course:
    """Trains a task's network, as often as needed, and tells of each epoch."""

    def __init__(
        self,
        task: Task,
        settings: FewCells,
        device: Device,
        ages: Ages,
        *,
        source: str,
        seed: int,
        resume: bool,
        say: Callable[[str], None],
        progress: Progress | None,
    ) -> None:
        self.machine = "cuda" if torch.cuda.is_available() else "cpu"
        self._seed, self._resume, self.say, self._progress = seed, resume, say, progress
        # A checkpoint also holds what was written, which is of one number of cells and one device.
        self._about = f"{task.name} {task.model}, {device.name}, {ages}, {settings}, {source}"
        model = TASKS[task.name][task.model]
        self._batches = ImageBatches(
            DATASETS[task.name].training(),
            model.preprocessing,
            augmentation=replace(model.variation, mix=settings.mix),
            size=settings.batch,
            seed=seed,
        )
        teachers = [load_task(task.name, each) for each in settings.teachers] or [task]
        taught = Distillation(
            *(each.module().to(self.machine) for each in teachers), temperature=settings.temperature
        )
        share = settings.labels
        self._objective = Mixture([(share, CrossEntropy()), (1 - share, taught)])

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


def _require_same(source: TrainedNetwork, task: Task, settings: FewCells) -> None:
    if (source.task, source.model) != (task.name, task.model):
        raise InputError(
            f"{source.name} is a network of {source.task} {source.model}, not of {task.name} "
            f"{task.model}; go on with one of this task"
        )
    coded = {t.info.name for t in source.plan.plan.tensors if isinstance(t.code, EntropyCode)}
    others = [name for name, v in source.state.items() if v.ndim > 1 and name not in coded]
    if others:
        raise InputError(
            f"{others[0]!r} of {source.name} is not on the steps of an entropy code; go on with a "
            "network that softcell train has made"
        )
    if settings.drop:
        raise InputError("parts can only go at the start: leave out drop, or begin anew")


def _begin(
    task: Task,
    device: Device,
    ages: Ages,
    settings: FewCells,
    course: _Course,
    checkpoint: Path | None,
    progress: Progress | None,
) -> Start:
    """Plan a task's network; if parts of it are to go, that which does without them."""
    given = task.state_dict()
    if settings.drop:
        course.say(f"without {', '.join(settings.drop)}")
        smaller = _without(task, settings).to(course.machine)
        training = StoredTraining(
            steps=course.steps(settings.drop_epochs),
            learning_rate=settings.drop_rate,
            bfloat16=settings.bfloat16,
        )
        course.run(smaller, training, checkpoint and _without_parts(checkpoint))
        given = smaller.to("cpu").state()
    return start_of(task, device, ages, settings, given=given, progress=progress)


def _without(task: Task, settings: FewCells) -> StoredWeights:
    """Return the float network without the parts that go, corrected for their absence."""
    state = task.state_dict()
    for name, values in state.items():
        if values.ndim > 1 and any(name.startswith(f"{part}.") for part in settings.drop):
            values[:] = 0
    state |= task_correction(task)(state)
    module = with_weights(TASKS[task.name][task.model].network, state)
    stored = StoredWeights(module, lambda *_: FloatStorage())
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
    plan = _plan(stored, begun, device, ages)
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


def _plan(stored: StoredWeights, begun: Start, device: Device, ages: Ages) -> Plan:
    """Return the plan of what was trained."""
    steps = dict(begun.steps)
    for matrix in stored.names:
        storage = stored.storage(matrix)
        if isinstance(storage, QuantisedStorage):
            steps[matrix] = storage.steps().detach().numpy()[:, 0]
    return plan_of_grid(
        *(stored.state(), steps, device, ages), states=begun.states, vector_bits=VECTOR_BITS
    )
