"""Encoding and decoding rates of every code, in weights per CPU-second, side by side.

    python benchmarks/speed/codes.py [--weights 4000000] [--rounds 3] [--scheme NAME ...]
        [--json FILE]

A matrix of Gaussian weights on `pcm-partial-reset`, two cells per weight (formats take what they
take), one thread. *Plan* is everything that is decided before weights become levels, once;
*encode* is `write_image`, from weights and plan to a file of levels; *decode* is `Restoration`,
from readings to weights. Readings are drawn beforehand: the simulation of the cells counts
nowhere. Every round measures every code and a plain copy of the weights in memory one after
another; rates are medians over rounds. Codes are warmed up on a small matrix, so that compiling and
the design of maps are not in the rates.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from softcell.allocate.plan import make_plan
from softcell.codes.schemes import CONVENTIONAL, SCHEMES
from softcell.devices import parse_device
from softcell.image.cell_image import CellImage, Region
from softcell.image.header import ImageHeader
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.weights import StateDictWeights

DEVICE = parse_device("pcm-partial-reset")
COLUMNS = 1000
TARGET = 2.0
COPY = "copy"


class Drawn:
    """Readings of all cells of an image, drawn once."""

    age_seconds = 0.0

    def __init__(self, image: CellImage) -> None:
        chip = SimulatedChip(image, seed=1)
        self._values = {r.label: chip.read(r, 0, r.cells) for r in image.regions()}

    def read(self, region: Region, start: int, stop: int) -> np.ndarray:
        return self._values[region.label][start:stop]


class Case:
    """One code, planned and written, with readings of its cells."""

    def __init__(self, name: str, weights: np.ndarray, folder: Path) -> None:
        self._path = folder / f"{name}-{len(weights)}.cells"
        self._weights, self._values = StateDictWeights({"weight": weights}), weights
        begin = time.process_time()
        cells = None if name in CONVENTIONAL else TARGET
        self._plan = make_plan(self._weights, DEVICE, name, cells_per_weight=cells)
        self.plan_seconds = time.process_time() - begin
        self.cells_per_weight = self._write().cells_per_weight
        with CellImage(self._path) as image:
            self._readings = Drawn(image)
        _, restored = self.decode()
        error = np.mean((restored - weights.astype(np.float64)) ** 2)
        signal = np.mean(weights.astype(np.float64) ** 2)
        self.sdr_db = float(10 * np.log10(signal / error)) if error else float("inf")

    def _write(self) -> ImageHeader:
        for tensor in self._plan.tensors:  # codes keep the streams that they were planned by
            if tensor.code is not None:
                vars(tensor.code).pop("_coded", None)
        return write_image(self._weights, self._plan, self._path)

    def encode(self) -> float:
        """Return the CPU seconds from weights to levels."""
        begin = time.process_time()
        self._write()
        return time.process_time() - begin

    def decode(self) -> tuple[float, np.ndarray]:
        """Return the CPU seconds from readings to weights, and these."""
        with CellImage(self._path) as image:
            begin = time.process_time()
            restored = Restoration(image, self._readings, threads=1).tensor(0)
            return time.process_time() - begin, restored


def copy(weights: np.ndarray) -> float:
    """Return the CPU seconds of a copy, the mean of ten."""
    out = np.empty_like(weights)
    begin = time.process_time()
    for _ in range(10):
        np.copyto(out, weights)
    return (time.process_time() - begin) / 10


def measure(names: list[str], count: int, rounds: int) -> list[dict[str, Any]]:
    values = np.random.default_rng(0).normal(size=(count // COLUMNS, COLUMNS)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        cases = {}
        for name in names:
            warm = Case(name, values[:64], Path(folder))
            warm.encode(), warm.decode()
            cases[name] = Case(name, values, Path(folder))
            print(f"{name}: planned in {cases[name].plan_seconds:.1f} s", flush=True)
        seconds: dict[str, list[Any]] = {name: [] for name in (COPY, *names)}
        for number in range(rounds):
            seconds[COPY].append(copy(values))
            for name, case in cases.items():
                seconds[name].append((case.encode(), case.decode()[0]))
            print(f"round {number + 1} of {rounds}", flush=True)
    rows = []
    for name, case in cases.items():
        row = {
            "code": name,
            "weights": values.size,
            "cells_per_weight": case.cells_per_weight,
            "sdr_db": case.sdr_db,
            "plan_weights_per_second": values.size / case.plan_seconds,
        }
        for place, what in enumerate(("encode", "decode")):
            spent = [each[place] for each in seconds[name]]
            row[f"{what}_weights_per_second"] = values.size / median(spent)
        rows.append(row)
    copied = values.size / median(seconds[COPY])
    return [*rows, {"code": COPY, "weights": values.size, "weights_per_second": copied}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scheme", nargs="+", default=list(SCHEMES), metavar="NAME")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = measure(args.scheme, args.weights, args.rounds)
    copied = rows[-1]["weights_per_second"]
    title = f"{rows[-1]['weights']:,} weights; million weights per CPU-second (copy: "
    table = Table("code", "cells/weight", "SDR dB", title=f"{title}{copied / 1e6:,.0f})")
    kinds = ("plan", "encode", "decode")
    for what in kinds:
        table.add_column(what, justify="right")
    for row in rows[:-1]:
        rates = (f"{row[f'{what}_weights_per_second'] / 1e6:.2f}" for what in kinds)
        cells, sdr = f"{row['cells_per_weight']:.2f}", f"{row['sdr_db']:.1f}"
        table.add_row(row["code"], cells, sdr, *rates)
    Console(width=100).print(table)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
