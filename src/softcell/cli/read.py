"""softcell read: an image on a simulated chip, back to weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from softcell.cli.options import (
    AgeUnknownFlag,
    FillFromOption,
    JsonFlag,
    OwnDeviceOption,
    ReadAgeOption,
    SalvageFlag,
)
from softcell.cli.output import image_header, require_writable
from softcell.cli.progress import progress_bars
from softcell.cli.read_report import note_untold_age, print_read_report
from softcell.errors import InputError


def read(
    image: Annotated[Path, typer.Argument(metavar="CELLS", help="Cell image.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="Safetensors file to write.")
    ],
    age: ReadAgeOption = None,
    age_unknown: AgeUnknownFlag = False,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Which simulated chip; by default 0.")
    ] = None,
    chip: Annotated[
        Path | None,
        typer.Option("--chip", metavar="CHIP", help="Read the chip that `write --chip` kept."),
    ] = None,
    reads: Annotated[
        int, typer.Option("--reads", min=1, help="How often the chip is read; readings combine.")
    ] = 1,
    salvage: SalvageFlag = False,
    fill_from: FillFromOption = None,
    device: OwnDeviceOption = None,
    as_json: JsonFlag = False,
) -> int:
    """Read an image from a simulated chip and decode it.

    The image is written to the chip of --seed, or has been written to that of --chip; the chip ages
    to --age, and every cell is read once, or --reads times. An image of a closed write loop is for
    one chip alone.

    Exit status 1 says that code words could not be corrected: weights are wrong, or with --salvage
    lost and named.

    Example:
      softcell read model.cells --age 10y --seed 3 -o restored.safetensors
      softcell read model.cells --age 10y --age-unknown -o restored.safetensors
      softcell read model.cells --chip chip.safetensors --age 10y -o restored.safetensors
    """
    from softcell import api
    from softcell.devices import allow_device

    if chip is not None and seed is not None:
        raise InputError(f"{chip} is a chip already; leave out --seed")
    require_writable(output, image, chip, fill_from)
    if device is not None:
        allow_device(device)
    header = image_header(image)
    note_untold_age(age, header)
    age = age or "0"
    with progress_bars() as progress:
        report = api.restore(
            image,
            output,
            seed=seed or 0,
            chip=chip,
            reads=reads,
            salvage=salvage,
            fill_from=fill_from,
            age=age,
            age_unknown=age_unknown,
            progress=progress,
        )
    return print_read_report(report, output, age=age, header=header, as_json=as_json)
