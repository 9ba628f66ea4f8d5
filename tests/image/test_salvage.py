"""What is left when code words fail, readings are missing, or a chip was read several times."""

from __future__ import annotations

import numpy as np
import pytest

from drawn import laplacian, normal
from softcell.allocate.plan import make_plan
from softcell.codes.store.hard_store import DigitalStore
from softcell.devices import parse_device
from softcell.errors import DecodingError, InputError
from softcell.image.cell_image import CellImage
from softcell.image.readings import CombinedReadings, SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.scrambling import scrambling_bytes, unscrambled
from softcell.image.write import write_image
from softcell.weights import StateDictWeights

STATE = {
    "a": laplacian(64, 200),
    "bias": normal(300, seed=3),
    "b": laplacian(64, 200, seed=1),
    "steps": np.arange(5, dtype=np.int64),
}
CELLS = {
    "int8": None,
    "float32": None,
    "entropy-coded": 2.0,
    "strong-digital": 2.0,
    "fixed-length": 3.0,
    "hybrid": 3.0,
    "coarse-to-fine": 3.0,
    "joint-map": 2.0,
    "packed": 2.0,
    "combined": 3.0,
}


class Changed:
    """Readings of a chip in which some cells of the digital store, or of all, read something else.

    Args:
        chip: The chip.
        hit: Tells of places in a region which are hit, bool.
        value: What they read.
    """

    def __init__(self, chip, hit, value=np.nan):
        self._chip, self._hit, self._value = chip, hit, np.float32(value)
        self.age_seconds = chip.age_seconds

    def read(self, region, start, stop):
        readings = self._chip.read(region, start, stop).copy()
        readings[self._hit(region, np.arange(start, stop))] = self._value
        return readings


@pytest.fixture(params=CELLS)
def image(request, tmp_path):
    weights = StateDictWeights(STATE)
    plan = make_plan(
        weights,
        parse_device("pcm-partial-reset"),
        request.param,
        cells_per_weight=CELLS[request.param],
    )
    write_image(weights, plan, tmp_path / "x.cells")
    with CellImage(tmp_path / "x.cells") as opened:
        yield opened


def chip_of(image, read=0):
    return SimulatedChip(image, seed=1, read=read)


def word_cells(image, *words):
    """Return what hits all cells of some code words of the store."""
    store = image.header.store
    places = [
        (store.cells(w * store.frame_bytes), store.cells((w + 1) * store.frame_bytes))
        for w in words
    ]

    def hit(region, cells):
        found = np.zeros(len(cells), bool)
        for start, stop in places:
            found |= (cells >= start) & (cells < stop)
        return found & (region.index is None)

    return hit


def scattered(one_in):
    return lambda region, cells: cells % one_in == one_in // 2


def test_scattered_missing_readings_cost_the_store_nothing(image):
    good = dict(Restoration(image, chip_of(image)).tensors())
    decoding = Restoration(image, Changed(chip_of(image), scattered(1500)))
    tensors = dict(decoding.tensors())
    assert decoding.report.failed == 0
    for name, values in tensors.items():
        assert np.isfinite(values).all()
        # Weights whose own cells gave nothing take a mean; no other weight is touched.
        assert (values != good[name]).mean() < 3 * 3 / 1500
        assert np.abs(values - good[name]).max() <= 2 * np.abs(good[name]).max()


def test_a_lost_word_loses_no_weight_that_does_not_hang_on_it(image):
    good = dict(Restoration(image, chip_of(image)).tensors())
    changed = Changed(chip_of(image), word_cells(image, 0))
    decoding = Restoration(image, changed, salvage=True)
    tensors, report = dict(decoding.tensors()), decoding.report
    assert report.failed == 1
    assert report.lost
    word = image.header.store.frame_bytes
    touched = {t.info.name for t in image.header.tensors if t.offset < word}
    assert {each.tensor for each in report.lost} <= touched
    lost = {name: np.zeros(values.shape, bool) for name, values in tensors.items()}
    for each in report.lost:
        for start, stop in each.runs:
            lost[each.tensor].reshape(-1)[start:stop] = True
        assert each.lost == lost[each.tensor].sum()
        assert each.weights == tensors[each.tensor].size
    for name, values in tensors.items():
        np.testing.assert_array_equal(values[~lost[name]], good[name][~lost[name]])
        assert np.isfinite(values).all()
        assert np.abs(values).max() <= np.abs(good[name]).max()


def test_what_is_lost_comes_from_elsewhere_if_there_is_anything(image):
    changed = Changed(chip_of(image), word_cells(image, 0))
    decoding = Restoration(
        image,
        changed,
        salvage=True,
        replacement=lambda name: np.full(STATE[name].shape, 7, STATE[name].dtype),
    )
    tensors = dict(decoding.tensors())
    for each in decoding.report.lost:
        for start, stop in each.runs:
            assert (tensors[each.tensor].reshape(-1)[start:stop] == 7).all()


