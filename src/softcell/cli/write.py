"""softcell write: a network into a cell image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from softcell.cli.options import (
    DEFAULT_CELLS,
    DEFAULT_DEVICE,
    AgeOption,
    DeviceOption,
    JsonFlag,
    SensitivityOption,
)
from softcell.cli.output import print_facts, print_json, print_note, require_writable
from softcell.cli.progress import progress_bars


def write(
    network: Annotated[Path, typer.Argument(metavar="MODEL", help="Weights: a safetensors file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="CELLS", help="Cell image to write.")
    ],
    device: DeviceOption = DEFAULT_DEVICE,
    scheme: Annotated[
        str,
        typer.Option(
            "--scheme",
            help="float32, float16 or int8; naive, combined, or protections joined by +: "
            "inversion, sign, adaptive, sparsity, sensitivity.",
        ),
    ] = "combined",
    cells_per_weight: Annotated[
        float | None,
        typer.Option(
            "--cells-per-weight",
            metavar="N",
            help=f"All cells over all weights, for analog schemes; by default {DEFAULT_CELLS:g}.",
        ),
    ] = None,
    age: AgeOption = "0",
    sensitivity: SensitivityOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a network to a cell image.

    The image holds the level of every cell and what a decoder needs; its cells can be decoded at
    any age up to --age.

    Example:
      softcell write model.safetensors -o model.cells --cells-per-weight 2 --age 10y
      softcell write model.safetensors -o model.cells --scheme int8 --device rram-wan
    """
    from softcell import api
    from softcell.allocate import parse_scheme
    from softcell.curvature import load_fisher
    from softcell.durations import format_age

    require_writable(output, network, sensitivity)
    analog = parse_scheme(scheme).number_format is None
    if not analog and cells_per_weight is not None:
        print_note(f"note: {scheme} has a fixed number of cells, --cells-per-weight is not used")
    target = (DEFAULT_CELLS if cells_per_weight is None else cells_per_weight) if analog else None
    with progress_bars() as progress:
        header = api.write(
            network,
            output,
            device=device,
            scheme=scheme,
            cells_per_weight=target,
            age=age,
            sensitivity=load_fisher(sensitivity) if sensitivity else None,
            progress=progress,
        )
    if target is not None and header.cells_per_weight > target * (1 + 1e-9):
        print_note(
            f"note: {header.cells_per_weight:.3f} cells per weight instead of {target:g}: one cell "
            "for each weight and the side information already take so many"
        )
    if as_json:
        print_json(
            {
                "output": str(output),
                "scheme": header.scheme,
                "device": header.device.name,
                "age_seconds": header.age_seconds,
                "weights": header.weights,
                "cells": header.cells,
                "analog_cells": header.analog_cells,
                "store_cells": header.store_cells,
                "cells_per_weight": header.cells_per_weight,
                "side_cells_per_weight": header.side_cells_per_weight,
            }
        )
        return
    store = header.store_cells / header.weights
    print_facts(
        [
            ("image", f"{output}, {output.stat().st_size:,} bytes"),
            ("scheme", f"{scheme} on {header.device.name}, for {format_age(header.age_seconds)}"),
            ("weights", f"{header.weights:,}"),
            ("cells", f"{header.cells:,}"),
            ("cells per weight", f"{header.cells_per_weight:.3f}"),
            ("  analog", f"{header.analog_cells / header.weights:.3f}"),
            ("  digital", f"{store:.3f} ({header.side_cells_per_weight:.3f} side information)"),
        ]
    )
