"""Bytes to cells and back by soft decisions: what is promised, and that nothing fails unseen."""

import numpy as np
import pytest

from softcell.channel import Channel, channel_of
from softcell.codes.store.hard_store import design_store
from softcell.codes.store.soft_store import SoftStore, design_soft_store
from softcell.codes.store.waterfall import waterfall_table
from softcell.devices import parse_device
from softcell.errors import InfeasibleError, InputError

DEVICE = "pcm-partial-reset"


@pytest.fixture(scope="module")
def channel() -> Channel:
    return channel_of(parse_device(DEVICE))


@pytest.fixture(scope="module")
def store(channel: Channel) -> SoftStore:
    return design_soft_store(channel)


def read_back(channel: Channel, levels: np.ndarray, seed: int) -> np.ndarray:
    """Readings drawn from the channel's law."""
    rng = np.random.default_rng(seed)
    uniform, bins = rng.random(len(levels)), np.empty(len(levels), np.int64)
    for level in np.unique(levels):
        here = levels == level
        bins[here] = np.searchsorted(channel.matrix[level].cumsum()[:-1], uniform[here], "right")
    return channel.readings[bins].astype(np.float32)


def stored_and_read(store: SoftStore, channel: Channel, size: int, seed: int) -> tuple:
    data = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    cells = store.cells(size)
    packed = store.encode(data)
    assert len(packed) == -(-store.coded_bits(size) // 8)
    levels = store.level_indices(packed, cells)
    assert levels.shape == (cells,)
    ratios = store.detect(channel, read_back(channel, levels, seed + 1))
    return data, store.decode(ratios, size)


@pytest.mark.parametrize("size", [1, 40, 1000, 1034, 1035, 1036, 3000, 8 * 1035])
def test_bytes_come_back(store: SoftStore, channel: Channel, size: int) -> None:
    data, run = stored_and_read(store, channel, size, seed=size)
    np.testing.assert_array_equal(run.data, data)
    assert run.failed.shape == (store.frames(size),)
    assert not run.failed.any()
    assert run.corrected > 0


def test_runs_join(store: SoftStore) -> None:
    """Runs of a multiple of eight frames, written one after another, are the whole's bits."""
    data = np.random.default_rng(0).integers(0, 256, 16 * store.frame_bytes + 77, np.uint8)
    run = 8 * store.frame_bytes
    parts = [store.encode(data[first : first + run]) for first in range(0, len(data), run)]
    np.testing.assert_array_equal(np.concatenate(parts), store.encode(data))
    assert store.cells(2 * run) == 2 * store.cells(run)
    assert store.cells(run) * store.bits_per_symbol % 8 == 0


def test_nothing_is_nothing(store: SoftStore) -> None:
    assert store.cells(0) == store.frames(0) == len(store.encode(np.empty(0, np.uint8))) == 0
    assert len(store.decode(np.empty(0, np.int8), 0).data) == 0


def test_stores_more_than_the_conventional_way(store: SoftStore, channel: Channel) -> None:
    assert len(store.indices) == 8
    assert 2.30 <= store.bits_per_cell < store.bits_per_symbol * store.information
    assert store.bits_per_cell > 1.15 * design_store(channel).bits_per_cell
    assert store.bits_per_cell == 8 * store.frame_bytes / store.frame_cells


def test_stricter_and_older_cost_rate(channel: Channel, store: SoftStore) -> None:
    assert design_soft_store(channel, uber=1e-6).bits_per_cell > store.bits_per_cell
    assert design_soft_store(channel, iterations=20).bits_per_cell < store.bits_per_cell


def test_no_frame_fails_unseen(store: SoftStore, channel: Channel) -> None:
    """1000 frames where the code is too weak: those that decode are right, the rest reported."""
    weak = SoftStore(store.indices, store.labels, store.planes, 384, 2496, iterations=12)
    data, run = stored_and_read(weak, channel, 1000 * weak.frame_bytes, seed=3)
    right = (run.data == data).reshape(1000, -1).all(axis=1)
    assert 20 < run.failed.sum() < 1000
    np.testing.assert_array_equal(right, ~run.failed)


def test_outer_code_corrects_what_the_inner_leaves(store: SoftStore, channel: Channel) -> None:
    """Frames stopped after few passes: wrong bits remain, up to t of them are put right."""
    weak = SoftStore(store.indices, store.labels, store.planes, 384, 2880, iterations=6)
    size = 200 * weak.frame_bytes
    data = np.random.default_rng(4).integers(0, 256, size, np.uint8)
    levels = weak.level_indices(weak.encode(data), weak.cells(size))
    ratios = weak.detect(channel, read_back(channel, levels, 5))
    stored = weak.modulation.from_cells(ratios.reshape(200, -1), weak.inner.n)
    sent = weak.outer.encode(np.unpackbits(data.reshape(200, -1), axis=1))
    inner = weak.inner.decode(stored, information=sent.shape[1], iterations=6)
    wrong = (inner.bits != sent).sum(axis=1)
    run = weak.decode(ratios, size)
    assert ((wrong > 0) & (wrong <= weak.t)).sum() > 2
    np.testing.assert_array_equal(run.failed, wrong > weak.t)


def test_a_foreign_run_is_refused_or_reported(store: SoftStore) -> None:
    noise = np.random.default_rng(6).integers(-40, 41, store.coded_bits(2000)).astype(np.int8)
    assert store.decode(noise, 2000).failed.all()
    with pytest.raises(InputError, match="ratios, got"):
        store.decode(noise[:-1], 2000)


def test_a_cell_that_tells_nothing_holds_nothing() -> None:
    edges = np.concatenate([[-np.inf], np.linspace(0, 1, 63), [np.inf]])
    matrix = np.full((256, 64), 1 / 64)
    matrix[128:, :8] += 1 / 1024
    matrix[128:, 8:16] -= 1 / 1024
    dull = Channel(np.linspace(0, 1, 256), edges, matrix)
    with pytest.raises(InfeasibleError, match="cannot hold bits"):
        design_soft_store(dull)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iterations": 0}, "1 to 200 passes"),
        ({"iterations": 10**9}, "1 to 200 passes"),
        ({"information": 1.5}, "up to 1 bit"),
        ({"t": 0}, "at least 1 bit"),
        ({"lifting": 6, "parity": 40}, "no room"),
        ({"lifting": 383}, "no lifting size"),
        ({"parity": 10}, "parity must be"),
        ({"indices": (0, 1, 2)}, "2, 4, 8 or 16 levels"),
    ],
)
def test_what_is_wrong_is_said(change: dict, message: str) -> None:
    parts = {
        "indices": (0, 85, 170, 255),
        "labels": (0, 1, 3, 2),
        "planes": (0, 1),
        "lifting": 384,
        "parity": 2880,
    }
    with pytest.raises(InputError, match=message):
        SoftStore(**(parts | change))


