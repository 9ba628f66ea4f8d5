"""A network written by a plan of `softcell optimise`: what write and evaluate share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from softcell.cli.own_network import loaded_module, own_inputs
from softcell.cli.progress import Progress
from softcell.errors import FormatError, InputError
from softcell.own_code import guarded

if TYPE_CHECKING:
    from softcell.allocate.plan import Plan
    from softcell.network import Network
    from softcell.weights import Weights


def planned_network(
    plan: Path,
    *,
    weights: Path | None,
    device: str | None,
    task: str | None,
    model: str | None,
    feedback: Path | None = None,
    module: str | None = None,
    inputs: Path | None = None,
    progress: Progress,
) -> tuple[Plan, Network]:
    """Read a plan, and make ready the network that it is for.

    Args:
        plan: Plan file.
        weights: The network's weights; None for those of the task.
        device: Device that the user named; None for none.
        task: Task that the user named; None for the plan's own.
        model: Likewise.
        feedback: Calibration of a network of the user's own.
        module: `module:function` of that network.
        inputs: Its inputs.
        progress: Reports calibration.

    Raises:
        InputError: The plan is for another network, device or task.
        FormatError: The plan is damaged.
    """
    from softcell.allocate.plan_file import load_plan, require_network
    from softcell.devices import parse_device
    from softcell.evaluate.tasks import load_task
    from softcell.network import Network
    from softcell.search.record import task_of
    from softcell.search.subjects import task_network
    from softcell.weights import StateDictWeights, WeightsReader

    asked = None if device is None else parse_device(device)  # a plan may be of its class
    found = load_plan(plan)
    if asked is not None and asked != found.device:
        raise InputError(
            f"{plan} is for the device {found.device.name}, not for {device}; make a plan for "
            "that one"
        )
    own = [each for each in (feedback, module, inputs) if each is not None]
    if own and task is not None:
        raise InputError("a task brings its own calibration; leave out --feedback, --module, ...")
    source: Callable[[], Weights] | None = None
    if weights is not None:
        source = partial(WeightsReader, weights)
        source().close()  # that there is no such file is told before a task is loaded
    loaded = None
    try:
        own_task, own_model = task_of(found)
    except FormatError as error:
        raise FormatError(f"{plan}: {error}") from None
    if not own and (own_task or task is not None):
        named = task or own_task, model or own_model or None
        loaded = load_task(*named, progress=progress)
        source = source or partial(StateDictWeights, loaded.state_dict())
    if source is None:
        raise InputError("give the weights that the plan is for: MODEL, a safetensors file")
    # A plan for something else is found before time goes into calibration.
    with source() as opened:
        ordered = found.in_order(opened.names)
        require_network(ordered, opened)
    if not found.procedure.loop:
        network = Network(source=source)
    elif loaded is not None:
        network = task_network(loaded, source=source, progress=progress)
    else:
        network = _own(source, feedback, module, inputs, progress)
    return ordered, network


def _own(
    source: Callable[[], Weights],
    feedback: Path | None,
    module: str | None,
    inputs: Path | None,
    progress: Progress,
) -> Network:
    """Return a user's network, to go through the feedback loop."""
    from softcell.curvature import load_calibration
    from softcell.network.own import learnt_of, own_network

    if (module is None) != (inputs is None):
        raise InputError("a network of your own takes both --module and --inputs")
    if module is None and feedback is None:
        raise InputError(
            "the plan goes through the feedback loop: give --feedback, what `softcell calibrate` "
            "made of the network, or its --module and --inputs"
        )
    made = given = None
    calibration = None if feedback is None else load_calibration(feedback)
    if module is not None and inputs is not None:
        with source() as weights:
            made = loaded_module(module, {name: weights.read(name) for name in weights.names})
        given = learnt_of(own_inputs(inputs, made, None))
    return guarded(
        lambda: own_network(
            source,
            module=made,
            learnt=given,
            calibration=calibration,
            progress=progress,
        ),
        f"--module {module}",
    )
