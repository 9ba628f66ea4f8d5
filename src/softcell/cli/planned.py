"""A network written by a plan of `softcell optimise`: what write and evaluate share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from softcell.cli.own_code import guarded
from softcell.cli.own_network import loaded_module, own_inputs
from softcell.cli.progress import Progress
from softcell.errors import InputError

if TYPE_CHECKING:
    from softcell.allocate.plan import Plan
    from softcell.image.cell_image import ImageHeader
    from softcell.search import Network
    from softcell.search.record import PlanSettings
    from softcell.weights import Weights


@dataclass(frozen=True)
class PlannedNetwork:
    """A plan, with the network that it is for.

    Args:
        plan: The plan.
        settings: How the network is written by it.
        network: The network.
    """

    plan: Plan
    settings: PlanSettings
    network: Network

    def write(self, path: Path, *, seed: int, progress: Progress) -> ImageHeader:
        """Write the network to a cell image, and to the simulated chip of a seed."""
        from softcell.search import write_planned

        header, _ = write_planned(
            self.network,
            self.plan,
            self.settings.recipe,
            path,
            loop=self.settings.loop,
            seed=seed,
            progress=progress,
        )
        return header

    def chips(self, path: Path, seeds: range, *, progress: Progress) -> Iterator[tuple[Path, int]]:
        """Write one chip after the other; an image that serves every chip is written once."""
        for seed in seeds:
            if self.plan.uses_cells or seed == seeds[0]:
                self.write(path, seed=seed, progress=progress)
            yield path, seed


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
) -> PlannedNetwork:
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
    from softcell.search import Network
    from softcell.search.record import PlanSettings
    from softcell.search.subjects import task_network
    from softcell.weights import StateDictWeights, WeightsReader

    file = load_plan(plan)
    settings = PlanSettings.of(file.settings)
    if device is not None and parse_device(device).definition() != file.plan.device.definition():
        raise InputError(
            f"{plan} is for the device {file.plan.device.name}, not for {device}; make a plan for "
            "that one"
        )
    own = [each for each in (feedback, module, inputs) if each is not None]
    if own and task is not None:
        raise InputError("a task brings its own calibration; leave out --feedback, --module, ...")
    source: Callable[[], Weights] | None = None
    if weights is not None:
        source = partial(WeightsReader, weights)
    loaded = None
    if not own and (settings.task or task is not None):
        named = task or settings.task, model or settings.model or None
        loaded = load_task(*named, progress=progress)
        source = source or partial(StateDictWeights, loaded.state_dict())
    if source is None:
        raise InputError("give the weights that the plan is for: MODEL, a safetensors file")
    # A plan for something else is found before time goes into calibration.
    with source() as opened:
        ordered = file.plan.in_order(opened.names)
        require_network(replace(file, plan=ordered), opened)
    if not settings.loop:
        network = Network(source=source)
    elif loaded is not None:
        network = task_network(loaded, source=source, progress=progress)
    else:
        network = _own(source, feedback, module, inputs, progress)
    network = replace(network, keep=frozenset(settings.keep))
    return PlannedNetwork(ordered, settings, network)


def _own(
    source: Callable[[], Weights],
    feedback: Path | None,
    module: str | None,
    inputs: Path | None,
    progress: Progress,
) -> Network:
    """Return a user's network, to go through the feedback loop."""
    from softcell.curvature import load_calibration
    from softcell.search.subjects import learnt_of, own_network

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
