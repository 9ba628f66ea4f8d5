"""softcell decode: what a real chip gave back, to weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from softcell.cli.options import AgeOption, AgeUnknownFlag, JsonFlag, OwnDeviceOption
from softcell.cli.output import image_header, print_read_report, require_writable
from softcell.cli.progress import progress_bars


def decode(
    image: Annotated[Path, typer.Argument(metavar="CELLS", help="Image the chip was made from.")],
    readings: Annotated[
        Path,
        typer.Option(
            "--readings",
            metavar="FILE",
            help="Readings in the device's unit, in the order of `softcell export`: .npy, or .csv "
            "with a column named reading (in any order, if it names region and cell as well).",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="Safetensors file to write.")
    ],
    age: AgeOption = "0",
    age_unknown: AgeUnknownFlag = False,
    device: OwnDeviceOption = None,
    as_json: JsonFlag = False,
) -> int:
    """Decode readings that were measured on a chip.

    Exit status 1 says that code words could not be corrected: the weights are there, but wrong.

    Example:
      softcell decode model.cells --readings measured.npy --age 1h -o restored.safetensors
    """
    from softcell import api
    from softcell.devices import allow_device

    require_writable(output, image, readings)
    if device is not None:
        allow_device(device)
    header = image_header(image)
    with progress_bars() as progress:
        report = api.restore(
            image, output, readings=readings, age=age, age_unknown=age_unknown, progress=progress
        )
    return print_read_report(report, output, age=age, header=header, as_json=as_json)
