"""Train the network of a task for few cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from softcell.devices import Device
from softcell.durations import Ages
from softcell.evaluate.correction import task_correction
from softcell.evaluate.datasets import DATASETS
from softcell.evaluate.models import TASKS
from softcell.evaluate.tasks import Task, load_task
from softcell.progress import Progress
from softcell.search.goal import NOW
from softcell.search.subjects import task_subject
from softcell.training.few_cells import require_source, train_problem
from softcell.training.image_batches import ImageBatches
from softcell.training.objectives import CrossEntropy, Distillation, Mixture
from softcell.training.problem import Problem, machine
from softcell.training.settings import FewCells
from softcell.training.trained_network import TrainedNetwork
from softcell.weights import StateDictWeights


def train_task(
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

    Args:
        task: The task; its test images are not used.
        device: As for `train_problem`, and so are the others.
        settings: The settings.
        name: Name of the trained network.
        command: Command that it is made by, for the record.
        ages: Ages at which the cells are read.
        seed: Seed of the images' order and variation, too.
        source: Network of an earlier training to go on from.
        checkpoint: File that keeps the state of the training.
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
        require_source(source, settings, task=task.name, model=task.model)
    return train_problem(
        task_problem(task, settings, seed=seed, progress=progress),
        device,
        settings,
        name=name,
        command=command,
        ages=ages,
        seed=seed,
        source=source,
        checkpoint=checkpoint,
        resume=resume,
        told=told,
        progress=progress,
    )


def task_problem(
    task: Task, settings: FewCells, *, seed: int = 0, progress: Progress | None = None
) -> Problem:
    """Return a task's network with its training images, their labels and its teachers.

    Args:
        task: The task.
        settings: Weight of the labels, teachers, and how images are mixed.
        seed: Seed of the images' order and variation.
        progress: Called while the network's curvature is computed, which plans need.

    Raises:
        InputError: The data are missing, or a teacher is no model of the task.
    """
    model = TASKS[task.name][task.model]
    batches = ImageBatches(
        DATASETS[task.name].training(),
        model.preprocessing,
        augmentation=replace(model.variation, mix=settings.mix),
        size=settings.batch,
        seed=seed,
    )
    teachers = [load_task(task.name, each) for each in settings.teachers] or [task]
    taught = Distillation(
        *(each.module().to(machine()) for each in teachers), temperature=settings.temperature
    )
    share = settings.labels
    return Problem(
        module=task.module(),
        state=task.state_dict(),
        batches=batches,
        objective=Mixture([(share, CrossEntropy()), (1 - share, taught)]),
        subject=lambda state: task_subject(
            task, source=lambda: StateDictWeights(state), progress=progress
        ),
        # Of the images that it takes none are read before parts of the network go.
        correct=lambda state: task_correction(task)(state),
        about=f"{task.name} {task.model}",
        task=task.name,
        model=task.model,
    )
