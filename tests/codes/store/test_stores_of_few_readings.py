"""Stores that were designed for a device of few readings, on the cells that these came from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from softcell.channel import Channel, channel_of, decisions
from softcell.codes.store.hard_store import DigitalStore, design_store
from softcell.devices import MeasuredCell, fit_table, parse_device
from softcell.streams import Stream


def true_cells(name: str) -> MeasuredCell:
    """Return a device whose law is that of the residuals."""
    device = parse_device(f"{name}:bootstrap=1")
    return replace(device, noise=device.drawn)


def measured(device: MeasuredCell, count: int, path: Path, seed: int) -> Path:
    """Write a table of so many readings at each input."""
    inputs = np.repeat(device.inputs, count)
    levels = np.clip(device.level_axis.from_unit(inputs), 0, 1).astype(np.float32)
    cells = device.write(levels, stream=Stream.of(seed, "write"))
    readings = device.reading_axis.to_unit(device.read(cells, stream=Stream.of(seed, "read")))
    rows = [f"{volt:.6g},{ohm:.6g}" for volt, ohm in zip(inputs, readings)]
    path.write_text("\n".join(["pulse_voltage_V,resistance_ohm", *rows]))
    return path


def chance_of_loss(store: DigitalStore, design: Channel, true: MeasuredCell) -> float:
    """Return the probability of losing a code word, where another law than the design's is true."""
    indices = list(store.indices)
    decided = store.labels[decisions(design.matrix[indices])]
    wrong = np.bitwise_count(store.labels[:, None] ^ decided[None])
    law = true.law(design.levels[indices], design.edges, 0.0)
    rate = (law * wrong).sum() / len(indices) / store.bits_per_symbol
    return float(binom.sf(store.t, store.code.n, rate))


@pytest.mark.parametrize("name", ["pcm-partial-reset", "rram-reset"])
@pytest.mark.parametrize("count", [3, 20])
def test_few_readings_make_a_weak_claim_and_no_lost_word(name, count, tmp_path):
    true = true_cells(name)
    whole = design_store(channel_of(true)).bits_per_cell
    chances = {"best": [], "plain": []}
    for seed in range(3):
        path = measured(true, count, tmp_path / "cell.csv", seed)
        for law, found in chances.items():
            channel = channel_of(fit_table(path, law=law).device)
            store = design_store(channel)
            found.append(chance_of_loss(store, channel, true))
            if law == "best":
                assert store.bits_per_cell < whole
    assert max(chances["best"]) < 1e-9
    assert max(chances["plain"]) > 1e-4


def test_more_readings_cost_fewer_cells(tmp_path):
    true = true_cells("pcm-partial-reset")
    bits = []
    for count in (5, 20, 380):
        device = fit_table(measured(true, count, tmp_path / "cell.csv", seed=1)).device
        bits.append(design_store(channel_of(device)).bits_per_cell)
    assert bits[0] < bits[1] < bits[2] < 1.96
    assert bits[2] > 1.8
