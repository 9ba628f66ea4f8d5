"""How much each weight of a task's network matters, computed once and kept."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping

import numpy as np

from softcell.curvature import diagonal_fisher, load_fisher, save_fisher
from softcell.curvature.tensor_file import digest
from softcell.errors import FormatError
from softcell.evaluate.cache import cache_folder
from softcell.evaluate.models import TASKS
from softcell.evaluate.networks import with_weights
from softcell.evaluate.tasks import Task
from softcell.evaluate.training import Progress

_log = logging.getLogger(__name__)
_BATCH = 4
_VERSION = 1  # of the estimator; a change makes cached files strangers


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
        progress: Called with (images done, images in all); never when it is in the cache.

    Returns:
        float32 arrays by name, see `diagonal_fisher`.

    Raises:
        InputError: As for `Task.calibration` and `diagonal_fisher`.
    """
    weights = task.state_dict() if state is None else state
    model = TASKS[task.name][task.model]
    label = f"{_VERSION} {model.augmentation} {count} {seed} {_BATCH} {digest(weights)}"
    key = hashlib.sha256(label.encode()).hexdigest()[:24]
    path = cache_folder() / f"fisher-{task.name}-{task.model}-{key}.safetensors"
    if path.exists():
        try:
            return load_fisher(path)
        except FormatError as error:
            _log.warning("the cached Fisher cannot be used and is computed again: %s", error)
    module = with_weights(model.network, weights)
    images = task.calibration(count, seed=seed)
    fisher = diagonal_fisher(module, images, seed=seed, batch=_BATCH, progress=progress)
    save_fisher(path, fisher)
    return fisher
