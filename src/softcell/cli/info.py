"""softcell info: what is in a cell image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softcell.cli.options import JsonFlag, OwnDeviceOption
from softcell.cli.output import print_facts, print_json, print_table
from softcell.report.columns import bare_table

if TYPE_CHECKING:
    from rich.table import Table

    from softcell.image.header import ImageHeader, ImageTensor


def info(
    image: Annotated[Path, typer.Argument(metavar="CELLS", help="Cell image.")],
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Check every byte of the file.")
    ] = True,
    device: OwnDeviceOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what a cell image holds and check that it is whole.

    Example:
      softcell info model.cells
      softcell info model.cells --no-verify --json
    """
    from softcell.devices import allow_device
    from softcell.image.cell_image import CellImage

    if device is not None:
        allow_device(device)
    with CellImage(image) as opened:
        header = opened.header
        if verify:
            opened.verify()
    if as_json:
        print_json({**_summary(header), "tensors": [_tensor(header, t) for t in header.tensors]})
        return
    print_facts(_facts(header, image, verify))
    print()
    print_table(_table(header))


def _summary(header: ImageHeader) -> dict[str, Any]:
    from softcell.devices import ageing_note

    return {
        "scheme": header.scheme,
        "device": header.device.name,
        "chip": header.chip,
        "age_seconds": header.age_seconds,
        "first_age_seconds": header.ages.first,
        "ageing": ageing_note(header.device, header.age_seconds),
        "weights": header.weights,
        "cells": header.cells,
        "analog_cells": header.analog_cells,
        "store_cells": header.store_cells,
        "store_bytes": header.store_bytes,
        "cells_per_weight": header.cells_per_weight,
        "side_cells_per_weight": header.side_cells_per_weight,
        "store": header.metadata()["store"],
        "error_correction": header.store.description,
        "store_levels": _store_levels(header),
    }


def _store_levels(header: ImageHeader) -> list[float]:
    """Return the levels of the digital store in the device's unit."""
    from softcell.devices import LEVEL_VALUES

    plain = LEVEL_VALUES[list(header.store.indices)]
    return [round(x, 6) for x in header.device.level_axis.to_unit(plain).tolist()]


def _tensor(header: ImageHeader, tensor: ImageTensor) -> dict[str, Any]:
    share = tensor.nbytes / max(header.store_bytes, 1)
    cells = tensor.cells + header.store_cells * share
    return {
        "name": tensor.info.name,
        "shape": list(tensor.info.shape),
        "dtype": tensor.info.dtype,
        "kind": tensor.kind,
        "store_bytes": tensor.nbytes,
        "analog_cells": tensor.cells,
        "cells_per_weight": cells / tensor.info.size if tensor.info.size else 0.0,
    }


def _facts(header: ImageHeader, image: Path, verified: bool) -> list[tuple[str, str]]:

    from softcell.devices import ageing_note

    axis, said = header.device.level_axis, ageing_note(header.device, header.age_seconds)
    checked = "checksums agree" if verified else "checksums not looked at"
    levels = ", ".join(f"{x:g}" for x in _store_levels(header))
    return [
        ("image", f"{image}, {image.stat().st_size:,} bytes, {checked}"),
        ("scheme", header.scheme),
        (
            "device",
            f"{header.device.name}, planned for {header.ages}" + (f", {said}" if said else ""),
        ),
        ("chip", "any" if header.chip is None else f"{header.chip} alone"),
        ("weights", f"{header.weights:,}"),
        ("cells", f"{header.cells:,} ({header.analog_cells:,} analog)"),
        (
            "cells per weight",
            f"{header.cells_per_weight:.3f} ({header.side_cells_per_weight:.3f} side information)",
        ),
        (
            "digital store",
            f"{header.store_bytes:,} bytes; levels {levels} {axis.unit}".rstrip()
            + f"; {header.store.description}",
        ),
    ]


def _table(header: ImageHeader) -> Table:
    table = bare_table(padding=0, show_edge=False)
    table.add_column("tensor", overflow="fold")
    table.add_column("shape")
    table.add_column("type")
    table.add_column("kind")
    for name in ("store\nbytes", "analog\ncells", "cells/\nweight"):
        table.add_column(name, justify="right")
    for each in header.tensors:
        row = _tensor(header, each)
        table.add_row(
            row["name"],
            "x".join(str(n) for n in row["shape"]) or "scalar",
            row["dtype"],
            row["kind"],
            f"{row['store_bytes']:,}",
            f"{row['analog_cells']:,}",
            f"{row['cells_per_weight']:.2f}",
        )
    return table
