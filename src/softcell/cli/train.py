"""softcell train: small networks trained once and kept, and any task's network for few cells."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softcell.cli.options import (
    DEFAULT_DEVICE,
    DEFAULT_TASK,
    AgesOption,
    DeviceOption,
    JsonFlag,
    ModelOption,
    TaskOption,
)
from softcell.cli.output import print_facts, print_json, print_note, require_writable
from softcell.cli.progress import counting, progress_bars
from softcell.errors import InputError

if TYPE_CHECKING:
    from softcell.evaluate.tasks import Task
    from softcell.training.settings import FewCells
    from softcell.training.trained_network import TrainedNetwork


def train(
    task: TaskOption = DEFAULT_TASK,
    model: ModelOption = None,
    target_cells: Annotated[
        float | None,
        typer.Option(
            "--target-cells",
            metavar="N",
            help="Train for storage in so many cells per weight, everything counted.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="With --target-cells: the trained network, .safetensors, its plan beside it as "
            ".json; by default named after the model.",
        ),
    ] = None,
    device: DeviceOption = DEFAULT_DEVICE,
    age: AgesOption = "0",
    epochs: Annotated[
        float | None,
        typer.Option("--epochs", help="Times that the training images are gone through."),
    ] = None,
    teachers: Annotated[
        list[str] | None,
        typer.Option(
            "--teacher",
            metavar="MODEL",
            help="Model of the task to distil from, by default the float network itself; of "
            "several the mean answer.",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change a setting of softcell.training.FewCells, such as learning_rate=5e-4; may "
            "be given several times.",
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Go on with a network that was trained before, from its plan.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the checkpoint that an interrupted run left."),
    ] = False,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact",
            help="Keep matrices as whole numbers and their steps: a quarter of the bytes, read by "
            "`softcell results --trained`.",
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Initial weights, order and shifts of the images.")
    ] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Train a task's network, for few cells or from nothing.

    With --target-cells, training begins at the best plan that needs none: weights, quantisation
    steps, biases and normalisations are trained through the storage, and the price of a bit is
    steered to the number of cells. Test images are used for nothing but the accuracy in the end. A
    checkpoint beside the output is written every 500 steps and goes when all is done. It takes a
    GPU if there is one.

    Without, the network of the digits or of MNIST is trained and kept in the cache folder, where
    other commands look for that of seed 0; SOFTCELL_CACHE names the folder.

    Example:
      softcell train --task mnist --model lenet5 --target-cells 0.06 -o lenet5.safetensors
      softcell train --task cifar10 --model resnet20 --target-cells 0.5 --resume
      softcell train --task mnist --model lenet5
    """
    if target_cells is None:
        if output or epochs is not None or teachers or changes or source or resume or compact:
            raise InputError(
                "--output, --epochs, --teacher, --set, --from, --resume and --compact are for "
                "training for few cells; give --target-cells, too"
            )
        _from_nothing(task, model, seed, as_json)
        return
    from softcell.devices import parse_device
    from softcell.durations import parse_ages
    from softcell.evaluate.tasks import TASKS, load_task
    from softcell.training.task_network import train_task
    from softcell.training.training_log import left_files
    from softcell.training.settings import settings_for
    from softcell.training.trained_network import TrainedNetwork

    own = {"epochs": epochs, "teachers": tuple(teachers or ()) or None} | _changes(changes or [])
    settings = settings_for(task, target_cells, **own)
    chosen = model or next(iter(TASKS.get(task, {})), "")
    path = output or Path(f"{chosen}.safetensors")
    if path.suffix != ".safetensors":
        raise InputError(f"the output's name ends in .safetensors, got {path}")
    require_writable(path)
    checkpoint = path.with_name(f"{path.stem}.checkpoint.safetensors")
    states = [left for left in left_files(checkpoint) if left.suffix == path.suffix]
    if states and not resume:
        raise InputError(
            f"{states[0]} is there, of a training that was interrupted: go on with --resume, or "
            "remove it"
        )
    before = TrainedNetwork.load(source) if source else None
    done = _command(task, chosen, target_cells, device, age, epochs, teachers, changes, seed)
    if before and source:
        done = f"{before.command} --output {source.name} && {done} --from {source.name}"
    with progress_bars() as progress:
        loaded = load_task(task, chosen, progress=counting(progress, "training"))
        network = train_task(
            loaded,
            parse_device(device),
            settings,
            name=path.stem,
            command=done,
            source=before,
            ages=parse_ages(age),
            seed=seed,
            checkpoint=checkpoint,
            resume=resume,
            told=print_note,
            progress=progress,
        )
        network.save(path.parent, compact=compact)
        for left in left_files(checkpoint):
            left.unlink()
        _tell(path, loaded, network, settings, as_json)


