"""softcell read: an image on a simulated chip, back to weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from softcell.cli.options import AgeOption, JsonFlag, SeedOption
from softcell.cli.output import planned_age, print_read_report, require_writable
from softcell.cli.progress import progress_bars


def read(
    image: Annotated[Path, typer.Argument(metavar="CELLS", help="Cell image.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="Safetensors file to write.")
    ],
    age: AgeOption = "0",
    seed: SeedOption = 0,
    as_json: JsonFlag = False,
) -> int:
    """Read an image from a simulated chip and decode it.

    The image is written to the chip of --seed, the chip ages by --age, and every cell is read once.

    Exit status 1 says that code words could not be corrected: the weights are there, but wrong.

    Example:
      softcell read model.cells --age 10y --seed 3 -o restored.safetensors
    """
    from softcell import api

    require_writable(output, image)
    planned = planned_age(image)
    with progress_bars() as progress:
        report = api.restore(image, output, seed=seed, age=age, progress=progress)
    return print_read_report(report, output, planned=planned, as_json=as_json)
