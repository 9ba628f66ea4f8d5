"""A seed decides every reading, whatever the threads, the runs or the part that is read."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from softcell.allocate.plan import make_plan
from softcell.codes import code
from softcell.codes.analog import code as analog
from softcell.codes.coarse import code as coarse
from softcell.codes.joint import code as joint
from softcell.devices import parse_device
from softcell.image import store_reader
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.streams import Stream
from softcell.weights import StateDictWeights

STATE = {
    "conv": Stream.of(0, "a").normal(16 * 81).reshape(16, 9, 3, 3),
    "bias": Stream.of(0, "b").normal(16),
    "wide": Stream.of(0, "c").normal(2 * 3000).reshape(2, 3000),
    "pruned": Stream.of(0, "d").normal(40 * 90).reshape(40, 90)
    * (Stream.of(0, "m").uniform(3600).reshape(40, 90) < 0.3),
    "steps": np.array(4),
}
DEVICES = [
    "pcm-mushroom",
    "pcm-sweep+stuck:low=0.001+spread:sigma=0.01+readout:bits=8",
]


EXACT = ("int8", "entropy-coded")


# Coarse-to-fine maps take long to design, and one device is as good as another to them.
CASES = [(scheme, device) for device in DEVICES for scheme in ("naive", "combined", *EXACT)]
CASES += [(scheme, DEVICES[1]) for scheme in ("coarse-to-fine", "hybrid", "joint-map")]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1].split('+')[0]}")
def case(request):
    return request.param


@pytest.fixture
def scheme(case):
    return case[0]


@pytest.fixture
def path(case, tmp_path):
    scheme, device = case
    weights = StateDictWeights(STATE)
    plan = make_plan(
        weights,
        parse_device(device),
        scheme,
        cells_per_weight=None if scheme == "int8" else 4.0,
        age_seconds=3600.0,
    )
    write_image(weights, plan, tmp_path / "x.cells")
    return tmp_path / "x.cells"


def restored(path, *, seed=5, age=3600.0, threads=1, read=0):
    with CellImage(path) as image:
        chip = SimulatedChip(image, seed=seed, age_seconds=age, read=read)
        restoration = Restoration(image, chip, threads=threads)
        values = {name: value.tobytes() for name, value in restoration.tensors()}
        return values, restoration.report


def without_levels(image, region, readings):
    """Readings less the mean reading of each level."""
    levels = image.levels(region, 0, len(readings)).astype(int)
    mean = np.bincount(levels, readings) / np.maximum(np.bincount(levels), 1)
    return readings - mean[levels]


def test_neither_threads_nor_runs_matter(path, monkeypatch):
    whole = restored(path)
    assert restored(path) == whole
    for threads in (2, 5):
        assert restored(path, threads=threads) == whole
    for cells, frames in ((1 << 10, 8), (1 << 8, 16), (1 << 24, 8)):
        monkeypatch.setattr(store_reader, "RUN_CELLS", cells)
        for module in (code, analog, coarse, joint):
            monkeypatch.setattr(module, "RUN_CELLS", cells)
        monkeypatch.setattr(store_reader, "STORE_RUN", frames)
        for threads in (1, 3):
            assert restored(path, threads=threads) == whole


def test_one_tensor_is_as_the_whole_has_it(path):
    whole, _ = restored(path)
    with CellImage(path) as image:
        for index in (4, 2, 0, 3, 1):
            alone = Restoration(image, SimulatedChip(image, seed=5, age_seconds=3600.0))
            name = image.header.tensors[index].info.name
            assert alone.tensor(index).tobytes() == whole[name]


def test_tensors_in_any_order_and_twice(path):
    whole, report = restored(path)
    with CellImage(path) as image:
        restoration = Restoration(image, SimulatedChip(image, seed=5, age_seconds=3600.0))
        for index in (3, 0, 0, 2, 1, 4, 3):
            name = image.header.tensors[index].info.name
            assert restoration.tensor(index).tobytes() == whole[name]
        assert restoration.report == report


def test_other_seeds_and_other_reads_give_other_readings(path, scheme):
    whole, report = restored(path)
    for options in ({"seed": 6}, {"read": 1}):
        other, told = restored(path, **options)
        if scheme in EXACT:
            assert other == whole  # error-free, though the cells are others
            assert told.frames == report.frames
        else:
            assert other["conv"] != whole["conv"]
            assert other["wide"] != whole["wide"]
        assert other["bias"] == whole["bias"]


def test_no_two_regions_share_their_noise(path):
    """Equal levels in two tensors are two independent draws."""
    with CellImage(path) as image:
        chip = SimulatedChip(image, seed=5)
        noise = []
        for region in image.regions():
            cells = min(region.cells, 2000)
            noise.append(without_levels(image, region, chip.read(region, 0, cells)))
        for one, other in itertools.pairwise(noise):
            size = min(len(one), len(other))
            assert abs(np.corrcoef(one[:size], other[:size])[0, 1]) < 5 / np.sqrt(size)


def test_a_chip_is_the_same_at_every_age(path):
    """Ageing goes on from the same cells: the error of a cell at two ages is related."""
    with CellImage(path) as image:
        region = next(iter(image.regions()))
        cells = min(region.cells, 4000)
        error = [
            without_levels(
                image,
                region,
                SimulatedChip(image, seed=seed, age_seconds=age, read=read).read(region, 0, cells),
            )
            for seed, age, read in ((5, 0.0, 0), (5, 60.0, 1), (6, 60.0, 1))
        ]
        assert np.corrcoef(error[0], error[1])[0, 1] > 0.5
        assert abs(np.corrcoef(error[0], error[2])[0, 1]) < 0.2
