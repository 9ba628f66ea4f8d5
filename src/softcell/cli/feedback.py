"""Options of the feedback loop, and what verbs that close it share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softcell.cli.experiment import read_network
from softcell.cli.output import note_ageing, print_facts, print_json, print_note
from softcell.cli.own_network import loaded_module, own_inputs
from softcell.cli.progress import Progress
from softcell.errors import InputError
from softcell.own_code import guarded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from softcell.image.closed_loop import Correct
    from softcell.image.header import ImageHeader
    from softcell.network import LoopCheck, Network
    from softcell.network.corrections import Divergence

LOOP_CELLS = 1.0
"""Cells per weight in the loop by default."""

VerifyReadsOption = Annotated[
    int,
    typer.Option(
        "--verify-reads",
        min=1,
        metavar="N",
        help="With --feedback: verifying reads of a cell, which are averaged.",
    ),
]
CorrectionTaskOption = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="With --feedback: correct the drift of activations on images of this task.",
    ),
]
CorrectionModelOption = Annotated[
    str | None, typer.Option("--model", help="That task's network; by default its first.")
]
ModuleOption = Annotated[
    str | None,
    typer.Option(
        "--module",
        metavar="MODULE:FUNCTION",
        help="Or, instead of a task: a function of yours that returns the network as a torch "
        "module; it is given the weights of MODEL.",
    ),
]
InputsOption = Annotated[
    Path | None,
    typer.Option(
        "--inputs",
        metavar="FILE",
        help="Inputs of that module: a safetensors file of one tensor; 500 of them are plenty.",
    ),
]


def correction(network: Path, **told: Any) -> Correct | None:
    """Return what corrects a network for the drift of activations; arguments of `of_outputs`."""
    return of_outputs(network, **told)[0]


def of_outputs(
    network: Path,
    *,
    task: str | None,
    model: str | None,
    module: str | None,
    inputs: Path | None,
    progress: Progress,
) -> tuple[Correct | None, Divergence | None]:
    """Return what corrects a network for the drift of activations, and what measures its outputs.

    They go by different inputs: a tenth of the user's own are held out.

    Args:
        network: The network's weights: a safetensors file.
        task: Name of a task, whose images serve.
        model: The task's network; None for its first.
        module: `module:function` of a network of the user's own.
        inputs: Its inputs.
        progress: Reports training.

    Returns:
        Both; None and None if nothing is told of its outputs.

    Raises:
        InputError: The options do not go together, or the user's code failed.
    """
    if (module is None) != (inputs is None):
        raise InputError("a network of your own takes both --module and --inputs")
    if module is not None and inputs is not None:
        if task is not None or model is not None:
            raise InputError("--module brings a network of its own; leave out --task and --model")
        return _of_own_outputs(network, module, inputs)
    if task is None:
        if model is not None:
            raise InputError("--model names a network of a task; give --task, too")
        return None, None
    from softcell.evaluate.correction import task_correction, task_divergence
    from softcell.evaluate.tasks import load_task

    state = read_network(network)
    loaded = load_task(task, model, progress=progress)
    return task_correction(loaded, state=state), task_divergence(loaded, state=state)


def given_network(
    weights: Path,
    *,
    feedback: Path | None,
    sensitivity: Path | None,
    task: str | None,
    model: str | None,
    module: str | None,
    inputs: Path | None,
    progress: Progress,
) -> Network:
    """Return the network of a file, with what the options tell of it.

    Args:
        weights: The network's weights: a safetensors file.
        feedback: What `softcell calibrate` made of it; None to store it without the loop.
        sensitivity: Its Fisher information; or None.
        task: As for `of_outputs`, which is looked at only with `feedback`.
        model: Likewise.
        module: Likewise.
        inputs: Likewise.
        progress: Reports training.

    Raises:
        InputError: The options do not go together, or the user's code failed.
    """
    from softcell.curvature import load_calibration, load_fisher
    from softcell.network import Network
    from softcell.weights import parse_weights

    calibration = None if feedback is None else load_calibration(feedback)
    fisher = None if sensitivity is None else load_fisher(sensitivity)
    correct = divergence = None
    if calibration is not None:
        correct, divergence = of_outputs(
            weights, task=task, model=model, module=module, inputs=inputs, progress=progress
        )
    return Network(
        source=partial(parse_weights, weights),
        calibration=calibration,
        correct=correct,
        divergence=divergence,
        sensitivity=fisher,
    )


def _of_own_outputs(
    weights: Path, function: str, inputs: Path
) -> tuple[Correct, Divergence | None]:
    from softcell.curvature.held_out import split
    from softcell.feedback import DriftCorrection, correct_drift
    from softcell.network.divergence import output_divergence

    state, what = read_network(weights), f"--module {function}"
    network = loaded_module(function, state)
    learnt, held = split(own_inputs(inputs, network, None))
    try:
        # What is wrong is better known before a chip is written.
        guarded(lambda: correct_drift(network, state, learnt[:1]), what)
    except InputError as error:
        raise InputError(f"{what} does not go with {weights}: {error}") from error
    drift = DriftCorrection(network, learnt)

    def correct(stored: Mapping[str, Any]) -> Mapping[str, Any]:
        return guarded(lambda: drift(stored), what)

    measure = guarded(lambda: output_divergence(network, held), what)
    if measure is None:
        return correct, None
    return correct, lambda stored: guarded(lambda: measure(stored), what)


def written_values(header: ImageHeader, output: Path, verify_reads: int = 0) -> dict[str, Any]:
    """Return what is told of a written image as plain values.

    Args:
        header: The image's header.
        output: The image.
        verify_reads: Verifying reads of a cell in the loop; 0 if it was not closed.
    """
    return {
        "output": str(output),
        "scheme": header.scheme,
        "device": header.device.name,
        "chip": header.chip,
        "age_seconds": header.age_seconds,
        "first_age_seconds": header.ages.first,
        "weights": header.weights,
        "cells": header.cells,
        "analog_cells": header.analog_cells,
        "store_cells": header.store_cells,
        "cells_per_weight": header.cells_per_weight,
        "side_cells_per_weight": header.side_cells_per_weight,
        "program_pulses": header.cells,
        "verifying_reads": header.analog_cells * verify_reads,
    }


def note_no_correction(correct: Correct | None) -> None:
    """Say that the drift of activations was not corrected, if it was not."""
    if correct is None:
        print_note(
            "note: no drift correction, which keeps more of the accuracy: give --module and "
            "--inputs, or --task"
        )


def _check_facts(check: LoopCheck) -> list[tuple[str, str]]:
    facts = []
    if check.matrices:
        left = sorted(m.measured for m in check.matrices)[len(check.matrices) // 2]
        facts.append(
            (
                "held out",
                f"{check.inputs} inputs: feedback leaves {left:.2f} of the outputs' error (the "
                f"median of {len(check.matrices)} matrices)",
            )
        )
    if check.measured is not None:
        of = "" if check.predicted is None else f", {check.predicted:.4f} predicted"
        facts.append(("divergence", f"{check.left:.4f} on inputs held out{of}"))
    return facts


def tell_written(
    header: ImageHeader,
    output: Path,
    verify_reads: int = 0,
    *,
    check: LoopCheck | None = None,
    as_json: bool = False,
) -> None:
    """Print what is told of a written image, as for `written_values`."""
    note_ageing(header.device, header.age_seconds)
    for note in () if check is None else check.notes():
        print_note(f"note: {note}")
    if as_json:
        values = written_values(header, output, verify_reads)
        print_json(values if check is None else values | {"check": check.values()})
        return
    store = header.store_cells / header.weights
    facts = [
        ("image", f"{output}, {output.stat().st_size:,} bytes"),
        ("scheme", f"{header.scheme} on {header.device.name}, for {header.ages}"),
    ]
    if header.chip is not None:
        reads = header.analog_cells * verify_reads
        facts += [
            ("chip", f"{header.chip} alone"),
            ("write cost", f"{header.cells:,} pulses, {reads:,} verifying reads"),
        ]
    facts += [] if check is None else _check_facts(check)
    facts += [
        ("weights", f"{header.weights:,}"),
        ("cells", f"{header.cells:,}"),
        ("cells per weight", f"{header.cells_per_weight:.3f}"),
        ("  analog", f"{header.analog_cells / header.weights:.3f}"),
        ("  digital", f"{store:.3f} ({header.side_cells_per_weight:.3f} side information)"),
    ]
    print_facts(facts)
