"""How much each weight of a task's network matters, computed once and kept."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from softcell import curvature
from softcell.cache import cache_folder
from softcell.curvature import (
    Calibration,
    calibrate,
    load_calibration,
    load_fisher,
    save_calibration,
    save_fisher,
)
from softcell.curvature.held_out import FEWEST
from softcell.curvature.layer import Kind
from softcell.errors import FormatError
from softcell.evaluate import networks
from softcell.evaluate.models import TASKS
from softcell.evaluate.tasks import Task
from softcell.network.calibration_check import (
    CalibrationCheck,
    check_calibration,
    tried_calibration,
)
from softcell.progress import Progress
from softcell.weights.tensor_file import digest

_log = logging.getLogger(__name__)
_BATCH = 4
_HELD_SEED = 7  # of images that the calibration is held against
_VERSION = 1  # of the Fisher's estimator; a change makes cached files strangers
_CALIBRATION_VERSION = 2  # likewise, of the covariances and of what a calibration holds

_Kept = TypeVar("_Kept")


def task_fisher(
    task: Task,
    *,
    state: Mapping[str, np.ndarray] | None = None,
    count: int = 2000,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Return the diagonal Fisher of a task's network on its calibration images.

    It is kept in the cache folder under a digest of the weights, the count and the seed; a
    damaged file is replaced.

    Args:
        task: The task.
        state: Other weights for its network, such as pruned ones; None for its own.
        count: Number of calibration images, >= 1.
        seed: Seed of the images and of the estimate, 0 to 2**63 - 1.
        progress: As for `diagonal_fisher`; never called when it is in the cache.

    Returns:
        float32 arrays by name, see `diagonal_fisher`.

    Raises:
        InputError: As for `Task.calibration` and `diagonal_fisher`.
    """
    weights = task.state_dict() if state is None else state
    path = _place("fisher", task, weights, f"{_VERSION}", count, seed)

    def compute() -> dict[str, np.ndarray]:
        module = networks.with_weights(TASKS[task.name][task.model].network, weights)
        images = task.calibration(count, seed=seed)
        return curvature.diagonal_fisher(module, images, seed=seed, batch=_BATCH, progress=progress)

    return _kept(path, load_fisher, compute, save_fisher)


def task_calibration(
    task: Task,
    *,
    state: Mapping[str, np.ndarray] | None = None,
    count: int = 2000,
    seed: int = 0,
    kind: Kind = "fisher",
    progress: Progress | None = None,
) -> Calibration:
    """Return what the feedback loop has to know of a task's network, from its calibration images.

    It is kept as `task_fisher` is; with the kind `fisher` its diagonal is that of `task_fisher`.

    Args:
        task: The task.
        state: Other weights for its network; None for its own.
        count: Number of calibration images, >= 1.
        seed: Seed of the images and of the estimate, 0 to 2**63 - 1.
        kind: `fisher` or `inputs`, see `layer_curvatures`.
        progress: As for `diagonal_fisher`; never called when it is in the cache.

    Raises:
        InputError: As for `Task.calibration` and `calibrate`.
    """
    weights = task.state_dict() if state is None else state
    version = f"{_CALIBRATION_VERSION} {_VERSION} {kind}"
    path = _place("calibration", task, weights, version, count, seed)

    def compute() -> Calibration:
        module = networks.with_weights(TASKS[task.name][task.model].network, weights)
        images = task.calibration(count, seed=seed)
        held = task.validation(max(count // 10, FEWEST), seed=_HELD_SEED)
        found = calibrate(
            module, images, seed=seed, batch=_BATCH, kind=kind, held=held, progress=progress
        )
        return tried_calibration(module, found, held)[0]

    return _kept(path, load_calibration, compute, save_calibration)


def task_check(task: Task, calibration: Calibration) -> CalibrationCheck:
    """Try the calibration of a task's network on images that it has not seen.

    Args:
        task: The task.
        calibration: What `task_calibration` returned.
    """
    module = networks.with_weights(TASKS[task.name][task.model].network, task.state_dict())
    count = FEWEST if calibration.held is None else calibration.held.inputs
    return check_calibration(module, calibration, task.validation(count, seed=_HELD_SEED))


def _place(
    what: str,
    task: Task,
    weights: Mapping[str, np.ndarray],
    version: str,
    count: int,
    seed: int,
) -> Path:
    """Return the file of what was computed in this way, from all that its result depends on."""
    augmentation = TASKS[task.name][task.model].augmentation
    label = f"{version} {augmentation} {count} {seed} {_BATCH} {digest(weights)}"
    key = hashlib.sha256(label.encode()).hexdigest()[:24]
    return cache_folder() / f"{what}-{task.name}-{task.model}-{key}.safetensors"


def _kept(
    path: Path,
    load: Callable[[Path], _Kept],
    compute: Callable[[], _Kept],
    save: Callable[[Path, _Kept], None],
) -> _Kept:
    if path.exists():
        try:
            return load(path)
        except FormatError as error:
            _log.warning("the cached file cannot be used and is made again: %s", error)
    computed = compute()
    save(path, computed)
    return computed
