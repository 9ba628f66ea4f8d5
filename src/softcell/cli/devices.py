"""softcell devices: the cells that there are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from softcell.cli.options import AgeOption, JsonFlag
from softcell.cli.output import print_json, print_table
from softcell.cli.progress import progress_bars
from softcell.report.columns import bare_table
from softcell.version import VERSION

if TYPE_CHECKING:
    from rich.table import Table

    from softcell.codes.maps.design_cache import Arrays
    from softcell.devices import Device


_BITS_VERSION = 1  # of how they are computed; a change makes what was kept strangers


@dataclass(frozen=True)
class DeviceRow:
    """What is told of a device.

    Args:
        name: Its specification.
        capacity_bits: Capacity in bits per cell at the age.
        error_free_bits: Bits per cell after error correction to an uncorrectable bit error rate of
            1e-15; None if the device cannot hold any.
        levels: Levels that can be programmed.
        level_quantity: What is programmed.
        level_unit: Its unit.
        level_low: Lowest level in that unit.
        level_high: Highest level in that unit.
        reading_quantity: What is read.
        reading_unit: Its unit.
        age_seconds: Age of the cells.
        ageing: What figures at that age rest on, where it was not measured so far; "" else.
        source: Where the coefficients come from.
    """

    name: str
    capacity_bits: float
    error_free_bits: float | None
    levels: int
    level_quantity: str
    level_unit: str
    level_low: float
    level_high: float
    reading_quantity: str
    reading_unit: str
    age_seconds: float
    ageing: str
    source: str


def devices(
    device: Annotated[
        list[str] | None,
        typer.Option("--device", metavar="SPEC", help="Tell of this device; may be repeated."),
    ] = None,
    age: AgeOption = "0",
    as_json: JsonFlag = False,
) -> None:
    """List devices: capacity, levels, readings, sources.

    "error-free" is what conventional storage gets: bits per cell after error correction to an
    uncorrectable bit error rate of 1e-15.

    Example:
      softcell devices --age 10y
      softcell devices --device my_cell.toml --device pcm-mushroom+stuck:low=0.001 --json
    """
    from softcell.devices import DEVICES, installed
    from softcell.durations import format_age, parse_age

    seconds = parse_age(age)
    names = device or [*DEVICES, *installed()]
    rows = []
    with progress_bars() as progress:
        for done, name in enumerate(names):
            progress("capacities", done, len(names))
            rows.append(_row(name, seconds))
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        print(f"bits per cell at an age of {format_age(seconds)}")
        print_table(_table(rows))


def _row(name: str, age_seconds: float) -> DeviceRow:
    from softcell.codes.maps.design_cache import kept
    from softcell.devices import LEVELS, ageing_note, parse_device

    device = parse_device(name)
    # What a device holds does not change: only the first call waits for it.
    capacity, error_free = kept(
        "device",
        (device.definition(), age_seconds, VERSION, _BITS_VERSION),
        lambda: _bits(device, age_seconds),
        lambda arrays: arrays["bits"].reshape(2).tolist(),
    )
    level, reading = device.level_axis, device.reading_axis
    return DeviceRow(
        name=device.name,
        capacity_bits=capacity,
        error_free_bits=error_free or None,
        levels=LEVELS,
        level_quantity=level.name,
        level_unit=level.unit,
        level_low=level.low,
        level_high=level.high,
        reading_quantity=reading.name,
        reading_unit=reading.unit,
        age_seconds=age_seconds,
        ageing=ageing_note(device, age_seconds),
        source=device.source,
    )


def _bits(device: Device, age_seconds: float) -> Arrays:
    """Return capacity and error-free bits of a cell, 0 if it cannot hold any."""
    import numpy as np

    from softcell.channel import channel_of
    from softcell.codes.store.hard_store import design_store
    from softcell.errors import InfeasibleError

    channel = channel_of(device, age_seconds)
    try:
        error_free = design_store(channel).bits_per_cell
    except InfeasibleError:
        error_free = 0.0
    return {"bits": np.array([channel.capacity.bits, error_free])}


def _table(rows: list[DeviceRow]) -> Table:
    table = bare_table(padding=0, show_edge=False)
    table.add_column("device", overflow="fold")
    table.add_column("capacity", justify="right")
    table.add_column("error-\nfree", justify="right")
    table.add_column("levels", min_width=18)
    table.add_column("reading", min_width=12)
    table.add_column("source")
    for row in rows:
        table.add_row(
            row.name,
            f"{row.capacity_bits:.2f}",
            "none" if row.error_free_bits is None else f"{row.error_free_bits:.2f}",
            f"{row.levels}: {row.level_low:g} to {row.level_high:g} {row.level_unit}".rstrip()
            + f"\n{row.level_quantity}",
            f"{row.reading_quantity}\n{row.reading_unit}",
            row.source + (f"\n{row.ageing}" if row.ageing else ""),
        )
    return table