@pytest.mark.parametrize("iterations", [20, 50])
def test_table_of_frame_errors_is_sound(iterations: int) -> None:
    table = waterfall_table(iterations)
    assert (np.diff(table.parities) > 0).all()
    assert (np.diff(table.thresholds, axis=1) < 0).all()  # more parity needs less information
    rate = 8448 / (7680 + table.parities)
    assert ((table.thresholds > rate) & (table.thresholds < rate + 0.08)).all()
    assert (np.diff(table.thresholds, axis=0)[:, 2:] < 0).all()  # unequal label bits need less
    assert ((table.widths > 0.003) & (table.widths < 0.009)).all()
    threshold, width = table.threshold_and_width(2880, 0.0)
    assert table.frame_error_rate(2880, threshold) == pytest.approx(0.5)
    assert table.frame_error_rate(2880, threshold + 3 * width) == pytest.approx(1.35e-3, rel=1e-3)


def test_smallest_parity_is_enough_and_no_larger_than_needed() -> None:
    table = waterfall_table(50)
    parity = table.smallest_parity(0.85, 1e-6, 0.08)
    assert parity is not None
    assert table.frame_error_rate(parity, 0.85, 0.08) <= 1e-6
    assert table.frame_error_rate(parity - 48, 0.85, 0.08) > 1e-6
    assert (
        table.smallest_parity(0.85, 1e-12, 0.08) > parity > table.smallest_parity(0.86, 1e-6, 0.08)
    )


def test_more_passes_need_no_more_information() -> None:
    few, many = waterfall_table(20), waterfall_table(50)
    assert (many.thresholds < few.thresholds).all()


def test_prediction_holds_on_a_device(store: SoftStore, channel: Channel) -> None:
    """300 frames near the threshold: the law made for Gaussian noise, on measured cells."""
    near = SoftStore(store.indices, store.labels, store.planes, 384, 2592, iterations=20)
    _, run = stored_and_read(near, channel, 300 * near.frame_bytes, seed=9)
    predicted = waterfall_table(20).frame_error_rate(2592, store.information, 0.09)
    assert 0.4 * predicted < run.failed.mean() < predicted


def test_unknown_tables_and_rates_are_refused() -> None:
    with pytest.raises(InputError, match="known for"):
        waterfall_table(7)
    with pytest.raises(InputError, match="not for 100"):
        waterfall_table(20).frame_error_rate(100, 0.9)
    with pytest.raises(InputError, match="between 0 and 1"):
        waterfall_table(20).smallest_parity(0.9, 0.0)
