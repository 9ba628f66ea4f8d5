"""softcell calibrate: what the loss feels of errors in a network's weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from softcell.cli.options import DEFAULT_TASK, JsonFlag, ModelOption, TaskOption
from softcell.cli.output import print_facts, print_json, print_note, require_writable
from softcell.cli.own_network import own_inputs, own_module
from softcell.cli.progress import Progress, progress_bars
from softcell.errors import InputError
from softcell.own_code import guarded

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from torch import Tensor, nn

    from softcell.curvature import Calibration
    from softcell.network.calibration_check import CalibrationCheck

_IMAGES = 2000
_Kind = Literal["fisher", "inputs", "diagonal"]


def calibrate(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Safetensors file to write.")
    ],
    task: TaskOption = DEFAULT_TASK,
    model: ModelOption = None,
    module: Annotated[
        str | None,
        typer.Option(
            "--module",
            metavar="MODULE:FUNCTION",
            help="Instead of a task: a function of yours that returns a torch module with its "
            "weights loaded.",
        ),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--inputs",
            metavar="FILE",
            help="Inputs of that module: a safetensors file of one tensor, first axis inputs.",
        ),
    ] = None,
    kind: Annotated[
        _Kind,
        typer.Option(
            "--kind",
            help="fisher: by what comes back from the outputs, for --feedback and --sensitivity; "
            "inputs: by the layers' inputs, without backpropagation, for --feedback; "
            "diagonal: a small file for --sensitivity alone.",
        ),
    ] = "fisher",
    images: Annotated[
        int | None,
        typer.Option(
            "--images",
            min=1,
            help=f"Number of calibration images; by default {_IMAGES}, or nine tenths of the "
            "--inputs.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Which images, and the estimate's randomness.")
    ] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Learn what a network's loss feels of errors in its weights.

    The file is for `write --feedback` and for `write --sensitivity`. It is made on calibration
    images without labels, once for a network, and serves every plan.

    A tenth as many inputs are held out: the last of your own, or those behind the first --images.
    What feedback leaves of errors is tried on them, and `write` checks by them what it wrote.

    Inputs of your own should be such that the network does not know them by heart: held out, or
    training inputs cropped, mirrored and mixed.

    Example:
      softcell calibrate --task cifar10 --model resnet20 -o calibration.safetensors
      softcell calibrate --module my_module:make --inputs inputs.safetensors -o own.safetensors
      softcell calibrate --kind diagonal --images 500 -o fisher.safetensors
    """
    from softcell.curvature import Calibration, save_calibration, save_fisher
    from softcell.curvature.held_out import split

    if (module is None) != (inputs is None):
        raise InputError("a network of your own takes both --module and --inputs")
    if module is not None and (model is not None or task != DEFAULT_TASK):
        raise InputError("--module brings a network of its own; leave out --task and --model")
    require_writable(output, inputs)
    with progress_bars() as progress:
        if module is not None and inputs is not None:
            network = own_module(module)
            given = own_inputs(inputs, network, images)
            # The diagonal is held against nothing.
            parts = (given[:images], given[:0]) if kind == "diagonal" else split(given, images)
            name, count, held = module, len(parts[0]), len(parts[1])
            found, check = _of_module(network, *parts, kind, seed, module, progress)
        else:
            count = images or _IMAGES
            name, found, check = _of_task(task, model, kind, count, seed, progress)
            apart = found.held if isinstance(found, Calibration) else None
            held = 0 if apart is None else apart.inputs
    unfelt: tuple[str, ...] = ()
    if isinstance(found, Calibration):
        if not found.layers:
            raise InputError(
                f"{module or task} has no matrix of a layer that calibration knows (linear and "
                "convolution layers whose weights are parameters: remove weight_norm and the like "
                "first); --kind diagonal takes any network"
            )
        save_calibration(output, found)
        layers, fisher, unfelt = len(found.layers), found.fisher, found.unfelt
    else:
        save_fisher(output, found)
        layers, fisher = 0, found
    weights = sum(values.size for values in fisher.values())
    if unfelt:
        print_note(
            f"note: on these inputs nothing comes back to {', '.join(unfelt)}: what errors there "
            "do is not known, and they are stored without feedback, by mean square error"
        )
    if check is not None:
        _note_check(check)
    if as_json:
        print_json(
            {
                "output": str(output),
                "network": name,
                "kind": kind,
                "images": count,
                "held_out": held,
                "matrices": layers,
                "tensors": len(fisher),
                "weights": weights,
                "unfelt": list(unfelt),
                "check": None if check is None else check.values(),
            }
        )
        return
    facts = [
        ("calibration", f"{output}, {output.stat().st_size:,} bytes"),
        ("network", f"{name}, on {count:,} {'inputs' if inputs else 'images'}"),
    ]
    if layers:
        facts.append(("for --feedback", f"curvature of {layers} matrices"))
    if check is not None:
        facts += _check_facts(check, held)
    if fisher:
        facts.append(("for --sensitivity", f"{weights:,} weights in {len(fisher)} tensors"))
    print_facts(facts)