def _tell(
    path: Path,
    task: Task,
    network: TrainedNetwork,
    settings: FewCells,
    as_json: bool,
) -> None:
    accuracy, clean = task.evaluate(network.state), task.evaluate(task.state_dict())
    cells = float(network.plan.plan.target or 0)
    if cells > settings.cells:
        print_note(
            f"note: it takes {cells:.4f} cells per weight, not {settings.cells:g}: train longer "
            "(--epochs), or for fewer"
        )
    plan = path.with_suffix(".json")
    if as_json:
        print_json(
            {
                "output": str(path),
                "plan": str(plan),
                "task": task.name,
                "model": task.model,
                "seed": network.seed,
                "cells_per_weight": cells,
                "accuracy": accuracy,
                "float_accuracy": clean,
                "images": task.images,
                "log": list(network.log),
            }
        )
        return
    print_facts(
        [
            ("network", f"{path}, {path.stat().st_size:,} bytes"),
            ("plan", f"{plan}: softcell evaluate {path} --plan {plan}"),
            ("cells per weight", f"{cells:.4f}"),
            ("accuracy", f"{100 * accuracy:.2f} % of {task.images:,} test images"),
            ("float weights", f"{100 * clean:.2f} %"),
        ]
    )


_KINDS: dict[str, Callable[[str], Any]] = {
    "float": float,
    "int": int,
    "str": str,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "tuple[str, ...]": lambda text: tuple(text.split(",")),
}
"""What reads a setting, by its type."""


def _changes(texts: list[str]) -> dict[str, Any]:
    """Return settings of `--set NAME=VALUE`, of the types that they have."""
    from softcell.training.settings import FewCells

    kinds = {f.name: f.type for f in fields(FewCells)}
    found: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in kinds or name == "cells":
            known = ", ".join(n for n in kinds if n != "cells")
            raise InputError(f"--set {text}: no setting {name!r}; there are: {known}")
        try:
            found[name] = _KINDS[str(kinds[name])](value)
        except (ValueError, KeyError):
            raise InputError(f"--set {text}: {value!r} is no {kinds[name]}") from None
    return found


def _command(
    task: str,
    model: str,
    cells: float,
    device: str,
    age: str,
    epochs: float | None,
    teachers: list[str] | None,
    changes: list[str] | None,
    seed: int,
) -> str:
    """Return the command that does the same again."""
    parts = ["softcell", "train", "--task", task, "--model", model, "--target-cells", f"{cells:g}"]
    parts += ["--device", device] if device != DEFAULT_DEVICE else []
    parts += ["--age", age] if age != "0" else []
    parts += ["--epochs", f"{epochs:g}"] if epochs is not None else []
    for model_name in teachers or []:
        parts += ["--teacher", model_name]
    for text in changes or []:
        parts += ["--set", text]
    return shlex.join([*parts, "--seed", str(seed)])


def _from_nothing(task: str, model: str | None, seed: int, as_json: bool) -> None:
    """Train a small network from random weights, and keep it."""
    from softcell.curvature.tensor_file import read_tensors
    from softcell.evaluate.tasks import TASKS, load_task
    from softcell.evaluate.training import train as train_network

    chosen = model or next(iter(TASKS.get(task, {})), "")
    with progress_bars() as progress:
        path = train_network(task, chosen, seed=seed, progress=counting(progress, "training"))
        loaded = load_task(task, chosen)
        accuracy = loaded.evaluate(read_tensors(path)[0])
    if as_json:
        print_json(
            {
                "output": str(path),
                "task": loaded.name,
                "model": loaded.model,
                "seed": seed,
                "accuracy": accuracy,
                "images": loaded.images,
            }
        )
        return
    print_facts(
        [
            ("network", str(path)),
            ("accuracy", f"{100 * accuracy:.2f} % of {loaded.images:,} test images"),
        ]
    )
