"""Networks to search for: those of our tasks, and a user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from softcell.allocate import Progress
from softcell.curvature import Calibration
from softcell.errors import InputError
from softcell.evaluate.correction import task_correction
from softcell.evaluate.sensitivity import calibration_images, task_calibration
from softcell.evaluate.tasks import Task
from softcell.feedback import DriftCorrection
from softcell.feedback.sequential import SequentialWrite
from softcell.image.closed_loop import Sequence
from softcell.search.judge import (
    CONFIRM,
    SEARCH,
    Judge,
    OutputJudge,
    OwnJudge,
    State,
    module_outputs,
)
from softcell.search.trial import Subject
from softcell.weights import StateDictWeights, Weights

_JUDGED, _LARGE_JUDGED = 2000, 200
_SEQUENCE, _LARGE_SEQUENCE = 300, 60
_SEQUENCE_SEED = 2
_SEEDS = {SEARCH: 3, CONFIRM: 4}


def task_subject(
    task: Task,
    *,
    source: Callable[[], Weights] | None = None,
    images: int | None = None,
    keep: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> Subject:
    """Return a task's network, to be searched for without its test images.

    Curvature, drift correction and what is measured all come from training images, varied; on
    ImageNet, where there are no others, from the fifth of the images that is set apart.

    Args:
        task: The task.
        source: Opens other weights for its network, such as pruned ones.
        images: Images on which a stored network is compared with the float one; by default 2,000,
            and 200 for ImageNet.
        keep: Names of tensors that are stored as they are.
        progress: Called while the curvature is computed.
    """
    large = task.name == "imagenet"
    state = task.state_dict() if source is None else _read(source)
    count = images or (_LARGE_JUDGED if large else _JUDGED)

    def counted(done: int, total: int) -> None:
        if progress:
            progress("calibration images", done, total)

    module = task.module()
    judge = OutputJudge(
        module_outputs(module, batch=4 if large else 50),
        state,
        lambda inputs: task.validation(count, seed=_SEEDS[inputs]),
        task.accuracy,
    )
    return Subject(
        source or (lambda: StateDictWeights(state)),
        judge,
        task_calibration(task, state=state, count=calibration_images(task), progress=counted),
        task_correction(task, state=state),
        _sequence(task, large=large),
        keep=keep,
    )


def task_sequence(task: Task, share: float) -> Sequence:
    """Return what writes a task's network layer after layer.

    Args:
        task: The task; its calibration images are used.
        share: Share of the shift, from 0 to 1.
    """
    return _sequence(task, large=task.name == "imagenet")(share)


def _sequence(task: Task, *, large: bool) -> Callable[[float], Sequence]:
    count = _LARGE_SEQUENCE if large else _SEQUENCE

    def sequence(share: float) -> Sequence:
        images = task.calibration(count, seed=_SEQUENCE_SEED)
        return SequentialWrite(task.module(), images, share=share)

    return sequence


def own_subject(
    source: Callable[[], Weights],
    *,
    evaluate: Callable[[State], float] | None = None,
    module: nn.Module | None = None,
    inputs: Tensor | None = None,
    calibration: Calibration | None = None,
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None,
    keep: frozenset[str] = frozenset(),
) -> Subject:
    """Return a user's network.

    Args:
        source: Opens its tensors.
        evaluate: Accuracy of tensors by name, from 0 to 1; None to go by the outputs' divergence.
        module: The network, its weights loaded.
        inputs: Inputs of it, first axis inputs. A quarter of them, from the end, are for
            confirmation, and another quarter is what the search measures on.
        calibration: Curvature of its layers; None to store it without the feedback loop.
        sensitivity: Diagonal Fisher information, where there is no calibration.
        keep: Names of tensors that are stored as they are.

    Raises:
        InputError: Nothing to measure by, or too few inputs.
    """
    if (module is None) != (inputs is None):
        raise InputError("a module and its inputs go together")
    if evaluate is None and module is None:
        raise InputError(
            "nothing to measure a stored network by: give an evaluate function, or a module and "
            "its inputs"
        )
    state = _read(source)
    judge: Judge | None = None
    correct = sequence = None
    if module is not None and inputs is not None:
        if len(inputs) < 8:
            raise InputError(f"give at least 8 inputs, better hundreds; got {len(inputs)}")
        quarter = len(inputs) // 4
        parts = {SEARCH: inputs[-2 * quarter : -quarter], CONFIRM: inputs[-quarter:]}
        learnt = inputs[: -2 * quarter]
        judge = OutputJudge(module_outputs(module), state, parts.__getitem__)
        correct = DriftCorrection(module, learnt)

        def sequence(share: float) -> Sequence:
            return SequentialWrite(module, learnt, share=share)

    if evaluate is not None:
        judge = OwnJudge(evaluate, state, judge)
    if judge is None:
        raise InputError("nothing to measure a stored network by")
    known = calibration is not None
    return Subject(
        source,
        judge,
        calibration,
        correct if known else None,
        sequence if known else None,
        sensitivity,
        keep,
    )


def _read(source: Callable[[], Weights]) -> dict[str, NDArray[Any]]:
    with source() as weights:
        return {name: weights.read(name) for name in weights.names}
