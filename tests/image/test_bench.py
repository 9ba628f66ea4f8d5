"""A chip on a bench: what is asked of the script, and what is made of its answers."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest

from softcell.devices import parse_device
from softcell.errors import InputError
from softcell.image.batch import Batch
from softcell.image.bench import BATCH_CELLS, Bench
from softcell.image.exchange import FolderExchange, LineExchange

DEVICE = parse_device("pcm-partial-reset")
BATCH = Batch(
    12,
    'cells/a,"b"',
    np.array([5, 0]),
    np.array([0, 255], np.uint8),
    np.array([1.0, 2.95]),
    verify=True,
)


class Store:
    """An image of a digital store alone."""

    header = SimpleNamespace(cells=2 * BATCH_CELLS + 9)

    def regions(self):
        return [SimpleNamespace(label="store", cells=self.header.cells)]

    def levels(self, region, start, stop):
        return np.arange(start, stop).astype(np.uint8)


def test_levels_go_out_in_volts_and_readings_come_in_in_ohms():
    batches = []

    def exchange(batch):
        batches.append(batch)
        return [1e4, 1e6]

    readings = Bench(DEVICE, exchange).program("r", np.array([7, 3]), np.array([0, 255], np.uint8))
    np.testing.assert_allclose(readings, [4, 6])
    assert readings.dtype == np.float32
    (batch,) = batches
    assert batch.levels.tolist() == pytest.approx([1.0, 2.95])
    assert (batch.places.tolist(), batch.verify, batch.number) == ([7, 3], True, 0)


def test_a_column_without_cells_asks_for_nothing():
    def exchange(batch):
        raise AssertionError(batch)

    none = Bench(DEVICE, exchange).program("r", np.empty(0, np.int64), np.empty(0, np.uint8))
    assert none.shape == (0,)


def test_the_rest_is_what_was_not_programmed():
    batches = []

    def exchange(batch):
        batches.append(batch)
        return [1e4] * len(batch.places) if batch.verify else []

    bench, image = Bench(DEVICE, exchange), Store()
    bench.program("store", np.array([2, 4000]), np.array([9, 9], np.uint8))
    bench.program_rest(image)
    rest = batches[1:]
    assert [b.number for b in rest] == [1, 2, 3]
    assert not any(b.verify for b in rest)
    places = np.concatenate([b.places for b in rest])
    assert len(places) == image.header.cells - 2
    assert sorted({*places, 2, 4000}) == [*range(image.header.cells)]
    levels = np.concatenate([b.level_indices for b in rest])
    np.testing.assert_array_equal(levels, places.astype(np.uint8))


def test_lines_are_json():
    sent = io.StringIO()
    exchange = LineExchange(io.StringIO('{"readings": [1, 2.5]}\n'), sent)
    assert exchange(BATCH) == [1, 2.5]
    assert json.loads(sent.getvalue()) == {
        "batch": 12,
        "region": 'cells/a,"b"',
        "places": [5, 0],
        "level_indices": [0, 255],
        "levels": [1.0, 2.95],
        "verify": True,
    }
    assert sent.getvalue().count("\n") == 1


def test_files_are_csv(tmp_path):
    exchange = FolderExchange(tmp_path, DEVICE)
    (tmp_path / "readings-000012.csv").write_text("reading\n1e4\n2e4\n")
    assert exchange(BATCH).tolist() == [1e4, 2e4]
    assert (tmp_path / "batch-000012.csv").read_text() == (
        "region,cell,level_index,pulse_voltage_V,verify\n"
        '"cells/a,""b""",5,0,1,1\n'
        '"cells/a,""b""",0,255,2.95,1\n'
    )
    with pytest.raises(InputError, match="of an earlier exchange"):
        FolderExchange(tmp_path, DEVICE)


def test_a_file_without_readings_is_refused(tmp_path):
    exchange = FolderExchange(tmp_path, DEVICE)
    (tmp_path / "readings-000012.csv").write_text("ohm\n1e4\n2e4\n")
    with pytest.raises(InputError, match="column named reading"):
        exchange(BATCH)


def test_readings_in_a_file_go_by_the_cells_that_they_name(tmp_path):
    exchange = FolderExchange(tmp_path, DEVICE)
    text = 'region,cell,reading\n"cells/a,""b""",0,2e4\n"cells/a,""b""",5,1e4\n'
    (tmp_path / "readings-000012.csv").write_text(text)
    assert exchange(BATCH).tolist() == [1e4, 2e4]
    (tmp_path / "readings-000012.csv").write_text(text.replace("a,", "c,"))
    for batch in tmp_path.glob("batch-*.csv"):
        batch.unlink()
    with pytest.raises(InputError, match="there is no cell '0' of region"):
        exchange(BATCH)
