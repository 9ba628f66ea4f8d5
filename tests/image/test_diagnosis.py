"""What readings are unlike is told by its cause."""

from __future__ import annotations

import numpy as np
import pytest

from drawn import normal
from softcell.allocate.plan import make_plan
from softcell.devices import parse_device
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.streams import Stream
from softcell.weights import StateDictWeights

STATE = {"a": normal(64, 64), "bias": normal(100, seed=1)}
MONTH = 30 * 86400.0


class Edited:
    """Readings of a chip after a change of each region's."""

    def __init__(self, image, edit, *, told=0.0, age=0.0, seed=1):
        chip = SimulatedChip(image, seed=seed, age_seconds=age)
        self._whole = {
            region.label: edit(chip.read(region, 0, region.cells)) for region in image.regions()
        }
        self.age_seconds = told

    def read(self, region, start, stop):
        return self._whole[region.label][start:stop].astype(np.float32)


def diagnosed(tmp_path, edit=lambda values: values, *, device="pcm-partial-reset", **chip):
    plan = make_plan(
        StateDictWeights(STATE),
        parse_device(device),
        "packed",
        cells_per_weight=2.0,
        age_seconds=MONTH,
    )
    write_image(StateDictWeights(STATE), plan, tmp_path / "x.cells")
    with CellImage(tmp_path / "x.cells") as image:
        return Restoration(image, Edited(image, edit, **chip)).diagnosis()


def some(values, share, value):
    hit = Stream.of(3, "hit").uniform(len(values)) < share
    return np.where(hit, value, values)


def half_blank(values):
    return np.where(np.arange(len(values)) < len(values) // 2, values.min(), values)


@pytest.mark.parametrize("device", ["pcm-partial-reset", "pcm-mushroom", "rram-wan", "gaussian"])
def test_readings_as_they_should_be_have_no_cause(tmp_path, device):
    found = diagnosed(tmp_path, device=device, age=MONTH, told=MONTH)
    assert (found.cause, found.mismatched) == (None, False)


@pytest.mark.parametrize(
    ("edit", "words", "mismatched"),
    [
        (lambda values: values[::-1], "not those of this image", True),
        (half_blank, "never programmed", True),
        (lambda values: np.full_like(values, values.mean()), "never programmed", True),
        (lambda values: some(values, 0.02, values.min() - 9), "stuck, or outliers", False),
        (lambda values: some(values, 0.02, np.nan), "gave no reading", False),
        (lambda values: some(values, 0.9, np.nan), "gave no reading", True),
        (
            lambda values: values + 0.1 * normal(len(values), seed=9),
            "times as much as the device's",
            False,
        ),
    ],
)
def test_each_fault_is_told_by_its_own_cause(tmp_path, edit, words, mismatched):
    found = diagnosed(tmp_path, edit)
    assert words in found.cause
    assert found.mismatched is mismatched


def test_another_chip_of_the_same_image_is_as_good(tmp_path):
    assert diagnosed(tmp_path, seed=2).cause is None


@pytest.mark.parametrize("device", ["pcm-mushroom", "rram-wan"])
@pytest.mark.parametrize(("told", "age"), [(0.0, MONTH), (MONTH, 0.0)])
def test_a_wrong_age_is_told_with_the_likely_one(tmp_path, device, told, age):
    found = diagnosed(tmp_path, device=device, told=told, age=age)
    assert "read as if they were about" in found.cause
    assert ("about 30d" if age else "about 0s") in found.cause
