"""softcell fit: a device of a user's own measurements."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softcell.cli.options import JsonFlag
from softcell.cli.output import print_facts, print_json, print_note, require_writable

if TYPE_CHECKING:
    from softcell.devices import Evidence


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
    law: Annotated[
        str,
        typer.Option("--law", help="best, normal, outliers, student, empirical or plain."),
    ] = "best",
    confidence: Annotated[
        float,
        typer.Option("--confidence", help="That the noise of an input is no larger than fitted."),
    ] = 0.98,
    as_json: JsonFlag = False,
) -> None:
    """Make a device of measurements; --device takes it anywhere.

    The CSV has a column of what was programmed, one of what was read, and perhaps one that names
    the physical cell. It is shown which were taken for what. Units are taken from names such as
    pulse_voltage_V.

    The law of the noise is one that explains readings it did not see as well as any, at the upper
    end of what the readings allow: few readings make it wide.

    Example:
      softcell fit measurements.csv -o my_cell.toml --source "our lab, chip 7"
      softcell devices --device my_cell.toml
    """
    from softcell.atomic_file import AtomicFile
    from softcell.channel import capacity_interval, channel_of
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
        law=law,
        confidence=confidence,
    )
    device, columns, evidence = fitted.device, fitted.columns, fitted.evidence
    bits = channel_of(device).capacity.bits
    interval = capacity_interval(fitted.likeliest, fitted.folds)
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
                "capacity_interval": interval and list(interval),
                "confidence": confidence if evidence else None,
                "law": evidence
                and asdict(evidence)
                | {
                    "unseen": evidence.unseen,
                    "unseen_at_a_level": evidence.unseen_at_a_level,
                },
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
            *(_law_facts(evidence, confidence) if evidence else []),
            ("capacity", f"{bits:.2f} bits per cell{_of_likeliest(interval)}"),
        ]
    )


def _law_facts(evidence: Evidence, confidence: float) -> list[tuple[str, str]]:
    """Return which law was fitted, how well it fits, and what no reading shows."""
    known = f"{evidence.readings:,} readings at {evidence.levels} levels"
    rejected = "too few to hold some out"
    if evidence.rejected is not None:
        rejected = (
            f"rejected at 1 % by {evidence.rejected} levels, normal by {evidence.rejected_normal}"
        )
    far = ", ".join(
        f"{found} ({expected:.2g})" for found, expected in zip(evidence.beyond, evidence.expected)
    )
    return [
        ("law", f"{evidence.law}, noise no larger with confidence {confidence:g}"),
        ("evidence", f"{known}, {rejected}"),
        ("beyond", f"3, 4, 5, 6 deviations: {far} readings (law)"),
        (
            "not seen",
            f"what is rarer than {evidence.unseen:.1e}, or {evidence.unseen_at_a_level:.1e} at one "
            "level, is the law's alone",
        ),
    ]


def _of_likeliest(interval: tuple[float, float] | None) -> str:
    return f", {interval[0]:.2f} to {interval[1]:.2f} for the likeliest noise" if interval else ""
