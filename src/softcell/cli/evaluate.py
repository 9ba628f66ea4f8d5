"""softcell evaluate: how good a network is after all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softcell.cli.experiment import read_network, task_experiment
from softcell.cli.options import (
    DEFAULT_CELLS,
    DEFAULT_DEVICE,
    DEFAULT_TASK,
    AgeOption,
    FirstSeedOption,
    ImagesOption,
    JsonFile,
    ModelOption,
    NoSensitivityFlag,
    SeedsOption,
    SensitivityOption,
)
from softcell.cli.output import note_ageing, print_facts, print_note
from softcell.cli.planned import planned_network
from softcell.cli.progress import progress_bars
from softcell.cli.result_file import ResultFile, print_results
from softcell.errors import InputError

if TYPE_CHECKING:
    from softcell.evaluate.results import Result


def evaluate(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Weights (safetensors), or a cell image."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            help="Task: digits (needs no data), mnist, cifar10, imagenet; by default digits, or "
            "the plan's.",
        ),
    ] = None,
    model: ModelOption = None,
    scheme: Annotated[
        str | None, typer.Option("--scheme", help="Store the weights by this scheme first.")
    ] = None,
    cells_per_weight: Annotated[
        float | None,
        typer.Option("--cells-per-weight", metavar="N", help="For analog schemes; by default 2."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", metavar="SPEC", help=f"With --scheme; by default {DEFAULT_DEVICE}."
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan", metavar="PLAN", help="Store the weights by a plan of `softcell optimise`."
        ),
    ] = None,
    age: AgeOption = "0",
    seeds: SeedsOption = 10,
    seed: FirstSeedOption = 0,
    images: ImagesOption = None,
    sensitivity: SensitivityOption = None,
    no_sensitivity: NoSensitivityFlag = False,
    json_file: JsonFile = None,
) -> None:
    """Measure weights, a cell image on several chips, or a scheme.

    Example:
      softcell evaluate restored.safetensors --task cifar10 --model resnet20
      softcell evaluate model.cells --task cifar10 --model resnet20 --age 10y --seeds 10
      softcell evaluate --task digits --scheme combined --cells-per-weight 2 --seeds 3
      softcell evaluate --task digits --plan plan.json --seeds 3
    """
    from softcell.devices import allow_device, parse_device
    from softcell.durations import parse_age
    from softcell.evaluate.measure import measure_given, measure_image
    from softcell.evaluate.trials import run_trials

    out = ResultFile(json_file)
    is_image = file is not None and _is_image(file)
    if file is None and scheme is None and plan is None:
        raise InputError("evaluate what? Name a file, a scheme with --scheme, or a --plan")
    if plan is not None:
        if is_image or scheme or cells_per_weight is not None:
            raise InputError("a plan says scheme and cells; leave out --scheme, --cells-per-weight")
        _of_plan(plan, file, task, model, device, age, seeds, seed, images, out)
        return
    if is_image and (scheme or cells_per_weight is not None):
        raise InputError(
            f"{file} is a cell image, which has its own scheme, device and number of cells; leave "
            "out --scheme and --cells-per-weight"
        )
    if is_image and device is not None:
        allow_device(device)
        device = None
    target = _target(scheme, cells_per_weight)
    own = _own_seed(file) if file is not None and is_image else None
    given = read_network(file) if file is not None and not is_image else None
    chosen, seconds = parse_device(device or DEFAULT_DEVICE), parse_age(age)
    if not is_image:
        note_ageing(chosen, seconds)
    with progress_bars() as progress:
        experiment = task_experiment(
            task or DEFAULT_TASK,
            model,
            chosen,
            age_seconds=seconds,
            images=images,
            schemes=[scheme] if scheme else [],
            sensitivity=sensitivity,
            no_sensitivity=no_sensitivity,
            progress=progress,
            weights=file if scheme else None,
        )
        if scheme is not None:
            result = run_trials(
                experiment,
                scheme,
                cells_per_weight=target,
                seeds=seeds,
                first_seed=seed,
                progress=progress,
            )
        elif file is not None and is_image:
            if own is not None and (seeds, seed) != (1, own):
                print_note(f"note: it went through a closed loop: its own chip, --seed {own}")
                seeds, seed = 1, own
            result = measure_image(
                experiment, file, seeds=seeds, first_seed=seed, progress=progress
            )
        elif given is not None:
            result = measure_given(experiment, given)
    out.write([result])
    if scheme is None and not is_image and not out.prints:
        _print_given(result, file)
    else:
        print_results([result], out)


def _of_plan(
    plan: Path,
    file: Path | None,
    task: str | None,
    model: str | None,
    device: str | None,
    age: str,
    seeds: int,
    seed: int,
    images: int | None,
    out: ResultFile,
) -> None:
    """Write a planned network to chips, and measure what they give back at the plan's last age."""
    from softcell.durations import parse_age
    from softcell.evaluate.measure import measure_plan
    from softcell.search.record import task_of

    with progress_bars() as progress:
        found, network = planned_network(
            plan,
            weights=file,
            device=device,
            task=task,
            model=model,
            progress=progress,
        )
        own_task, own_model = task_of(found)
        experiment = task_experiment(
            task or own_task or DEFAULT_TASK,
            model if task or model else own_model or None,
            found.device,
            age_seconds=found.age_seconds if age == "0" else parse_age(age),
            images=images,
            schemes=[found.scheme],
            sensitivity=None,
            no_sensitivity=False,
            progress=progress,
            weights=file,
        )
        result = measure_plan(
            experiment, network, found, seeds=seeds, first_seed=seed, progress=progress
        )
    out.write([result])
    print_results([result], out)


def _own_seed(file: Path) -> int | None:
    from softcell.image.cell_image import CellImage
    from softcell.image.readings import own_seed

    with CellImage(file) as image:
        return own_seed(image)


def _target(scheme: str | None, cells_per_weight: float | None) -> float | None:
    """Return the number of cells per weight that a scheme is to be planned with."""
    from softcell.codes.schemes import parse_scheme

    if scheme is not None and parse_scheme(scheme).takes_cells:
        return DEFAULT_CELLS if cells_per_weight is None else cells_per_weight
    if cells_per_weight is not None:
        print_note("note: --cells-per-weight is for analog schemes and not used")
    return None


def _is_image(file: Path) -> bool:
    """Return whether a file is a cell image: by its first bytes, or by its name if damaged."""
    from softcell.image.container_index import HEADER

    if file.suffix == ".cells" or not file.is_file():
        return file.suffix == ".cells"
    magic = HEADER[:8]  # without the version, which `CellImage` looks at
    with open(file, "rb") as opened:
        return opened.read(len(magic)) == magic


def _print_given(result: Result, file: Path | None) -> None:
    from softcell.evaluate.statistics import wilson_interval

    low, high = wilson_interval(round(result.accuracy_mean * result.images), result.images)
    print_facts(
        [
            ("weights", str(file)),
            ("network", f"{result.task} {result.model}"),
            ("accuracy", f"{100 * result.accuracy_mean:.2f} % of {result.images:,} test images"),
            ("", f"{100 * low:.2f} to {100 * high:.2f} % (95 % interval for so many images)"),
            ("float weights", f"{100 * result.float_accuracy:.2f} %"),
            ("signal to distortion", f"{result.sdr_db:.1f} dB"),
        ]
    )
