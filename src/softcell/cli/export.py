"""softcell export: the levels for a real chip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from softcell.cli.options import JsonFlag, OwnDeviceOption
from softcell.cli.output import print_facts, print_json, require_writable
from softcell.cli.progress import progress_bars


def export(
    image: Annotated[Path, typer.Argument(metavar="CELLS", help="Cell image.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="LEVELS", help="File to write: .npy or .csv.")
    ],
    device: OwnDeviceOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the level of every cell in the device's own unit.

    Cells come tensor by tensor, then the digital store; --json tells where each begins. Readings
    for `softcell decode` go in the same order.

    Example:
      softcell export model.cells -o levels.npy
      softcell export model.cells -o levels.csv --json
    """
    from softcell.devices import allow_device
    from softcell.image.cell_image import CellImage
    from softcell.image.export import export_levels

    require_writable(output, image)
    if device is not None:
        allow_device(device)
    with progress_bars() as progress, CellImage(image) as opened:
        export_levels(opened, output, progress=progress)
        axis, cells = opened.header.device.level_axis, opened.header.cells
        regions, start = [], 0
        for region in opened.regions():
            regions.append({"region": region.label, "start": start, "cells": region.cells})
            start += region.cells
    if as_json:
        print_json(
            {
                "output": str(output),
                "quantity": axis.name,
                "unit": axis.unit,
                "cells": cells,
                "regions": regions,
            }
        )
        return
    print_facts(
        [
            ("levels", f"{output}, {cells:,} cells in {len(regions)} regions"),
            ("unit", f"{axis.name} in {axis.unit}" if axis.unit else axis.name),
        ]
    )
