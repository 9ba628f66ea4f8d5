"""Write stores that were designed for one law of a measured cell on cells of its residuals.

    python benchmarks/studies/residuals.py [--words 10000] [--device pcm-partial-reset]

For conventional and strong storage, designed for the normal law and for the empirical one: bits a
cell, the raw bit error rate that the design assumes and that of the residuals, and how many of so
many code words are lost. Writes benchmarks/results/residuals.json, of
which docs/devices.md has the table.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from softcell.channel import Channel, channel_of, decisions
from softcell.codes.store.hard_store import design_store
from softcell.codes.store.soft_store import design_soft_store
from softcell.codes.store.store import Store
from softcell.devices import Device, MeasuredCell, SimulatedCells, parse_device
from softcell.report.columns import markdown_columns

HERE = Path(__file__).parents[1]
RESULTS = HERE / "results" / "residuals.json"
DEVICES = ("pcm-partial-reset", "pcm-sweep", "rram-reset")
STORES = ("conventional", "strong")
LAWS = ("normal", "empirical")
RUN = 64  # code words at a time


@dataclass(frozen=True)
class Outcome:
    """What became of the code words of one store."""

    device: str
    store: str
    law: str
    bits_per_cell: float
    assumed_error_rate: float
    error_rate: float
    words: int
    lost: int


def outcome(name: str, kind: str, law: str, words: int) -> Outcome:
    """Design a store for a law, write code words of drawn bytes, and count those that are lost."""
    device = parse_device(f"{name}:bootstrap=1,law={law}")
    assert isinstance(device, MeasuredCell)
    channel = channel_of(device)
    store = design(kind, channel)
    residuals = replace(device, noise=device.drawn).law(channel.levels, channel.edges, 0.0)
    true = Channel(channel.levels, channel.edges, residuals)
    return Outcome(
        name,
        kind,
        law,
        store.bits_per_cell,
        error_rate(store, channel, channel),
        error_rate(store, channel, true),
        words,
        lost(store, channel, device, words),
    )


def lost(store: Store, channel: Channel, device: Device, words: int) -> int:
    """Return how many of so many code words of drawn bytes are lost on simulated cells.

    Args:
        store: How they are stored.
        channel: The law by which they are decoded.
        device: The cells.
        words: How many.
    """
    cells, random = SimulatedCells(device, seed=0), np.random.default_rng(0)
    total = at = 0
    for first in range(0, words, RUN):
        count = min(RUN, words - first)
        data = random.integers(0, 256, count * store.frame_bytes, np.uint8)
        size = store.cells(len(data))
        levels = store.level_indices(store.encode(data), size)
        readings = cells.read("words", cells.write("words", levels, at), at)
        detected: Any = store.detect(channel, readings)
        found = store.decode(detected, len(data))
        wrong = (found.data != data).reshape(count, -1).any(axis=1)
        total += int((found.failed | wrong).sum())
        at += size
    return total


def error_rate(store: Store, design: Channel, true: Channel) -> float:
    """Return the rate of wrong bits among likeliest decisions by a law, where another is true."""
    indices = list(store.indices)
    labels = np.asarray(store.labels)
    decided = labels[decisions(design.matrix[indices])]
    wrong = np.bitwise_count(labels[:, None] ^ decided[None])
    return float((true.matrix[indices] * wrong).sum() / len(indices) / store.bits_per_symbol)


def design(kind: str, channel: Channel) -> Store:
    """Return the store of a kind for a law."""
    return design_store(channel) if kind == "conventional" else design_soft_store(channel)


def table(found: list[dict[str, Any]]) -> str:
    """Return the table of docs/devices.md, a row for each store."""
    columns: dict[str, list[str]] = {
        "device": [each["device"] for each in found],
        "storage": [each["store"] for each in found],
        "designed for": [each["law"] for each in found],
        "bits per cell": [f"{each['bits_per_cell']:.3f}" for each in found],
        "raw bit error rate assumed": [f"{each['assumed_error_rate']:.1e}" for each in found],
        "on residuals": [f"{each['error_rate']:.1e}" for each in found],
        "words lost": [f"{each['lost']} of {each['words']:,}" for each in found],
    }
    return markdown_columns(columns, left=3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--words", type=int, default=10_000, help="code words of each store")
    parser.add_argument("--device", action="append", choices=DEVICES, help="only this device")
    options = parser.parse_args()
    found = []
    for name in options.device or DEVICES:
        for kind in STORES:
            for law in LAWS:
                each = outcome(name, kind, law, options.words)
                found.append(vars(each))
                print(each, flush=True)
    print(table(found))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
