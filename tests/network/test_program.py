"""A real chip is programmed once, however often that is broken off, and whatever cells are dead."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from softcell.allocate import Procedure
from softcell.devices import parse_device
from softcell.errors import FormatError, InputError
from softcell.feedback.memory import SimulatedMemory
from softcell.image.batch import Batch
from softcell.image.cell_image import CellImage
from softcell.image.exchange import FolderExchange
from softcell.image.exchange_journal import journal_path
from softcell.network import Network, plan_network
from softcell.network.program import open_journal, program_chip

DEVICE = parse_device("pcm-partial-reset")


class Lab:
    """A simulated chip on a bench, and what was done to it."""

    def __init__(self, *, stops_at: int | None = None, dead=(), wrong=()) -> None:
        self.memory = SimulatedMemory(DEVICE, 7)
        self.batches: list[int] = []
        self.programmed: list[tuple[str, int]] = []
        self.stops_at, self.dead, self.wrong = stops_at, set(dead), dict(wrong)

    def __call__(self, batch: Batch) -> list[float | None]:
        if batch.number == self.stops_at:
            raise InputError("the power is gone")
        self.batches.append(batch.number)
        self.programmed += [(batch.region, int(place)) for place in batch.places]
        readings = self.memory.program(batch.region, batch.places, batch.level_indices)
        values = DEVICE.reading_axis.to_unit(readings)
        cells = [(batch.region, int(place)) for place in batch.places]
        odd = dict.fromkeys(self.dead) | self.wrong
        return [odd.get(cell, float(value)) for cell, value in zip(cells, values)]


@pytest.fixture(scope="module")
def known() -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = nn.Sequential(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 6)).eval()
    inputs = torch.randn(64, 24, generator=torch.Generator().manual_seed(1))
    return Network.of(made.state_dict(), module=made, inputs=inputs)


@pytest.fixture(scope="module")
def plan(known):
    return plan_network(
        known, DEVICE, "packed", cells_per_weight=2.0, procedure=Procedure(loop=True)
    )


@pytest.fixture(scope="module")
def whole(known, plan, tmp_path_factory):
    """The image of a chip that was programmed in one go, and its lab."""
    path, lab = tmp_path_factory.mktemp("whole") / "model.cells", Lab()
    program_chip(known, plan, path, chip="die7", exchange=lab)
    return path.read_bytes(), lab


def program(known, plan, path: Path, lab, **options):
    with open_journal(known, plan, path, chip="die7", **options) as journal:
        return program_chip(known, plan, path, chip="die7", exchange=lab, journal=journal)


def test_what_was_exchanged_is_not_exchanged_again(known, plan, whole, tmp_path):
    image, uninterrupted = whole
    path, labs = tmp_path / "model.cells", []
    for stops_at in (0, 1, 17, len(uninterrupted.batches) - 1, None):
        labs.append(Lab(stops_at=stops_at))
        if stops_at is None:
            program(known, plan, path, labs[-1])
        else:
            with pytest.raises(InputError, match="the power is gone"):
                program(known, plan, path, labs[-1])
            assert not path.exists()
            assert journal_path(path).exists() == (stops_at > 0)
    assert path.read_bytes() == image
    assert [each for lab in labs for each in lab.batches] == uninterrupted.batches
    assert [each for lab in labs for each in lab.programmed] == uninterrupted.programmed
    assert list(tmp_path.iterdir()) == [path]


def test_a_torn_end_is_exchanged_again_and_damage_is_refused(known, plan, whole, tmp_path):
    path = tmp_path / "model.cells"
    with pytest.raises(InputError, match="up to batch 4 is kept in .*model.cells.exchange"):
        program(known, plan, path, Lab(stops_at=5))
    kept = journal_path(path)
    lines = kept.read_bytes().splitlines(keepends=True)
    assert len(lines) == 6
    for torn in (lines[-1][:-1], lines[-1][:20], lines[-1][:-1] + bytes(300), bytes(9)):
        kept.write_bytes(b"".join(lines[:-1]) + torn)
        lab = Lab(stops_at=5)
        with pytest.raises(InputError, match="up to batch 4 is kept"):
            program(known, plan, path, lab)
        assert lab.batches == [4]
        assert kept.read_bytes() == b"".join(lines)
    for number in range(5):
        damaged = bytearray(b"".join(lines))
        damaged[sum(map(len, lines[:number])) + 30] ^= 1
        kept.write_bytes(damaged)
        with pytest.raises(FormatError, match="--restart"):
            program(known, plan, path, Lab())
        assert kept.read_bytes() == damaged
    program(known, plan, path, lab := Lab(), restart=True)
    assert lab.batches[0] == 0
    assert path.read_bytes() == whole[0]


def test_another_programming_is_not_gone_on_with(known, plan, tmp_path):
    path = tmp_path / "model.cells"
    with pytest.raises(InputError, match="the power"):
        program(known, plan, path, Lab(stops_at=3))
    other = plan_network(
        known, DEVICE, "packed", cells_per_weight=2.5, procedure=Procedure(loop=True)
    )
    with pytest.raises(InputError, match=r"of another plan than now.*--restart"):
        program(known, other, path, Lab())
    with (
        pytest.raises(InputError, match=r"of another chip than now.*--restart"),
        open_journal(known, plan, path, chip="die8"),
    ):
        pass
    assert journal_path(path).exists()
    with open_journal(known, plan, path, chip="die7") as journal:
        assert journal.batches == 3
        with pytest.raises(InputError, match="in use"):
            open_journal(known, plan, path, chip="die7")


def test_a_file_of_somebody_else_is_left_alone(known, plan, tmp_path):
    path = tmp_path / "model.cells"
    journal_path(path).write_text("my notes\n")
    with pytest.raises(FormatError, match="keeps no exchange"):
        program(known, plan, path, Lab())
    assert journal_path(path).read_text() == "my notes\n"


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space cannot be reserved")
def test_no_cell_is_programmed_whose_reading_cannot_be_kept(known, plan, tmp_path, monkeypatch):
    lab, calls = Lab(), 0

    def full(descriptor: int, start: int, size: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(InputError, match=r"cannot keep .*no space left.*up to batch 2"):
            program(known, plan, tmp_path / "model.cells", lab)
    assert lab.batches == [0, 1, 2]
    program(known, plan, tmp_path / "model.cells", again := Lab())
    assert again.batches[0] == 3


def test_dead_cells_do_not_end_it_and_are_counted(known, plan, whole, tmp_path):
    dead = whole[1].programmed[40], whole[1].programmed[300]
    wrong = {whole[1].programmed[90]: 9.9e37, whole[1].programmed[150]: 0.0}
    lab = Lab(dead=dead, wrong=wrong)
    done = program(known, plan, tmp_path / "model.cells", lab)
    assert (done.unread.missing, done.unread.implausible) == (2, 2)
    assert done.unread.reason.count("beyond its range") == 1
    assert "0 or less is no resistance" in done.unread.reason
    assert sorted(lab.programmed) == sorted(whole[1].programmed)
    # The others make up for a cell that is missing: the image is another one.
    assert (tmp_path / "model.cells").read_bytes() != whole[0]
    with CellImage(tmp_path / "model.cells") as image:
        image.verify()


def test_readings_that_are_all_wrong_are_refused_at_once_and_nothing_is_lost(
    known, plan, whole, tmp_path
):
    class Kilo(Lab):
        def __call__(self, batch: Batch):
            values = super().__call__(batch)
            return [v / 1e3 for v in values] if batch.number == 9 else values

    path = tmp_path / "model.cells"
    with pytest.raises(InputError, match=r"batch 9 .*multiplied by 1000.*up to batch 8 is kept"):
        program(known, plan, path, Kilo())
    program(known, plan, path, lab := Lab())
    assert lab.batches[0] == 9
    assert path.read_bytes() == whole[0]


def test_what_was_answered_in_a_folder_meanwhile_is_taken(known, plan, whole, tmp_path):
    path, folder, lab = tmp_path / "model.cells", tmp_path / "folder", Lab()
    folder.mkdir()
    answered = threading.Event()

    class Broken(FolderExchange):
        def __call__(self, batch: Batch):
            if batch.number == 6:
                (folder / "readings-000006.csv").write_text("reading\n")  # too few
            else:
                answer(batch)
            return super().__call__(batch)

    def answer(batch: Batch) -> None:
        values = ["" if v is None else repr(v) for v in lab(batch)] if batch.verify else []
        (folder / f"readings-{batch.number:06}.csv").write_text("\n".join(["reading", *values]))

    with pytest.raises(InputError, match="batch 6"):
        program(known, plan, path, Broken(folder, DEVICE), in_folder=True)
    assert (folder / "batch-000006.csv").exists()
    (folder / "readings-000006.csv").unlink()
    sent = (folder / "batch-000006.csv").stat().st_mtime_ns

    class Waiting(FolderExchange):
        def __call__(self, batch: Batch):
            if batch.number > 6:
                answer(batch)
            else:
                threading.Timer(0.05, lambda: (answer(batch), answered.set())).start()
            return super().__call__(batch)

    with open_journal(known, plan, path, chip="die7", in_folder=True) as journal:
        exchange = Waiting(folder, DEVICE, going_on=journal.resumed)
        program_chip(known, plan, path, chip="die7", exchange=exchange, journal=journal)
    assert answered.is_set()
    assert (folder / "batch-000006.csv").stat().st_mtime_ns == sent
    assert path.read_bytes() == whole[0]
    assert lab.batches == whole[1].batches[: len(lab.batches)]


def test_dead_cells_in_files_are_empty_fields_or_lines(tmp_path):
    batch = Batch(0, "r", np.arange(4), np.zeros(4, np.uint8), np.ones(4), verify=True)
    for text, missing in [
        ("reading\n1e4\n\n2e4\n\n", [1, 3]),
        ("reading\n\n\n1e4\n1e4", [0, 1]),
        ("reading\n1e4\n1e4\n1e4\n1e4\n\n\n", []),
        ("cell,reading\n0,\n1,nan\n2,1e4\n3,1e4\n", [0, 1]),
        ("region,cell,reading\nr,3,\nr,1,1e4\nr,2,1e4\nr,0,1e4\n", [3]),
        ("reading\n\n\n\n\n", [0, 1, 2, 3]),
    ]:
        (tmp_path / "readings-000000.csv").write_text(text)
        values = FolderExchange(tmp_path, DEVICE, going_on=True)(batch)
        assert len(values) == 4, text
        assert np.flatnonzero(np.isnan(values)).tolist() == missing, text


def test_files_of_another_exchange_are_not_taken(tmp_path):
    (tmp_path / "batch-000000.csv").write_text("region,cell\n")
    with pytest.raises(InputError, match="of an earlier exchange"):
        FolderExchange(tmp_path, DEVICE)
    batch = Batch(0, "store", np.array([0]), np.array([0], np.uint8), np.array([1.0]), True)
    with pytest.raises(InputError, match="of another exchange"):
        FolderExchange(tmp_path, DEVICE, going_on=True)(batch)
