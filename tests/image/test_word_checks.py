"""Code words that decode to what was never stored are told, whatever the code makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from drawn import normal
from softcell.allocate.plan import make_plan
from softcell.devices import parse_device
from softcell.errors import DecodingError
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.word_checks import word_checks
from softcell.image.write import write_image
from softcell.weights import StateDictWeights

QUIET = "gaussian:snr_db=40"
"""A device so quiet that four levels need no parity."""

STATE = {"a": normal(64, 64), "b": normal(64, 64, seed=1), "c": normal(64, 64, seed=2)}


class Altered:
    """Readings of a chip, of which some of the store's are others."""

    def __init__(self, chip, cells, value):
        self._chip, self._cells, self._value = chip, np.asarray(cells, np.int64), value
        self.age_seconds = chip.age_seconds

    def read(self, region, start, stop):
        readings = self._chip.read(region, start, stop).copy()
        if region.index is None:
            hit = self._cells[(self._cells >= start) & (self._cells < stop)]
            readings[hit - start] = self._value
        return readings


def restored(path, cells, value):
    with CellImage(path) as image:
        chip = SimulatedChip(image, seed=1)
        decoding = Restoration(image, Altered(chip, cells, value))
        return dict(decoding.tensors()), decoding.report


def written(tmp_path, scheme="int8", device=QUIET, cells=None):
    weights = StateDictWeights(STATE)
    plan = make_plan(weights, parse_device(device), scheme, cells_per_weight=cells)
    write_image(weights, plan, tmp_path / "x.cells")
    return tmp_path / "x.cells"


def test_stuck_cells_are_told_where_no_bit_is_parity(tmp_path):
    path = written(tmp_path)
    with CellImage(path) as image:
        store = image.header.store
        assert store.t == 0
        words = store.frames(image.header.store_bytes)
        cells_of_a_word = store.cells(store.frame_bytes)
    good, report = restored(path, [], 0.0)
    assert (report.frames, report.failed) == (words, 0)
    stuck = np.arange(0, 3 * cells_of_a_word, 97)
    wrong, report = restored(path, stuck, 9.0)
    assert report.failed == 3
    assert (wrong["a"] != good["a"]).any()


@pytest.mark.parametrize("device", [QUIET, "pcm-partial-reset"])
@pytest.mark.parametrize("scheme", ["int8", "strong-digital"])
def test_cells_that_were_never_programmed_are_told(tmp_path, scheme, device):
    path = written(tmp_path, scheme, device, cells=3.0 if scheme == "strong-digital" else None)
    with CellImage(path) as image:
        cells = np.arange(image.header.store_cells)
        chip = SimulatedChip(image, seed=1)
        lowest = chip.read(next(iter(image.regions())), 0, 64).min()
    try:
        _, report = restored(path, cells, lowest)
    except DecodingError as error:
        assert "code words failed" in str(error)
    else:
        assert report.failed >= 0.9 * report.frames


def test_only_tensors_that_a_failed_word_touches_are_blamed(tmp_path):
    path = written(tmp_path, "entropy-coded", "pcm-partial-reset", cells=2.0)
    with CellImage(path) as image:
        store, tensors = image.header.store, image.header.tensors
        word = tensors[1].offset // store.frame_bytes + 1
        assert (word + 1) * store.frame_bytes <= tensors[2].offset
        first = store.cells(word * store.frame_bytes)
        cells = np.arange(first, first + store.cells(store.frame_bytes), 3)
        decoding = Restoration(image, Altered(SimulatedChip(image, seed=1), cells, 100.0))
        good = Restoration(image, SimulatedChip(image, seed=1))
        for index in (0, 2):
            np.testing.assert_array_equal(decoding.tensor(index), good.tensor(index))
        with pytest.raises(DecodingError, match="of tensor 'b' is lost: 1 of its code words"):
            decoding.tensor(1)
        assert decoding.report.failed == 1


def test_checks_are_crc_32_of_each_word():
    # "123456789" is the check value of the catalogue of CRCs; the empty tail has none.
    data = np.frombuffer(b"123456789" * 2 + b"a", np.uint8)
    assert word_checks(data, 9).tolist() == [0xCBF43926, 0xCBF43926, 0xE8B7BE43]
    assert word_checks(data[:0], 9).size == 0
