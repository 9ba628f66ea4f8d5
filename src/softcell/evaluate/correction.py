"""Drift correction of a task's network, as a network written through the feedback loop takes it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from softcell.evaluate.models import TASKS
from softcell.evaluate.networks import with_weights
from softcell.evaluate.sensitivity import task_calibration
from softcell.evaluate.tasks import Task
from softcell.evaluate.trials import Loop, ways_through
from softcell.feedback import DriftCorrection
from softcell.image.closed_loop import Correct
from softcell.progress import Progress

_SEED = 1  # other images than those that gave the curvature


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
    module = with_weights(TASKS[task.name][task.model].network, weights)
    return DriftCorrection(module, images)


def task_loops(
    task: Task, *, verify_reads: int = 1, progress: Progress | None = None
) -> tuple[Loop, ...]:
    """Return the ways through the feedback loop that are compared on a task.

    Args:
        task: The task.
        verify_reads: Verifying reads of a cell, from 1.
        progress: Called while the task's curvature is computed.

    Returns:
        The open loop, the open loop with drift correction, and the closed loop.
    """
    calibration = task_calibration(task, count=task.counts.curvature, progress=progress)
    return ways_through(calibration, task_correction(task), verify_reads=verify_reads)
