"""What trained networks give back from their cells, beside the conventional ones of their tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from softcell.errors import InputError
from softcell.evaluate.experiment import Experiment
from softcell.evaluate.measure import measure_plan
from softcell.evaluate.results import Result
from softcell.evaluate.tasks import Task, load_task
from softcell.evaluate.trials import run_trials
from softcell.network import Network
from softcell.progress import Progress
from softcell.search.subjects import task_network
from softcell.training.matrix_steps import State
from softcell.training.trained_network import TrainedNetwork
from softcell.version import VERSION
from softcell.weights import StateDictWeights

BESIDE = ("float32", "int8")
"""Conventional schemes of the task's own network, beside which trained ones stand."""

Place = tuple[str, str, str, float]
"""What results must have in common to stand beside each other: task, model, device and age."""


def measure_trained(
    networks: Sequence[TrainedNetwork],
    *,
    seeds: int = 10,
    first_seed: int = 0,
    known: Sequence[Result] = (),
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Write trained networks to chips, read them back and evaluate them on all test images.

    Before the first network of a task, model, device and age come the results of the task's own
    network in the schemes of `BESIDE`. Every `float_accuracy` is that of the task's own network in
    float32. The signal-to-distortion ratio of a trained network is that of its storage; there is
    no limit for it, which holds for given weights only.

    Args:
        networks: The trained networks.
        seeds: Number of chips, each written and read independently.
        first_seed: Seed of the first chip; the others count on.
        known: Results of an earlier run; those that match are not measured again.
        progress: Called as the work goes on.

    Raises:
        InputError: There is no seed, the data of a task are missing, or a network is of no task
            or has other tensors than its task's.
        DecodingError: Side information was lost.
    """
    kept = {result.key: result for result in known}
    experiments: dict[Place, Experiment] = {}
    untasked = [network.name for network in networks if not network.task]
    if untasked:
        raise InputError(
            f"{untasked[0]} is a network of somebody's own, of which no test images are known; "
            "write it by its plan, read it and evaluate it"
        )
    for network in networks:
        task = load_task(network.task, network.model, progress=progress)
        place, plan = place_of(network), network.plan
        asked = (seeds, first_seed, task.images, VERSION)
        if place not in experiments:
            experiments[place] = own = _experiment(task, network, task.state_dict())
            for scheme in BESIDE:
                found = kept.get((*place, scheme, None, *asked, "", 0))
                yield found or run_trials(
                    own, scheme, seeds=seeds, first_seed=first_seed, progress=progress
                )
        loop = plan.procedure.name
        key = (*place, plan.scheme, plan.target, *asked, loop, _verify_reads(network))
        found = kept.get((*key, _mark(network)))
        yield found or _measured(
            network, task, experiments[place], range(first_seed, first_seed + seeds), progress
        )


def place_of(trained: TrainedNetwork | Result) -> Place:
    """Return where a trained network or a result stands."""
    if isinstance(trained, Result):
        return (trained.task, trained.model, trained.device, trained.age_seconds)
    plan = trained.plan
    return (trained.task, trained.model, plan.device.name, plan.age_seconds)


def times_fewer(result: Result, results: Sequence[Result], scheme: str) -> float | None:
    """Return how many times fewer cells a result takes than the task's own network in a scheme.

    Args:
        result: A result.
        results: Among them that of the scheme, of the same task, model, device and age.
        scheme: A conventional scheme.

    Returns:
        The ratio of cells per weight; None if the scheme is not among them.
    """
    for each in results:
        if (place_of(each), each.scheme, each.trained) == (place_of(result), scheme, ""):
            return each.cells_per_weight / result.cells_per_weight
    return None


def _experiment(task: Task, trained: TrainedNetwork, state: State) -> Experiment:
    """Return a state of a task's network on a trained one's device, at its age."""
    return Experiment(
        state=state,
        evaluate=task.evaluate,
        device=trained.plan.device,
        age_seconds=trained.plan.age_seconds,
        task=task.name,
        model=task.model,
        images=task.images,
    )


def _measured(
    trained: TrainedNetwork,
    task: Task,
    own: Experiment,
    seeds: range,
    progress: Progress | None,
) -> Result:
    source = partial(StateDictWeights, trained.state)
    network = Network(source=source)
    if trained.plan.procedure.loop:
        network = task_network(task, source=source, progress=progress)
    result = measure_plan(
        _experiment(task, trained, trained.state),
        network,
        trained.plan,
        seeds=len(seeds),
        first_seed=seeds[0],
        label=trained.name,
        progress=progress,
        trained=_mark(trained),
    )
    return replace(result, float_accuracy=own.float_accuracy, limit_cells_per_weight=0.0)


def _verify_reads(trained: TrainedNetwork) -> int:
    return trained.plan.procedure.verify_reads if trained.plan.by_chip else 0


def _mark(trained: TrainedNetwork) -> str:
    """Return name and digest: a network of the same name that was trained anew is another."""
    return f"{trained.name}@{trained.digest[:8]}"
