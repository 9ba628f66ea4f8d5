"""softcell write: a network into a cell image."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softcell.cli.feedback import (
    LOOP_CELLS,
    CorrectionModelOption,
    CorrectionTaskOption,
    InputsOption,
    ModuleOption,
    VerifyReadsOption,
    given_network,
    note_no_correction,
    tell_written,
)
from softcell.cli.options import (
    DEFAULT_CELLS,
    DEFAULT_DEVICE,
    AgesOption,
    AgeUnknownFlag,
    JsonFlag,
    SeedOption,
    SensitivityOption,
)
from softcell.cli.output import print_note, require_writable
from softcell.cli.planned import planned_network
from softcell.cli.progress import progress_bars
from softcell.codes.schemes import DEFAULT, LOOP_DEFAULT, scheme_names
from softcell.errors import InputError

if TYPE_CHECKING:
    pass


def write(
    network: Annotated[Path, typer.Argument(metavar="MODEL", help="Weights: a safetensors file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="CELLS", help="Cell image to write.")
    ],
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="SPEC",
            help="Device: a name, NAME:option=value, or a .toml file from `softcell fit`, with "
            f"+stuck:..., +spread:... or +readout:... behind it. By default {DEFAULT_DEVICE}, or "
            "the plan's.",
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="PLAN",
            help="Write by a plan of `softcell optimise`, which says how.",
        ),
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option(
            "--scheme",
            help=f"{scheme_names()}. By default {DEFAULT}, and {LOOP_DEFAULT} with --feedback.",
        ),
    ] = None,
    cells_per_weight: Annotated[
        float | None,
        typer.Option(
            "--cells-per-weight",
            metavar="N",
            help="All cells over all weights, for analog schemes; by default "
            f"{DEFAULT_CELLS:g}, and {LOOP_CELLS:g} with --feedback.",
        ),
    ] = None,
    age: AgesOption = "0",
    age_unknown: AgeUnknownFlag = False,
    sensitivity: SensitivityOption = None,
    feedback: Annotated[
        Path | None,
        typer.Option(
            "--feedback",
            metavar="FILE",
            help="Close the write loop, by what `softcell calibrate` found of the network: columns "
            "still to be written absorb the error of those that are.",
        ),
    ] = None,
    chip: Annotated[
        Path | None,
        typer.Option(
            "--chip", metavar="CHIP", help="Keep the simulated chip that the image is written to."
        ),
    ] = None,
    seed: SeedOption = 0,
    verify_reads: VerifyReadsOption = 1,
    task: CorrectionTaskOption = None,
    model: CorrectionModelOption = None,
    module: ModuleOption = None,
    inputs: InputsOption = None,
    as_json: JsonFlag = False,
) -> None:
    r"""Write a network to a cell image.

    The image holds the level of every cell and what a decoder needs; its cells can be decoded at
    any age up to --age. For a span of ages, look-up codes leave the least mean error over it; with
    --age-unknown for a decoder that does not know the age.

    With --feedback image and simulated chip come into being together: each column of weights is
    written to the chip of --seed and read back before the next one. The image is for that chip
    alone, unless the scheme stores all weights error-free. Image and --chip appear together or not
    at all.

    Example:
      softcell write model.safetensors -o model.cells --cells-per-weight 2 --age 10y
      softcell write model.safetensors -o model.cells --scheme int8 --device rram-wan
      softcell write model.safetensors -o model.cells --scheme joint-map --age 1d..10y
      softcell write model.safetensors --feedback calibration.safetensors --task digits \
        --chip chip.safetensors --seed 7 -o model.cells
      softcell write model.safetensors --plan plan.json -o model.cells
    """
    from softcell.allocate import Procedure
    from softcell.codes.schemes import parse_scheme
    from softcell.devices import parse_device
    from softcell.durations import parse_ages
    from softcell.network import plan_network, write_checked, write_network_and_chip

    for path in (output, chip) if chip else (output,):
        require_writable(path, network, sensitivity, feedback, inputs, plan)
    if chip is not None and chip.resolve() == output.resolve():
        raise InputError(f"{output} is to hold the image; keep the chip under another name")
    if plan is not None:
        said = [scheme, cells_per_weight, sensitivity, *([age] if age != "0" else [])]
        if any(each is not None for each in said) or age_unknown or verify_reads != 1:
            raise InputError(
                f"{plan} says scheme, cells and ages; leave out --scheme, --cells-per-weight, "
                "--sensitivity, --age and --verify-reads, or make another plan"
            )
        with progress_bars() as progress:
            found, given = planned_network(
                plan,
                weights=network,
                device=device,
                task=task,
                model=model,
                feedback=feedback,
                module=module,
                inputs=inputs,
                progress=progress,
            )
            header = write_network_and_chip(
                given, found, output, chip, seed=seed, progress=progress
            )
        reads = found.procedure.verify_reads if header.chip else 0
        tell_written(header, output, reads, as_json=as_json)
        return
    if feedback is None and (task or model or module or inputs or verify_reads != 1):
        raise InputError("--task, --module and --verify-reads are for --feedback; give it, too")
    chosen = scheme or (DEFAULT if feedback is None else LOOP_DEFAULT)
    analog = parse_scheme(chosen).takes_cells
    usual = DEFAULT_CELLS if feedback is None else LOOP_CELLS
    target = (usual if cells_per_weight is None else cells_per_weight) if analog else None
    on, ages = parse_device(device or DEFAULT_DEVICE), parse_ages(age, told=not age_unknown)
    with progress_bars() as progress:
        given = given_network(
            network,
            feedback=feedback,
            sensitivity=sensitivity,
            task=task,
            model=model,
            module=module,
            inputs=inputs,
            progress=progress,
        )
        planned = partial(
            plan_network,
            device=on,
            scheme=chosen,
            cells_per_weight=target,
            ages=ages,
            procedure=Procedure(loop=feedback is not None, verify_reads=verify_reads),
            progress=progress,
        )
        check = None
        if feedback is None:
            header = write_network_and_chip(
                given, planned(given), output, chip, seed=seed, progress=progress
            )
        else:
            header, _, check = write_checked(
                given, planned, output, chip=chip, seed=seed, progress=progress
            )
    if not analog and cells_per_weight is not None:
        print_note(f"note: {chosen} has a fixed number of cells, --cells-per-weight is not used")
    if target is not None and header.cells_per_weight > target * (1 + 1e-9):
        print_note(
            f"note: {header.cells_per_weight:.3f} cells per weight instead of {target:g}: one cell "
            "for each weight and the side information already take so many"
        )
    if feedback is not None:
        note_no_correction(given.correct)
    reads = verify_reads if header.chip else 0
    tell_written(header, output, reads, check=check, as_json=as_json)
