"""Drift correction of a task's network, as a network written through the feedback loop takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from softcell import feedback
from softcell.evaluate import networks
from softcell.evaluate.experiment import Experiment
from softcell.evaluate.models import TASKS
from softcell.evaluate.sensitivity import task_calibration
from softcell.evaluate.tasks import Task
from softcell.image.closed_loop import Correct
from softcell.network.corrections import Divergence
from softcell.network.divergence import output_divergence
from softcell.progress import Progress

_SEED = 1  # other images than those that gave the curvature
_HELD_SEED = 6  # and others again


def task_correction(
    task: Task, *, state: Mapping[str, np.ndarray] | None = None, count: int | None = None
) -> Correct:
    """Return what corrects a stored network of a task for the drift of its activations.

    Args:
        task: The task; its calibration images are used, never its test images.
        state: Other weights for its network, such as pruned ones; None for its own.
        count: Number of images, >= 1; by default 200, and 100 for ImageNet.

    Raises:
        InputError: As for `Task.calibration`, or the weights do not fit the network.
    """
    usual = task.counts.correction
    images = task.calibration(usual if count is None else count, seed=_SEED)
    weights = task.state_dict() if state is None else state
    module = networks.with_weights(TASKS[task.name][task.model].network, weights)
    return feedback.DriftCorrection(module, images)


def task_divergence(
    task: Task, *, state: Mapping[str, np.ndarray] | None = None
) -> Divergence | None:
    """Return what measures how far outputs of a stored network of a task are from the float one's.

    Args:
        task: The task; training images as they are met in use serve, never its test images.
        state: Other weights for its network; None for its own.
    """
    weights = task.state_dict() if state is None else state
    module = networks.with_weights(TASKS[task.name][task.model].network, weights)
    images = task.validation(task.counts.correction, seed=_HELD_SEED)
    return output_divergence(module, images)


def in_loop(experiment: Experiment, task: Task, *, progress: Progress | None = None) -> Experiment:
    """Return the experiment on a task's network with what the feedback loop needs of it.

    Args:
        experiment: The experiment.
        task: The task.
        progress: Called while the task's curvature is computed.
    """
    calibration = task_calibration(task, count=task.counts.curvature, progress=progress)
    return replace(experiment, calibration=calibration, correct=task_correction(task))
