"""What compare and evaluate measure on: a task of ours, or a user's own network and function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softcell.cli.progress import Progress
from softcell.own_code import guarded, imported

if TYPE_CHECKING:
    from softcell.devices import Device
    from softcell.evaluate.experiment import Experiment

_CALIBRATION_IMAGES = 2000


def task_experiment(
    task: str,
    model: str | None,
    device: Device,
    *,
    age_seconds: float,
    images: int | None,
    schemes: Sequence[str],
    sensitivity: Path | None,
    no_sensitivity: bool,
    progress: Progress,
    weights: Path | None = None,
) -> Experiment:
    """Return the experiment on a task.

    Args:
        task: Name of the task.
        model: Name of its network; None for its first.
        device: The device.
        age_seconds: Age of the cells.
        images: Number of test images; None for all.
        schemes: Schemes that will be measured: one of them may need the Fisher information.
        sensitivity: File with the Fisher information, in place of the task's own.
        no_sensitivity: Do without.
        progress: Reports training and calibration.
        weights: Safetensors file of other weights for the network.
    """
    from softcell.codes.schemes import parse_scheme
    from softcell.curvature import load_fisher
    from softcell.evaluate.experiment import Experiment
    from softcell.evaluate.sensitivity import task_fisher
    from softcell.evaluate.tasks import load_task
    from softcell.weights import WeightsReader

    chosen = [parse_scheme(scheme) for scheme in schemes]
    needed = any(each.uses_sensitivity for each in chosen)
    # What cannot be read is told before a network is loaded.
    given = None if weights is None else read_network(weights)
    fisher = None if sensitivity is None else load_fisher(sensitivity)
    loaded = load_task(task, model, images=images, progress=progress)
    state = loaded.state_dict() if given is None else given
    if fisher is None and needed and not no_sensitivity:
        fisher = task_fisher(
            loaded,
            state=state,
            count=_CALIBRATION_IMAGES,
            progress=progress,
        )
    return Experiment(
        state=state,
        evaluate=loaded.evaluate,
        device=device,
        age_seconds=age_seconds,
        sensitivity=fisher,
        task=loaded.name,
        model=loaded.model,
        images=loaded.images,
        source=None if weights is None else partial(WeightsReader, weights),
    )


def own_experiment(
    network: Path,
    function: str,
    device: Device,
    *,
    age_seconds: float,
    sensitivity: Path | None,
) -> Experiment:
    """Return the experiment on a user's network.

    Args:
        network: Safetensors file.
        function: `module:function`, imported from the current folder; it takes a state dict of
            torch tensors, of the file's own types, and gives a number.
        device: The device.
        age_seconds: Age of the cells.
        sensitivity: File with the Fisher information, or None.
    """
    from softcell.curvature import load_fisher
    from softcell.evaluate.experiment import Experiment
    from softcell.weights import WeightsReader
    from softcell.weights.tensor_file import digest

    state = read_network(network)
    return Experiment(
        state=state,
        evaluate=own_evaluate(network, function),
        device=device,
        age_seconds=age_seconds,
        sensitivity=load_fisher(sensitivity) if sensitivity else None,
        task=function,
        # The digest keeps two networks of one name apart when results are resumed.
        model=f"{network.stem}-{digest(state)[:8]}",
        source=partial(WeightsReader, network),
    )


def own_evaluate(network: Path, function: str) -> Callable[[Mapping[str, Any]], float]:
    """Return a user's evaluate function, which takes tensors by name as arrays.

    Args:
        network: Safetensors file, whose types the tensors are given in.
        function: `module:function`, imported from the current folder.

    Raises:
        InputError: There is no such function; or, when it is called, it fails.
    """
    evaluate, types = imported(function, "--evaluate"), _torch_types(network)

    def accuracy(restored: Mapping[str, Any]) -> float:
        import torch

        tensors = {n: torch.tensor(v).to(types[n]) for n, v in restored.items()}
        found: float = guarded(lambda: evaluate(tensors), f"--evaluate {function}")
        return found

    return accuracy


def read_network(path: Path) -> dict[str, Any]:
    """Return all tensors of a safetensors file: floats as float32 (F64 as float64)."""
    from softcell.weights import WeightsReader

    with WeightsReader(path) as weights:
        return {name: weights.read(name) for name in weights.names}


def _torch_types(path: Path) -> dict[str, Any]:
    from softcell.weights import WeightsReader

    with WeightsReader(path) as weights:
        import torch

        special = {"F64": torch.float64, "F16": torch.float16, "BF16": torch.bfloat16}
        return {
            name: special.get(weights.info(name).dtype, torch.from_numpy(weights.read(name)).dtype)
            for name in weights.names
        }