def test_a_second_reading_gives_words_that_failed_in_the_first(image):
    first = Changed(chip_of(image), word_cells(image, 0), 5.0)
    second = Changed(chip_of(image, read=1), word_cells(image, 1), -5.0)
    good = dict(Restoration(image, chip_of(image)).tensors())
    decoding = Restoration(image, CombinedReadings([first, second]))
    tensors = dict(decoding.tensors())
    assert decoding.report.failed == 0
    for tensor in image.header.tensors:
        if not tensor.cells:
            np.testing.assert_array_equal(tensors[tensor.info.name], good[tensor.info.name])


def test_several_readings_are_less_noisy_than_one(tmp_path):
    wanted = normal(64, 64)
    weights = StateDictWeights({"a": wanted})
    plan = make_plan(weights, parse_device("pcm-mushroom"), "packed", cells_per_weight=1.0)
    write_image(weights, plan, tmp_path / "x.cells")
    with CellImage(tmp_path / "x.cells") as image:
        chips = [chip_of(image, read) for read in range(4)]
        found = [Restoration(image, each).tensor(0) for each in (chips[0], CombinedReadings(chips))]
    one, four = (float(np.square(each - wanted).mean()) for each in found)
    assert four < one


def test_readings_of_different_ages_are_not_combined(image):
    old = SimulatedChip(image, seed=1, age_seconds=60.0)
    with pytest.raises(InputError, match="one age"):
        CombinedReadings([chip_of(image), old])
    with pytest.raises(InputError, match="one age"):
        CombinedReadings([])


def test_an_erasure_counts_half_an_error(tmp_path):
    weights = StateDictWeights({"a": normal(64, 64)})
    plan = make_plan(weights, parse_device("pcm-partial-reset"), "int8")
    write_image(weights, plan, tmp_path / "x.cells")
    with CellImage(tmp_path / "x.cells") as image:
        store = image.header.store
        first_word = word_cells(image, 0)

        def failed(count, value):
            def hit(region, cells):
                return first_word(region, cells) & (cells >= 40) & (cells < 40 + count)

            decoding = Restoration(image, Changed(chip_of(image), hit, value))
            decoding.tensor(0)
            return decoding.report.failed

        # Two bits a cell; of 2 t erased bits one half at most is wrong in the better of two tries.
        assert failed(store.t - 1, np.nan) == 0
        assert failed(2 * store.t, 9.0) == 1
        assert failed(60, np.nan) == 1


def test_a_few_outliers_cost_the_soft_store_nothing(tmp_path):
    """A word that fails is decoded again by ratios that no single reading makes certain."""
    weights = StateDictWeights({"a": normal(200, 200)})
    plan = make_plan(
        weights, parse_device("pcm-partial-reset"), "strong-digital", cells_per_weight=2.0
    )
    write_image(weights, plan, tmp_path / "x.cells")
    with CellImage(tmp_path / "x.cells") as image:
        changed = Changed(chip_of(image), scattered(1000), 3.0)
        decoding = Restoration(image, changed)
        decoding.tensor(0)
        assert decoding.report.failed == 0


def test_nothing_is_salvaged_unasked(tmp_path):
    weights = StateDictWeights(STATE)
    plan = make_plan(
        weights, parse_device("pcm-partial-reset"), "strong-digital", cells_per_weight=2.0
    )
    write_image(weights, plan, tmp_path / "x.cells")
    with CellImage(tmp_path / "x.cells") as image:
        decoding = Restoration(image, Changed(chip_of(image), word_cells(image, 0)))
        with pytest.raises(DecodingError, match="cells looked at gave no reading; --salvage"):
            dict(decoding.tensors())


@pytest.mark.parametrize("first", [0, 8, 1000 * 8])
def test_scrambling_is_undone_in_bits_and_in_ratios(first):
    bits = np.unpackbits(scrambling_bytes(first // 8, 50))[:395]
    assert 0.3 < bits.mean() < 0.7
    written = np.arange(395, dtype=np.uint8) % 2
    assert (unscrambled(written ^ bits, first) == written).all()
    ratios = np.arange(395, dtype=np.int64) % 201 - 100
    seen = np.where(bits, -ratios, ratios).astype(np.int8)
    assert (unscrambled(seen, first) == ratios).all()


@pytest.mark.parametrize("checked", [False, True])
def test_without_checks_a_word_that_fails_is_not_tried_until_it_passes(
    tmp_path, monkeypatch, checked
):
    """A code of few parity bits would soon take it for another word."""
    weights = StateDictWeights({"a": normal(64, 64)})
    plan = make_plan(weights, parse_device("pcm-partial-reset"), "int8")
    write_image(weights, plan, tmp_path / "x.cells")
    decode, tries = DigitalStore.decode, []
    monkeypatch.setattr(
        DigitalStore, "decode", lambda *given: tries.append(given) or decode(*given)
    )
    if not checked:
        monkeypatch.setattr(CellImage, "word_checks", lambda *_: None)
    with CellImage(tmp_path / "x.cells") as image:
        decoding = Restoration(image, Changed(chip_of(image), word_cells(image, 0)))
        decoding.tensor(0)
        assert decoding.report.failed == 1
        assert len(tries) == (2 if checked else 1)
