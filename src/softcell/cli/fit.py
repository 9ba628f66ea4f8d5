"""softcell fit: a device of a user's own measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from softcell.cli.options import JsonFlag
from softcell.cli.output import print_facts, print_json, print_note, require_writable


def fit(
    measurements: Annotated[
        Path, typer.Argument(metavar="CSV", help="A row for each write and read; .csv or .csv.gz.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="TOML", help="File to write.")],
    name: Annotated[str | None, typer.Option("--name", help="Name of the device.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Who measured it, where.")] = None,
    input_column: Annotated[
        str | None, typer.Option("--input-column", help="Column of what was programmed.")
    ] = None,
    output_column: Annotated[
        str | None, typer.Option("--output-column", help="Column of what was read.")
    ] = None,
    device_column: Annotated[
        str | None, typer.Option("--device-column", help="Column that names the physical cell.")
    ] = None,
    log10: Annotated[
        bool | None,
        typer.Option("--log10/--linear", help="Fit the logarithm of what was read, or itself."),
    ] = None,
    read_noise: Annotated[
        float | None,
        typer.Option("--read-noise", help="Standard deviation of reading alone, as fitted."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a device of measurements; --device takes it anywhere.

    The CSV has a column of what was programmed, one of what was read, and perhaps one that names
    the physical cell. It is shown which were taken for what. Units are taken from names such as
    pulse_voltage_V.

    Example:
      softcell fit measurements.csv -o my_cell.toml --source "our lab, chip 7"
      softcell devices --device my_cell.toml
    """
    from softcell.atomic_file import AtomicFile
    from softcell.channel import channel_of
    from softcell.devices import device_toml, fit_table

    require_writable(output, measurements)
    fitted = fit_table(
        measurements,
        name=name,
        source=source,
        input_column=input_column,
        output_column=output_column,
        device_column=device_column,
        log10=log10,
        read_noise=read_noise,
    )
    device, columns = fitted.device, fitted.columns
    bits = channel_of(device).capacity.bits
    file = AtomicFile(output)
    try:
        file.write(device_toml(device).encode())
        file.commit()
    finally:
        file.discard()
    for note in fitted.notes:
        print_note(note)
    level, reading = device.level_axis, device.reading_axis
    if as_json:
        print_json(
            {
                "output": str(output),
                "name": device.name,
                "source": device.source,
                "capacity_bits": bits,
                "inputs": len(device.inputs),
                "level_quantity": level.name,
                "level_unit": level.unit,
                "level_low": level.low,
                "level_high": level.high,
                "reading_quantity": reading.name,
                "reading_unit": reading.unit,
                "reading_scale": reading.scale,
                "read_noise": device.read_noise,
                "columns": {
                    "input": columns.input,
                    "reading": columns.reading,
                    "device": list(columns.device),
                    "not_used": {name: str(kind) for name, kind in columns.others},
                },
                "rows": fitted.rows,
                "set_aside": fitted.set_aside,
                "notes": list(fitted.notes),
            }
        )
        return
    axis = "log10 of the " if reading.scale == "log10" else ""
    print_facts(
        [
            ("device", f"{device.name}, written to {output}"),
            ("columns", str(columns)),
            ("rows", f"{fitted.rows:,}, {fitted.set_aside:,} of them set aside"),
            ("levels", f"{level.name}, {level.low:g} to {level.high:g} {level.unit}".rstrip()),
            ("inputs", f"{len(device.inputs)} measured"),
            ("reading", f"{axis}{reading.name} {reading.unit}".rstrip()),
            ("read noise", f"{device.read_noise:.4g}"),
            ("capacity", f"{bits:.2f} bits per cell"),
        ]
    )
