"""Fit a device to a few of the readings, and write for it on cells of the readings that are left.

    SOFTCELL_DATA=data python benchmarks/studies/few_readings.py [--splits 10] [--words 1000]

Readings of each input are split at random. The device is fitted to one part; the cells draw from
the residuals of the other. Conventional and strong storage are designed for the fit, once as
`softcell fit` makes it and once as if the statistics of so few readings were exact. Writes
benchmarks/results/few_readings.json, of which docs/devices.md has the table.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from residuals import STORES, design, lost

from softcell.channel import channel_of
from softcell.devices import Fit, fit_table
from softcell.devices.noise_law import residual_law
from softcell.report.columns import markdown_columns

HERE = Path(__file__).parents[1]
RESULTS = HERE / "results" / "few_readings.json"
CELLS = {
    "pcm-partial-reset": ("pcm_partial_reset.csv.gz", "pulse_voltage_V", "resistance_ohm"),
    "rram-reset": ("rram_reset_sweep.csv.gz", "reset_voltage_V", "hrs_resistance_ohm"),
}
LAWS = ("plain", "best")


@dataclass(frozen=True)
class Outcome:
    """What became of the code words of all splits.

    Args:
        device: Whose readings.
        readings: How many of them at each input were fitted.
        law: Law that was asked for.
        store: Kind of storage.
        capacity_bits: Mean capacity of the fitted devices.
        bits_per_cell: Mean over the splits.
        words: Code words.
        lost: Of those.
        splits_with_losses: Splits in which a code word was lost.
    """

    device: str
    readings: int
    law: str
    store: str
    capacity_bits: float
    bits_per_cell: float
    words: int
    lost: int
    splits_with_losses: int


def splits(name: str, count: int, number: int, law: str) -> Iterator[tuple[Fit, Fit]]:
    """Yield fits to `count` readings of each input, and plain ones to the others."""
    file, level, reading = CELLS[name]
    with gzip.open(Path(os.environ["SOFTCELL_DATA"]) / "cells" / file, "rt") as text:
        rows = [(row[level], row[reading]) for row in csv.DictReader(text)]
    _, place = np.unique([float(row[0]) for row in rows], return_inverse=True)
    for split in range(number):
        random = np.random.default_rng(split)
        order = np.lexsort((random.random(len(rows)), place))
        first = np.searchsorted(place[order], np.arange(place.max() + 1))
        few = np.zeros(len(rows), bool)
        few[order[(first[:, None] + np.arange(count)).reshape(-1)]] = True
        yield _fit(rows, few, law), _fit(rows, ~few, "plain")


def _fit(rows: list[tuple[str, str]], chosen: np.ndarray, law: str) -> Fit:
    with tempfile.TemporaryDirectory(prefix="softcell-") as folder:
        path = Path(folder) / "cell.csv"
        lines = [",".join(row) for row, kept in zip(rows, chosen) if kept]
        path.write_text("\n".join(["pulse_voltage_V,resistance_ohm", *lines]) + "\n")
        return fit_table(path, law=law)


def outcomes(name: str, count: int, law: str, number: int, words: int) -> Iterator[Outcome]:
    """Yield what became of both kinds of storage."""
    fits = list(splits(name, count, number, law))
    for kind in STORES:
        bits, failed = [], []
        for fitted, rest in fits:
            channel = channel_of(fitted.device)
            # The residuals are those of a write and a read together.
            cells = replace(rest.device, noise=residual_law(rest.residuals), read_noise=0.0)
            store = design(kind, channel)
            bits.append(store.bits_per_cell)
            failed.append(lost(store, channel, cells, words))
        capacity = np.mean([channel_of(fitted.device).capacity.bits for fitted, _ in fits])
        yield Outcome(
            name,
            count,
            law,
            kind,
            float(capacity),
            float(np.mean(bits)),
            number * words,
            sum(failed),
            sum(map(bool, failed)),
        )


def table(found: list[dict[str, Any]]) -> str:
    """Return the table of docs/devices.md, a row for each kind of storage."""
    columns: dict[str, list[str]] = {
        "device": [each["device"] for each in found],
        "fit": [each["law"] for each in found],
        "storage": [each["store"] for each in found],
        "readings of an input": [str(each["readings"]) for each in found],
        "capacity": [f"{each['capacity_bits']:.2f}" for each in found],
        "bits per cell": [f"{each['bits_per_cell']:.3f}" for each in found],
        "words lost": [f"{each['lost']:,} of {each['words']:,}" for each in found],
        "splits with losses": [str(each["splits_with_losses"]) for each in found],
    }
    return markdown_columns(columns, left=3)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--splits", type=int, default=10, help="random splits of the readings")
    parser.add_argument("--words", type=int, default=1000, help="code words of each split")
    parser.add_argument("--readings", type=int, action="append", help="fitted at each input: 20")
    options = parser.parse_args()
    if "SOFTCELL_DATA" not in os.environ:
        print("set SOFTCELL_DATA to the folder that holds cells/", file=sys.stderr)
        return 2
    found = []
    for name in CELLS:
        for count in options.readings or (20,):
            for law in LAWS:
                for each in outcomes(name, count, law, options.splits, options.words):
                    found.append(vars(each))
                    print(each, flush=True)
    print(table(found))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
