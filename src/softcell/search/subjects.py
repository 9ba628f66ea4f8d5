"""Networks to search for: those of our tasks, and a user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from softcell import feedback
from softcell.curvature import Calibration
from softcell.errors import InputError
from softcell.evaluate import networks
from softcell.evaluate.correction import task_correction
from softcell.evaluate.models import TASKS
from softcell.evaluate.sensitivity import task_calibration
from softcell.evaluate.tasks import Task
from softcell.image.closed_loop import LayerAfterLayer
from softcell.network import Network
from softcell.network.own import learnt_of, own_network
from softcell.progress import Progress
from softcell.search.judge import (
    CONFIRM,
    FEW,
    SEARCH,
    Judge,
    OutputJudge,
    OwnJudge,
    State,
    module_outputs,
)
from softcell.search.subject import Subject
from softcell.weights import StateDictWeights, Weights

if TYPE_CHECKING:
    from torch import Tensor, nn

_SEQUENCE_SEED = 2
_SEEDS = {SEARCH: 3, CONFIRM: 4, FEW: 5}


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
    state = task.state_dict() if source is None else _read(source)
    count = images or task.counts.judged
    module = task.module()
    judge = OutputJudge(
        module_outputs(module, batch=task.counts.together),
        state,
        lambda inputs: task.validation(
            max(count // 4, 1) if inputs == FEW else count, seed=_SEEDS[inputs]
        ),
        task.accuracy,
    )
    network = task_network(task, source=source, keep=keep, progress=progress)
    return Subject(judge=judge, **vars(network))


def task_network(
    task: Task,
    *,
    source: Callable[[], Weights] | None = None,
    keep: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> Network:
    """Return a task's network, to be written; arguments as for `task_subject`."""
    state = task.state_dict() if source is None else _read(source)

    def sequence(share: float) -> LayerAfterLayer:
        module = networks.with_weights(TASKS[task.name][task.model].network, state)
        images = task.calibration(task.counts.sequence, seed=_SEQUENCE_SEED)
        return feedback.SequentialWrite(module, images, share=share)

    return Network(
        source=source or (lambda: StateDictWeights(state)),
        calibration=task_calibration(
            task, state=state, count=task.counts.curvature, progress=progress
        ),
        correct=task_correction(task, state=state),
        sequence=sequence,
        keep=keep,
    )


def own_subject(
    source: Callable[[], Weights],
    *,
    evaluate: Callable[[State], float] | None = None,
    module: nn.Module | None = None,
    inputs: Tensor | None = None,
    calibration: Calibration | None = None,
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None,
    keep: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> Subject:
    """Return a user's network, to be searched for; further arguments as for `own_network`.

    Args:
        source: Opens its tensors.
        evaluate: Accuracy of tensors by name, from 0 to 1; None to go by the outputs' divergence.
        module: The network, its weights loaded.
        inputs: Inputs of it, first axis inputs: half of them to learn from, a quarter for the
            search to measure on, and a quarter to confirm the plan on.
        calibration: Curvature of its layers.
        sensitivity: Diagonal Fisher information.
        keep: Names of tensors that are stored as they are.
        progress: Called while the curvature is computed.

    Raises:
        InputError: Nothing to measure by, or too few inputs.
    """
    if (module is None) != (inputs is None):
        raise InputError("a module and its inputs go together")
    state = _read(source)
    judge: Judge | None = None
    learnt = None
    if module is not None and inputs is not None:
        learnt, rest = learnt_of(inputs), 2 * (len(inputs) // 4)
        parts = {SEARCH: inputs[-rest : -rest // 2], CONFIRM: inputs[-rest // 2 :]}
        parts[FEW] = parts[SEARCH][: max(rest // 8, 2)]
        outputs = module_outputs(module)
        # Of one logit there is no divergence; with an evaluate function it is not needed.
        if evaluate is None or outputs(state, inputs[:1]).shape[-1] > 1:
            judge = OutputJudge(outputs, state, parts.__getitem__)
    if evaluate is not None:
        judge = OwnJudge(evaluate, state, judge)
    if judge is None:
        raise InputError(
            "nothing to measure a stored network by: give an evaluate function, or a module and "
            "its inputs"
        )
    network = own_network(
        source,
        module=module,
        learnt=learnt,
        calibration=calibration,
        sensitivity=sensitivity,
        keep=keep,
        progress=progress,
    )
    return Subject(judge=judge, **vars(network))


def _read(source: Callable[[], Weights]) -> dict[str, NDArray[Any]]:
    with source() as weights:
        return {name: weights.read(name) for name in weights.names}
