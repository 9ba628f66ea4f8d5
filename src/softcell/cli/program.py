"""softcell program: a network into a real chip, the write loop closed through a lab script."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    written_values,
)
from softcell.cli.options import (
    DEFAULT_DEVICE,
    AgesOption,
    AgeUnknownFlag,
    DeviceOption,
    JsonFlag,
    SensitivityOption,
)
from softcell.cli.output import print_json, print_note, require_writable
from softcell.cli.progress import progress_bars
from softcell.codes.schemes import LOOP_DEFAULT

if TYPE_CHECKING:
    from softcell.devices import Device
    from softcell.image.bench import Unread


def program(
    network: Annotated[Path, typer.Argument(metavar="MODEL", help="Weights: a safetensors file.")],
    feedback: Annotated[
        Path,
        typer.Option(
            "--feedback", metavar="FILE", help="What `softcell calibrate` found of the network."
        ),
    ],
    chip_name: Annotated[
        str,
        typer.Option("--chip-name", metavar="NAME", help="Name of the chip, kept in the image."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="CELLS", help="Cell image to write.")
    ],
    exchange: Annotated[
        Path | None,
        typer.Option(
            "--exchange",
            metavar="FOLDER",
            help="Exchange CSV files in this folder instead of lines on standard output and input.",
        ),
    ] = None,
    device: DeviceOption = DEFAULT_DEVICE,
    scheme: Annotated[
        str, typer.Option("--scheme", help="A scheme that is written column by column.")
    ] = LOOP_DEFAULT,
    cells_per_weight: Annotated[
        float, typer.Option("--cells-per-weight", metavar="N", help="All cells over all weights.")
    ] = LOOP_CELLS,
    age: AgesOption = "0",
    age_unknown: AgeUnknownFlag = False,
    sensitivity: SensitivityOption = None,
    verify_reads: VerifyReadsOption = 1,
    task: CorrectionTaskOption = None,
    model: CorrectionModelOption = None,
    module: ModuleOption = None,
    inputs: InputsOption = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--restart",
            help="Go on where programming this chip was broken off, or program all of it anew.",
        ),
    ] = True,
    as_json: JsonFlag = False,
) -> None:
    r"""Write a network to a real chip, column by column.

    A lab script programs the chip. For each batch of cells softcell prints a line of JSON with
    their places and levels, and waits on standard input for a line with the readings. When all
    cells are programmed, those of the digital store too, the image appears; it is for this chip.

    What was exchanged is kept beside the image until that is there: if programming is broken off,
    the same command goes on with the first batch that was not answered. A cell that cannot be read
    (null) is missing to the loop, and told in the end.

    See docs/your_own.md for the lines and files, and examples/program_chip.py for a script.

    Example:
      softcell program model.safetensors --feedback calibration.safetensors \
        --module my_module:make --inputs inputs.safetensors --chip-name die7 -o model.cells
      softcell program model.safetensors --feedback calibration.safetensors \
        --exchange folder --chip-name die7 -o model.cells
    """
    from softcell.allocate import Procedure
    from softcell.devices import parse_device
    from softcell.durations import parse_ages
    from softcell.image.cell_image import CellImage
    from softcell.image.exchange import FolderExchange, LineExchange
    from softcell.network import checked, plan_network
    from softcell.network.program import open_journal, program_chip, require_chip_name

    require_writable(output, network, feedback, sensitivity, inputs)
    require_chip_name(chip_name)
    cells, lines = parse_device(device), LineExchange(sys.stdin, sys.stdout)
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
            device=cells,
            scheme=scheme,
            cells_per_weight=cells_per_weight,
            ages=parse_ages(age, told=not age_unknown),
            procedure=Procedure(loop=True, verify_reads=verify_reads),
            progress=progress,
        )
        given, plan, check = checked(given, planned, progress=progress)
        with open_journal(
            given,
            plan,
            output,
            chip=chip_name,
            restart=not resume,
            in_folder=exchange is not None,
        ) as journal:
            if journal.batches:
                print_note(
                    f"goes on with batch {journal.batches} of {chip_name}: those before are in "
                    f"{journal.path}, and their cells are not programmed again"
                )
            if exchange is None:
                lines.tell(_facts(cells, chip_name, verify_reads, journal.batches))
            try:
                programmed = program_chip(
                    given,
                    plan,
                    output,
                    chip=chip_name,
                    exchange=lines
                    if exchange is None
                    else FolderExchange(exchange, cells, going_on=journal.resumed),
                    journal=journal,
                    progress=progress,
                )
            except KeyboardInterrupt:
                if journal.batches:
                    print_note(journal.kept)
                raise
    note_no_correction(given.correct)
    header, unread = programmed.header, programmed.unread
    _note_unread(unread, cells)
    reads = verify_reads if header.chip else 0
    told = {
        "unread_cells": unread.missing,
        "implausible_readings": unread.implausible,
        "likely_reason": unread.reason,
    }
    if exchange is None:
        with CellImage(output) as image:
            regions = [{"region": r.label, "cells": r.cells} for r in image.regions()]
        for note in check.notes():
            print_note(f"note: {note}")
        values = written_values(header, output, reads)
        lines.tell({"done": True, **values, **told, "regions": regions})
    elif as_json:
        print_json({**written_values(header, output, reads), "check": check.values(), **told})
    else:
        tell_written(header, output, reads, check=check)


def _facts(device: Device, chip: str, reads: int, resumed: int) -> dict[str, Any]:
    """Return what a lab script is told first."""
    from softcell.image.exchange import PROTOCOL

    level, reading = device.level_axis, device.reading_axis
    return {
        "protocol": PROTOCOL,
        "chip": chip,
        "device": device.name,
        "level": {"quantity": level.name, "unit": level.unit},
        "reading": {"quantity": reading.name, "unit": reading.unit},
        "reads": reads,
        **({"first_batch": resumed} if resumed else {}),
    }


def _note_unread(unread: Unread, device: Device) -> None:
    if unread.missing:
        print_note(
            f"note: {unread.missing} cells could not be read; they are taken for missing, as they "
            "will be in `softcell decode`"
        )
    if unread.implausible:
        print_note(
            f"warning: {unread.implausible} readings are none that {device.name} can give: "
            f"{unread.reason}; their cells are taken for missing"
        )
