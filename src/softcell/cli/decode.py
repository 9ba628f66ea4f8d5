"""softcell decode: what a real chip gave back, to weights."""

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


def decode(
    image: Annotated[Path, typer.Argument(metavar="CELLS", help="Image the chip was made from.")],
    readings: Annotated[
        list[Path],
        typer.Option(
            "--readings",
            metavar="FILE",
            help="Readings in the device's unit, in the order of `softcell export`: .npy, or .csv "
            "with a column named reading (in any order, if it names region and cell as well). A "
            "cell without a reading is NaN or empty. Several of one chip at one age combine.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="Safetensors file to write.")
    ],
    age: ReadAgeOption = None,
    age_unknown: AgeUnknownFlag = False,
    salvage: SalvageFlag = False,
    fill_from: FillFromOption = None,
    device: OwnDeviceOption = None,
    as_json: JsonFlag = False,
) -> int:
    """Decode readings that were measured on a chip.

    Readings that the device cannot give are left out and counted. Exit status 1 says that code
    words could not be corrected, or that the readings are not this image's: weights are wrong, or
    with --salvage lost and named.

    Example:
      softcell decode model.cells --readings measured.npy --age 1h -o restored.safetensors
      softcell decode model.cells --readings a.npy --readings b.npy --salvage -o out.safetensors
    """
    from softcell import api
    from softcell.devices import allow_device

    require_writable(output, image, fill_from, *readings)
    if device is not None:
        allow_device(device)
    header = image_header(image)
    note_untold_age(age, header)
    age = age or "0"
    with progress_bars() as progress:
        report = api.restore(
            image,
            output,
            readings=readings,
            age=age,
            age_unknown=age_unknown,
            salvage=salvage,
            fill_from=fill_from,
            progress=progress,
        )
    return print_read_report(report, output, age=age, header=header, as_json=as_json)
