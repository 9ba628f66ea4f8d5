"""Look-up codes designed for one age or for a span of ages, each read at several ages.

    python benchmarks/limits/ages.py [--device pcm-mushroom] [--span 1m..10y]
        [--read 1m 1d 10y] [--weights 1000000] [--json FILE]

Independent Gaussian weights, two cells each, by the joint map; signal-to-distortion in dB of cells
that were written once and read at each age. A map is designed for either end of the span, and for
the whole of it. The decoder is told the age, except in the last row, whose map is designed for a
decoder that is not. The code alone is measured: no scales or other side information.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from softcell.channel import channel_of, law_of
from softcell.codes.joint.code import JointCode, decode_joint, encode_joint, joint_tables
from softcell.codes.maps.source import SHAPES
from softcell.devices import LEVELS, Device, parse_device
from softcell.durations import Ages, format_age, parse_age, parse_ages
from softcell.streams import Stream

COLUMNS = 1000
GAUSSIAN = SHAPES.index(2.0)


def measure(weights: np.ndarray, device: Device, ages: Ages, read: list[float]) -> list[float]:
    """Return the signal-to-distortion in dB at each age of reading."""
    code = JointCode(GAUSSIAN, 1.0, np.full(len(weights), 2, np.uint8))
    design = law_of(device, ages)
    levels = encode_joint(weights, code, design).astype(np.float32) / np.float32(LEVELS - 1)
    cells = device.write(levels, stream=Stream.of(1, "write"))
    found = []
    for number, age in enumerate(read):
        readings = device.read(device.age(cells, age), stream=Stream.of(1, f"read/{number}"))
        law = channel_of(device, age) if ages.told else design
        tables = joint_tables(code, design, law)
        every = slice(0, len(weights))
        seen = decode_joint(readings, code, tables, law.bins, every, weights.shape[1])
        error = np.mean((seen - weights.astype(np.float64)) ** 2)
        found.append(float(10 * np.log10(np.mean(weights.astype(np.float64) ** 2) / error)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="pcm-mushroom")
    parser.add_argument("--span", default="1m..10y")
    parser.add_argument("--read", nargs="+", default=["1m", "1d", "10y"], metavar="AGE")
    parser.add_argument("--weights", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    device, span = parse_device(args.device), parse_ages(args.span)
    read = [parse_age(age) for age in args.read]
    shape = (max(args.weights // COLUMNS, 1), COLUMNS)
    weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    if span.single:
        parser.error(f"--span takes two ages, such as 1d..10y, got {args.span}")
    first, last = span.first, span.last
    designs = [Ages(first, first), Ages(last, last), span, Ages(first, last, told=False)]
    rows = [
        {"device": args.device, "designed_for": str(ages), "told": ages.told}
        | {"read_seconds": read, "sdr_db": measure(weights, device, ages, read)}
        for ages in designs
    ]
    table = Table("designed for", "decoder", title=f"{args.device}: dB when read at an age")
    for age in read:
        table.add_column(format_age(age), justify="right")
    for row in rows:
        decoder = "told the age" if row["told"] else "not told"
        table.add_row(row["designed_for"], decoder, *(f"{value:.1f}" for value in row["sdr_db"]))
    Console(width=100).print(table)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
