"""The cells of a simulated chip: decided by seed, region and place, whoever asks for them."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.devices import (
    LEVEL_VALUES,
    LEVELS,
    IdealCell,
    SimulatedCells,
    parse_device,
    plain_levels,
)
from softcell.errors import InputError
from softcell.streams import Stream

DEVICE = parse_device("pcm-mushroom+spread:sigma=0.02")
INDICES = Stream.of(1, "levels").words(3000).astype(np.uint8)


def test_the_labels_of_the_streams_are_those_of_every_chip_so_far():
    chip, device = SimulatedCells(DEVICE, 7), DEVICE
    cells = chip.write("store", INDICES)
    levels = INDICES.astype(np.float32) / np.float32(255)
    for name, values in device.write(levels, stream=Stream.of(7, "write/store")).state.items():
        assert (cells.state[name] == values).all()
    for read, label in ((chip.read, "read"), (chip.verify, "verify")):
        for number in (0, 3):
            expected = device.read(cells, stream=Stream.of(7, f"{label}/{number}/store"))
            assert (read("store", cells, number=number) == expected).all()


def test_cells_are_the_same_in_runs_one_by_one_or_in_one_go():
    chip = SimulatedCells(DEVICE, 7)
    whole = chip.read("cells/a", chip.write("cells/a", INDICES))
    run = chip.write("cells/a", INDICES[100:900], 100)
    assert (chip.read("cells/a", run, 100) == whole[100:900]).all()
    places = np.array([2999, 5, 1700, 6], np.int64)
    few = chip.write("cells/a", INDICES[places], places)
    assert (chip.read("cells/a", few, places) == whole[places]).all()


def test_seed_region_and_number_tell_reads_apart():
    readings = []
    for seed, region in ((0, "a"), (1, "a"), (0, "b")):
        chip = SimulatedCells(DEVICE, seed)
        cells = chip.write(region, INDICES)
        readings += [chip.read(region, cells), chip.read(region, cells, number=1)]
        readings += [chip.verify(region, cells), chip.verify(region, cells, number=1)]
    for i, one in enumerate(readings):
        for other in readings[:i]:
            assert (one != other).mean() > 0.9


def test_the_level_of_an_index_is_its_share_of_the_axis():
    indices = np.arange(LEVELS).astype(np.uint8)
    assert (plain_levels(indices) == indices.astype(np.float32) / np.float32(255)).all()
    assert np.abs(LEVEL_VALUES - np.arange(LEVELS) / 255).max() < 1e-15
    assert SimulatedCells(IdealCell(), 0).write("a", indices).state["reading"].tolist() == (
        plain_levels(indices).tolist()
    )


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, True])
def test_a_seed_that_is_none_is_refused_at_once(seed):
    with pytest.raises(InputError, match="seed must be"):
        SimulatedCells(IdealCell(), seed)