def _note_check(check: CalibrationCheck) -> None:
    """Say where feedback would do harm."""
    from softcell.network.checked_write import SURPRISING

    if check.surprise is not None and check.surprise > SURPRISING:
        print_note(
            f"note: on inputs that were held out, the network's outputs are {check.surprise:.1f} "
            "times as far off as the curvature predicts, which fits this network badly; `write` "
            "checks what feedback does to each matrix, and falls back best if it has --module and "
            "--inputs"
        )
    elif check.closed is not None and check.open is not None and check.closed > check.open:
        print_note(
            "note: on inputs that were held out, the network's outputs are further off with "
            "feedback than without: the curvature fits this network badly; give `write` its "
            "--module and --inputs, so that it can fall back"
        )


def _check_facts(check: CalibrationCheck, held: int) -> list[tuple[str, str]]:
    facts = []
    if check.matrices:
        predicted, measured = check.usual
        facts.append(
            (
                "held out",
                f"{held:,} inputs: feedback leaves {measured:.2f} of the outputs' error, "
                f"{predicted:.2f} predicted (the median matrix)",
            )
        )
    if check.closed is not None and check.open is not None:
        of = "" if check.predicted is None else f" ({check.predicted:.4f} predicted)"
        facts.append(
            (
                "divergence",
                f"{check.closed:.4f} with feedback{of}, {check.open:.4f} without, for errors of "
                f"20 %",
            )
        )
    return facts


def _of_task(
    task: str, model: str | None, kind: _Kind, count: int, seed: int, progress: Progress
) -> tuple[str, Calibration | Mapping[str, np.ndarray], CalibrationCheck | None]:
    from softcell.evaluate.sensitivity import task_calibration, task_check, task_fisher
    from softcell.evaluate.tasks import load_task

    loaded = load_task(task, model, progress=progress)
    name = f"{loaded.name} {loaded.model}"
    if kind == "diagonal":
        return name, task_fisher(loaded, count=count, seed=seed, progress=progress), None
    found = task_calibration(loaded, count=count, seed=seed, kind=kind, progress=progress)
    return name, found, task_check(loaded, found)


def _of_module(
    network: nn.Module,
    given: Tensor,
    held: Tensor,
    kind: _Kind,
    seed: int,
    module: str,
    progress: Progress,
) -> tuple[Calibration | Mapping[str, np.ndarray], CalibrationCheck | None]:
    from softcell.curvature import calibrate as calibrate_network
    from softcell.curvature import diagonal_fisher
    from softcell.network.calibration_check import tried_calibration

    def found() -> tuple[Calibration | Mapping[str, np.ndarray], CalibrationCheck | None]:
        if kind == "diagonal":
            return diagonal_fisher(network, given, seed=seed, progress=progress), None
        made = calibrate_network(network, given, seed=seed, kind=kind, held=held, progress=progress)
        return tried_calibration(network, made, held) if len(held) else (made, None)

    return guarded(found, f"--module {module}")
