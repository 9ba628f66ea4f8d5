"""What compare and evaluate measure on: a task of ours, or a user's own network and function."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softcell.cli.progress import Progress, counting
from softcell.errors import InputError, SoftcellError

if TYPE_CHECKING:
    from softcell.devices import Device
    from softcell.evaluate.trials import Experiment

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
    from softcell.allocate import CODED, parse_scheme
    from softcell.curvature import load_fisher
    from softcell.evaluate.sensitivity import task_fisher
    from softcell.evaluate.tasks import load_task
    from softcell.evaluate.trials import Experiment
    from softcell.weights import WeightsReader

    chosen = [parse_scheme(scheme) for scheme in schemes]
    needed = any(each.has("sensitivity") or each.name in CODED for each in chosen)
    loaded = load_task(task, model, images=images, progress=counting(progress, "training"))
    state = loaded.state_dict() if weights is None else read_network(weights)
    fisher = None
    if sensitivity is not None:
        fisher = load_fisher(sensitivity)
    elif needed and not no_sensitivity:
        fisher = task_fisher(
            loaded,
            state=state,
            count=_CALIBRATION_IMAGES,
            progress=counting(progress, "calibration images"),
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
    from softcell.evaluate.sensitivity import digest
    from softcell.evaluate.trials import Experiment
    from softcell.weights import WeightsReader

    evaluate = _imported(function)
    state = read_network(network)
    types = _torch_types(network)

    def accuracy(restored: Mapping[str, Any]) -> Any:
        import torch

        tensors = {n: torch.tensor(v).to(types[n]) for n, v in restored.items()}
        return _guarded(lambda: evaluate(tensors), function)

    return Experiment(
        state=state,
        evaluate=accuracy,
        device=device,
        age_seconds=age_seconds,
        sensitivity=load_fisher(sensitivity) if sensitivity else None,
        task=function,
        # The digest keeps two networks of one name apart when results are resumed.
        model=f"{network.stem}-{digest(state)[:8]}",
        source=partial(WeightsReader, network),
    )


def read_network(path: Path) -> dict[str, Any]:
    """Return all tensors of a safetensors file: floats as float32 (F64 as float64)."""
    from softcell.weights import WeightsReader

    with WeightsReader(path) as weights:
        return {name: weights.read(name) for name in weights.names}


def _torch_types(path: Path) -> dict[str, Any]:
    import torch

    from softcell.weights import WeightsReader

    special = {"F64": torch.float64, "F16": torch.float16, "BF16": torch.bfloat16}
    with WeightsReader(path) as weights:
        return {
            name: special.get(weights.info(name).dtype, torch.from_numpy(weights.read(name)).dtype)
            for name in weights.names
        }


def _imported(function: str) -> Callable[[Any], Any]:
    module_name, _, name = function.partition(":")
    if not module_name or not name:
        raise InputError(f"--evaluate: expected module:function, got {function!r}")
    sys.path.insert(0, "")  # the current folder, as `python -m` has it
    try:
        module = _guarded(lambda: importlib.import_module(module_name), function)
    finally:
        sys.path.remove("")
    found = getattr(module, name, None)
    if not callable(found):
        raise InputError(f"--evaluate: module {module_name} has no function {name!r}")
    return found


def _guarded(call: Callable[[], Any], function: str) -> Any:
    """Call a user's code; say in one line what went wrong in it, and where."""
    try:
        return call()
    except SoftcellError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[1:]
        own = [f for f in frames if not f.filename.startswith("<frozen")]
        where = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
        raise InputError(
            f"--evaluate {function} failed{where}: {type(error).__name__}: {error}"
        ) from error
