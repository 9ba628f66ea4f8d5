"""The published codec's rows, as benchmarks/peers/codec.py kept them, beside ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from softcell.channel import channel_of
from softcell.codes.schemes import parse_scheme
from softcell.codes.store.design import store_for
from softcell.devices import parse_device
from softcell.evaluate.results import read_results

RESULTS = Path(__file__).parents[2] / "benchmarks/results"
WEIGHTS = {"resnet20": 271_098, "resnet56": 857_082, "mobilenet_v1_025": 475_544}
ROWS = [row for path in sorted(RESULTS.glob("*-nncodec.json")) for row in read_results(path)]
DEVICE = "pcm-partial-reset"
NAMES = [f"{row.model} {row.scheme}" for row in ROWS]


@pytest.fixture(scope="module")
def store():
    return store_for(parse_scheme("strong-digital").store, channel_of(parse_device(DEVICE)))


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_streams_came_back_from_every_chip_unharmed(row):
    assert (row.decoder, row.target_cells_per_weight, row.failed_code_words) == ("full", None, 0)
    assert len(row.accuracies) == row.seeds >= 3
    assert row.accuracies == pytest.approx([row.accuracy_mean] * row.seeds)
    assert row.cells_per_weight > row.limit_cells_per_weight > 0


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_cells_are_those_of_a_whole_stream_in_the_strong_digital_store(row, store):
    assert row.device == DEVICE
    cells = round(row.cells_per_weight * WEIGHTS[row.model])
    assert row.cells_per_weight * WEIGHTS[row.model] == pytest.approx(cells, abs=1e-6)
    frames = row.code_words // row.seeds
    assert (frames - 1) * store.frame_cells < cells <= frames * store.frame_cells
    low, high = ((frames - 1) * store.frame_bytes, frames * store.frame_bytes)
    assert any(store.cells(size) == cells for size in range(low + 1, high + 1))


def test_the_codec_needs_3_45_bits_per_weight_on_resnet56_without_loss(store):
    row = next(r for r in ROWS if (r.model, r.scheme) == ("resnet56", "nncodec qp -26"))
    assert row.cells_per_weight * store.bits_per_cell == pytest.approx(3.45, abs=0.02)
    assert row.accuracy_mean >= row.float_accuracy


@pytest.mark.parametrize("model", ["resnet20", "resnet56"])
def test_ours_needs_fewer_cells_than_any_stream_within_half_a_point(model):
    def within(row):
        return row.float_accuracy - row.accuracy_mean <= 0.005 + 1e-9

    loop = read_results(RESULTS / f"cifar10-{model}-{DEVICE}-loop.json")
    ours = next(r for r in loop if (r.scheme, r.loop) == ("strong-digital", "closed"))
    least = min(r.cells_per_weight for r in ROWS if r.model == model and within(r))
    assert within(ours)
    assert ours.cells_per_weight < 0.8 * least
