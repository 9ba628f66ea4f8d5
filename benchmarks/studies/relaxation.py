"""Cells that relax, measured and simulated; and whether their bakes follow Arrhenius' law.

    SOFTCELL_DATA=path/to/data python benchmarks/studies/relaxation.py [--cells 2000]

For each technology and time, mean and deviation of the change since programming in % of g_max, all
levels together; its correlation with the change at the time before; and the bits that sixteen equal
ranges hold if each is told by its own limits. Simulated cells have the levels of the measured ones
for the changes, and `--cells` cells in each of the 32 ranges for the bits.

For the bakes, half of the width that holds 68 % of the changes, by range of conductance, and the
activation energy with which room temperature would do the same: the width grows with ln t from 1 s
to 10,000 s in cells that were followed at room temperature.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from softcell.channel import capacity
from softcell.devices import Device, parse_device
from softcell.streams import Stream

RANGES = 32
BOLTZMANN = 8.617333e-5  # eV/K
ROOM = 298.15  # K
BANDS = ((0.1, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))  # of g_max


def simulated(
    device: Device, levels: NDArray[np.float32], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return readings of simulated cells in uS at each time, shape (cells, times)."""
    cells = device.write(levels, stream=Stream.of(1, "write"))
    ages = [(float(age), Stream.of(1, f"read/{age}")) for age in times]
    read = [device.read(device.age(cells, age), stream=stream) for age, stream in ages]
    return np.stack(read, axis=1).astype(np.float64)


def bits(
    level: NDArray[np.int64], reading: NDArray[np.float64], g_max: float, outputs: int
) -> float:
    """Return the capacity in bits of equal ranges that are told by their own limits."""
    found = np.clip((reading / g_max * outputs).astype(int), 0, outputs - 1)
    counts = np.zeros((outputs, outputs))
    np.add.at(counts, (level * outputs // RANGES, found), 1)
    return float(capacity(counts / counts.sum(axis=1, keepdims=True)).bits)


def changes(readings: NDArray[np.float64], g_max: float) -> NDArray[np.float64]:
    """Return changes since the first time in % of g_max, shape (cells, later times)."""
    return (readings[:, 1:] - readings[:, :1]) / g_max * 100


def correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    both = np.isfinite(one) & np.isfinite(other)
    return float(np.corrcoef(one[both], other[both])[0, 1])


def relaxation(folder: Path, technology: str, count: int) -> Table:
    data = np.load(folder / f"rram_relax_tech{technology}.npz")
    inside = data["level"] < RANGES
    level, g = data["level"][inside].astype(np.int64), data["g_uS"][inside].astype(np.float64)
    g_max, times = float(data["gmax_uS"]), data["t_nominal_s"]
    device = parse_device(f"rram-relax-{technology.lower()}")
    same = simulated(device, (level / (RANGES - 1)).astype(np.float32), times)
    same[np.isnan(g)] = np.nan
    even = np.repeat(np.arange(RANGES), count)
    many = simulated(device, (even / (RANGES - 1)).astype(np.float32), times)
    table = Table("seconds", "mean %", "", "deviation %", "", "correlation", "", "bits", "")
    measured, made = changes(g, g_max), changes(same, g_max)
    for i, age in enumerate(times[1:]):
        row = []
        for x in (measured, made):
            before = correlation(x[:, i - 1], x[:, i]) if i else np.nan
            row.append([np.nanmean(x[:, i]), np.nanstd(x[:, i]), before])
        read = np.isfinite(g[:, i + 1])
        held = [
            bits(level[read], g[read, i + 1], g_max, 16),
            bits(even, many[:, i + 1], g_max, 16),
        ]
        pairs = [*zip(*row, strict=True), held]
        table.add_row(f"{age:g}", *(f"{x:.2f}" for pair in pairs for x in pair))
    table.title = f"technology {technology}: measured, simulated"
    return table


def width(values: NDArray[Any]) -> float:
    low, high = np.percentile(values[np.isfinite(values)], [16, 84])
    return float(high - low) / 2


def bakes(folder: Path, technology: str) -> Table:
    data = np.load(folder / f"rram_bake_tech{technology}.npz")
    g_max = {"A": 240.0, "B": 128.0}[technology]
    start, change = data["g0_uS"] / g_max, data["g1_uS"].astype(np.float64) - data["g0_uS"]
    celsius = np.unique(data["temp_C"])
    table = Table("g / g_max", "uS", *(f"{c} C" for c in celsius))
    for low, high in BANDS:
        band = [(data["temp_C"] == c) & (start >= low) & (start < high) for c in celsius]
        widths = np.array([width(change[each]) for each in band])
        medians = [np.median(change[each]) for each in band]
        name = f"{low:g} to {high:g}"
        table.add_row(name, "median", *(f"{x:.1f}" for x in medians))
        table.add_row("", "width", *(f"{x:.1f}" for x in widths))
        if technology == "B":
            seconds = np.array([np.median(data["t_s"][each]) for each in band])
            cold, intercept = room_temperature(folder, low, high)
            faster = (widths - intercept) / cold - np.log(seconds)  # ln of the acceleration
            energy = faster * BOLTZMANN / (1 / ROOM - 1 / (celsius + 273.15))
            table.add_row("", "eV", *(f"{x:.2f}" for x in energy))
    table.title = f"technology {technology}: bakes"
    return table


def room_temperature(folder: Path, low: float, high: float) -> tuple[float, float]:
    """Return slope and intercept of the width of B's changes over ln t, from 1 s on."""
    data = np.load(folder / "rram_relax_techB.npz")
    g, times = data["g_uS"].astype(np.float64), data["t_nominal_s"]
    start = g[:, 0] / float(data["gmax_uS"])
    cells = g[(start >= low) & (start < high)]
    later = np.flatnonzero(times >= 1)
    widths = [width(cells[:, i] - cells[:, 0]) for i in later]
    slope, intercept = np.polyfit(np.log(times[later]), widths, 1)
    return float(slope), float(intercept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=2000)
    args = parser.parse_args()
    folder = Path(os.environ["SOFTCELL_DATA"]) / "cells"
    console = Console()
    for technology in "BC":
        console.print(relaxation(folder, technology, args.cells))
    for technology in "AB":
        console.print(bakes(folder, technology))


if __name__ == "__main__":
    main()
