"""Stores on cells that are drawn from measured residuals, not from the law of their design."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from softcell.channel import Channel, channel_of
from softcell.codes.store.hard_store import design_store, raw_bit_error_rate
from softcell.codes.store.soft_store import design_soft_store
from softcell.devices import SimulatedCells, parse_device


@pytest.mark.parametrize("name", ["pcm-partial-reset", "pcm-sweep", "rram-reset"])
def test_an_empirical_design_assumes_no_fewer_errors_than_the_residuals_make(name):
    device = parse_device(f"{name}:bootstrap=1,law=empirical")
    channel = channel_of(device)
    law = replace(device, noise=device.drawn).law(channel.levels, channel.edges, 0.0)
    residuals = Channel(channel.levels, channel.edges, law)
    store = design_store(channel)
    assert raw_bit_error_rate(residuals, np.array(store.indices)) < store.raw_bit_error_rate
    normal = design_store(channel_of(parse_device(name)))
    assert store.bits_per_cell < normal.bits_per_cell


def lost(design, law: str, words: int) -> int:
    """Return how many code words are lost on cells of the partial-reset device's residuals."""
    device = parse_device(f"pcm-partial-reset:bootstrap=1,law={law}")
    channel = channel_of(device)
    store = design(channel)
    data = np.random.default_rng(0).integers(0, 256, words * store.frame_bytes, np.uint8)
    levels = store.level_indices(store.encode(data), store.cells(len(data)))
    cells = SimulatedCells(device, seed=0)
    readings = cells.read("words", cells.write("words", levels))
    found = store.decode(store.detect(channel, readings), len(data))
    wrong = (found.data != data).reshape(words, -1).any(axis=1)
    return int((found.failed | wrong).sum())


@pytest.mark.slow
def test_conventional_storage_loses_words_for_the_normal_law_and_none_for_the_empirical():
    assert 10 < lost(design_store, "normal", 2000) < 60
    assert lost(design_store, "empirical", 2000) == 0


@pytest.mark.slow
@pytest.mark.parametrize("law", ["normal", "empirical"])
def test_strong_storage_loses_no_words_on_residuals(law):
    assert lost(design_soft_store, law, 400) == 0
