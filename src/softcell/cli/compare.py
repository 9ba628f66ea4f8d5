"""softcell compare: all schemes side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softcell.cli.experiment import own_experiment, task_experiment
from softcell.cli.feedback import (
    InputsOption,
    ModuleOption,
    VerifyReadsOption,
    correction,
    note_no_correction,
)
from softcell.cli.options import (
    DEFAULT_DEVICE,
    DEFAULT_TASK,
    AgeOption,
    DeviceOption,
    FirstSeedOption,
    ImagesOption,
    JsonFile,
    ModelOption,
    NoSensitivityFlag,
    SeedsOption,
    SensitivityOption,
    TaskOption,
    listed,
    listed_numbers,
)
from softcell.cli.output import note_ageing
from softcell.cli.progress import progress_bars
from softcell.cli.result_file import ResultFile, print_results
from softcell.errors import InputError

if TYPE_CHECKING:
    from softcell.allocate import Procedure
    from softcell.evaluate.results import Result


def compare(
    task: TaskOption = DEFAULT_TASK,
    model: ModelOption = None,
    network: Annotated[
        Path | None,
        typer.Option(
            "--network", metavar="MODEL", help="A network of your own: a safetensors file."
        ),
    ] = None,
    evaluate: Annotated[
        str | None,
        typer.Option(
            "--evaluate",
            metavar="MODULE:FUNCTION",
            help="Its evaluate(state_dict) -> float, imported from the current folder.",
        ),
    ] = None,
    device: DeviceOption = DEFAULT_DEVICE,
    age: AgeOption = "0",
    schemes: Annotated[
        str | None,
        typer.Option("--schemes", metavar="A,B,...", help="Schemes; by default all of them."),
    ] = None,
    cells_per_weight: Annotated[
        str,
        typer.Option("--cells-per-weight", metavar="N,...", help="Cells for the analog schemes."),
    ] = "1,2,4",
    seeds: SeedsOption = 10,
    seed: FirstSeedOption = 0,
    images: ImagesOption = None,
    sensitivity: SensitivityOption = None,
    no_sensitivity: NoSensitivityFlag = False,
    feedback: Annotated[
        bool,
        typer.Option(
            "--feedback",
            help="Write through the feedback loop, too: open, open with drift correction, closed.",
        ),
    ] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="With --feedback and a network of your own: what `softcell calibrate` made of it.",
        ),
    ] = None,
    module: ModuleOption = None,
    inputs: InputsOption = None,
    verify_reads: VerifyReadsOption = 1,
    json_file: JsonFile = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Draw accuracy against cells per weight: .svg or .png."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Do not measure again what the JSON file has already.")
    ] = False,
) -> None:
    """Compare all schemes: accuracy, cells, distance to the limit.

    Every scheme stores the network on several simulated chips, each written and read once. The
    Fisher information that `combined` needs is computed once and kept in the cache folder.

    With --feedback, every scheme that can be written column by column has three rows: the open loop
    with normalisations folded, the same with drift correction, and the closed loop.

    The JSON file is written anew after every row, so that an interruption loses at most one;
    with --resume the rows that it holds are not measured again.

    Example:
      softcell compare --task digits --seeds 3 --json digits.json --plot digits.svg
      softcell compare --task cifar10 --model resnet20 --age 10y --json r20.json --resume
      softcell compare --task digits --feedback --schemes packed,strong-digital
      softcell compare --network model.safetensors --evaluate my_module:evaluate
      softcell compare --network model.safetensors --evaluate my_module:evaluate --feedback \
        --calibration calibration.safetensors --module my_module:make --inputs inputs.safetensors
    """
    from softcell.curvature import load_calibration
    from softcell.devices import parse_device
    from softcell.durations import parse_age
    from softcell.evaluate import trials
    from softcell.evaluate.correction import in_loop
    from softcell.evaluate.tasks import load_task
    from softcell.report.plot import require_figure_name, write_plot

    names = _schemes(schemes)
    cells = listed_numbers(cells_per_weight, "--cells-per-weight")
    rows = trials.grid(names, cells)
    file = ResultFile(json_file, resume=resume)
    if plot is not None:
        require_figure_name(plot)
    chosen, seconds = parse_device(device), parse_age(age)
    note_ageing(chosen, seconds)
    own = (calibration, module, inputs)
    if any(each is not None for each in own) and not (feedback and network is not None):
        raise InputError(
            "--calibration, --module and --inputs go with --feedback and a --network of your own"
        )
    if (network is None) != (evaluate is None):
        raise InputError("a network of your own takes both --network and --evaluate")
    results: list[Result] = []
    with progress_bars() as progress:
        if network is not None and evaluate is not None:
            experiment = own_experiment(
                network, evaluate, chosen, age_seconds=seconds, sensitivity=sensitivity
            )
        else:
            experiment = task_experiment(
                task,
                model,
                chosen,
                age_seconds=seconds,
                images=images,
                schemes=names,
                sensitivity=sensitivity,
                no_sensitivity=no_sensitivity,
                progress=progress,
            )
        if feedback and network is not None:
            if calibration is None:
                raise InputError("--feedback with --network needs its --calibration")
            correct = correction(
                network, task=None, model=None, module=module, inputs=inputs, progress=progress
            )
            note_no_correction(correct)
            known = load_calibration(calibration)
            experiment = replace(experiment, calibration=known, correct=correct)
        elif feedback:
            loaded = load_task(task, model, images=images, progress=progress)
            experiment = in_loop(experiment, loaded, progress=progress)
        procedures: Sequence[Procedure] = (trials.OPEN,)
        if feedback:
            procedures = trials.ways_through(
                corrected=experiment.correct is not None, verify_reads=verify_reads
            )
        rows_in_all = trials.count_rows(rows, procedures)
        progress("schemes", 0, rows_in_all)
        for result in trials.compare(
            experiment,
            schemes=names,
            cells_per_weight=cells,
            seeds=seeds,
            first_seed=seed,
            known=file.known,
            procedures=procedures,
            progress=progress,
        ):
            results.append(result)
            file.write(results)
            progress("schemes", len(results), rows_in_all)
    if plot is not None:
        write_plot(results, plot)
    print_results(results, file)


def _schemes(text: str | None) -> Sequence[str]:
    from softcell.codes.schemes import SCHEMES

    return list(SCHEMES) if text is None else listed(text)
