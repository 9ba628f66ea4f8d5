"""softcell train: small networks trained once and kept, and any network for few cells."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softcell.cli.few_cells import changed_settings, command_again, tell
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
from softcell.cli.own_training import OwnTraining
from softcell.cli.progress import progress_bars
from softcell.errors import InputError

if TYPE_CHECKING:
    from softcell.evaluate.tasks import Task
    from softcell.training.trained_network import TrainedNetwork


def train(
    network: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Weights of a network of your own: a safetensors file. By default those that the "
            "function of --module has loaded.",
        ),
    ] = None,
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
            ".json; by default named after the model, or trained.safetensors.",
        ),
    ] = None,
    module: Annotated[
        str | None,
        typer.Option(
            "--module",
            metavar="MODULE:FUNCTION",
            help="Instead of a task: a function of yours that returns the network as a torch "
            "module.",
        ),
    ] = None,
    loader: Annotated[
        str | None,
        typer.Option(
            "--loader",
            metavar="MODULE:FUNCTION",
            help="For that module: a function of yours that returns what it is trained on, a torch "
            "DataLoader or another iterable of batches, inputs and labels or inputs alone.",
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            "--loss",
            metavar="MODULE:FUNCTION",
            help="With --loader: loss(outputs, labels) -> the mean, a scalar; by default the "
            "network itself is distilled, without labels.",
        ),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--inputs",
            metavar="FILE",
            help="Inputs of that module: a safetensors file of one tensor. Plans are made with "
            "them, by default with the first 2,000 of the loader; without --loader it is trained "
            "on them, too.",
        ),
    ] = None,
    evaluate: Annotated[
        str | None,
        typer.Option(
            "--evaluate",
            metavar="MODULE:FUNCTION",
            help="For that module: evaluate(state_dict) -> accuracy from 0 to 1, told in the end; "
            "of several plans it chooses the start.",
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
    r"""Train a network for few cells, or a small one from nothing.

    With --target-cells, training begins at the best plan that needs none: weights, quantisation
    steps, biases and normalisations are trained through the storage, and the price of a bit is
    steered to the number of cells. Test images are used for nothing but the accuracy in the end. A
    checkpoint beside the output is written every 500 steps and goes when all is done. It takes a
    GPU if there is one.

    A network of your own comes with --module and what it is trained on: --loader, with or without
    a --loss of its labels, or --inputs alone.

    Without --target-cells, the network of the digits or of MNIST is trained and kept in the cache
    folder, where other commands look for that of seed 0; SOFTCELL_CACHE names the folder.

    Example:
      softcell train --task mnist --model lenet5 --target-cells 0.06 -o lenet5.safetensors
      softcell train --task cifar10 --model resnet20 --target-cells 0.5 --resume
      softcell train --module my_module:make --loader my_module:loader --loss my_module:loss \
        --target-cells 0.5 -o own.safetensors
      softcell train model.safetensors --module my_module:make --inputs inputs.safetensors \
        --target-cells 0.5 -o own.safetensors
      softcell train --task mnist --model lenet5
    """
    own = OwnTraining(network, module, inputs, loader, loss, evaluate)
    if target_cells is None:
        if output or epochs is not None or teachers or changes or source or resume or compact:
            raise InputError(
                "--output, --epochs, --teacher, --set, --from, --resume and --compact are for "
                "training for few cells; give --target-cells, too"
            )
        if own.given:
            raise InputError(
                "a network of your own is trained for few cells: say how many, --target-cells"
            )
        _from_nothing(task, model, seed, as_json)
        return
    if own.given and (task != DEFAULT_TASK or model or teachers):
        raise InputError(
            "--module brings a network of its own; leave out --task, --model and --teacher"
        )
    from softcell.devices import parse_device
    from softcell.durations import parse_ages
    from softcell.evaluate.tasks import TASKS, load_task
    from softcell.training.settings import own_settings, settings_for
    from softcell.training.trained_network import TrainedNetwork
    from softcell.training.training_log import left_files

    changed = {"epochs": epochs, "teachers": tuple(teachers or ()) or None}
    changed |= changed_settings(changes or [])
    if own.given:
        settings = own_settings(target_cells, loss=loss is not None, **changed)
        chosen, what = "", own.words()
    else:
        settings = settings_for(task, target_cells, **changed)
        chosen = model or next(iter(TASKS.get(task, {})), "")
        what = ["--task", task, "--model", chosen]
    path = output or Path(f"{chosen or 'trained'}.safetensors")
    if path.suffix != ".safetensors":
        raise InputError(f"the output's name ends in .safetensors, got {path}")
    require_writable(path, network, inputs)
    checkpoint = path.with_name(f"{path.stem}.checkpoint.safetensors")
    states = [left for left in left_files(checkpoint) if left.suffix == path.suffix]
    if states and not resume:
        raise InputError(
            f"{states[0]} is there, of a training that was interrupted: go on with --resume, or "
            "remove it"
        )
    cells, ages = parse_device(device), parse_ages(age)
    before = TrainedNetwork.load(source) if source else None
    done = command_again(what, target_cells, device, age, epochs, teachers, changes, seed)
    if before and source:
        done = f"{before.command} --output {source.name} && {done} --from {source.name}"
    with progress_bars() as progress:
        options: dict[str, Any] = {
            "name": path.stem,
            "command": done,
            "source": before,
            "seed": seed,
            "checkpoint": checkpoint,
            "resume": resume,
            "told": print_note,
            "progress": progress,
        }
        if own.given:
            trained, accuracies = own.train(settings, device=device, age=age, **options)
            images = 0
        else:
            loaded = load_task(task, chosen, progress=progress)
            from softcell.training.task_network import train_task

            trained = train_task(loaded, cells, settings, ages=ages, **options)
            accuracies, images = partial(_accuracies, loaded, trained), loaded.images
        trained.save(path.parent, compact=compact)
        for left in left_files(checkpoint):
            left.unlink()
        tell(path, trained, settings.cells, *accuracies(), images=images, as_json=as_json)


def _accuracies(task: Task, trained: TrainedNetwork) -> tuple[float, float]:
    """Return the accuracies of a trained network and of the task's own, on its test images."""
    return task.evaluate(trained.state), task.evaluate(task.state_dict())


def _from_nothing(task: str, model: str | None, seed: int, as_json: bool) -> None:
    """Train a small network from random weights, and keep it."""
    from softcell.evaluate.models import require_recipe
    from softcell.evaluate.tasks import TASKS, load_task
    from softcell.weights.tensor_file import read_tensors

    chosen = model or next(iter(TASKS.get(task, {})), "")
    require_recipe(task, chosen)
    from softcell.evaluate.small_networks import train as train_network

    with progress_bars() as progress:
        path = train_network(task, chosen, seed=seed, progress=progress)
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
