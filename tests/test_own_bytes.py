"""Files are read into memory of one's own, whatever becomes of them, and not without end."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from softcell import own_bytes
from softcell.allocate.plan_file import load_plan
from softcell.devices import load_device
from softcell.errors import FormatError, InputError
from softcell.evaluate.results import read_results
from softcell.own_bytes import OwnBytes, text_bytes


def test_what_was_read_stays_whatever_becomes_of_the_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(range(100)))
    with OwnBytes(path, "numbers") as file:
        early = file.read(10, 5)
        path.write_bytes(bytes(50))
        assert early.tolist() == [10, 11, 12, 13, 14]
        assert file.read(10, 5).tolist() == [0] * 5
        with pytest.raises(FormatError, match="ends at byte 50"):
            file.read(40, 20)
        with pytest.raises(FormatError, match="ends at byte 100"):
            file.read(90, 1 << 50)
    with pytest.raises(InputError, match="is closed"):
        file.read(0, 1)


def test_threads_read_side_by_side(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, 1 << 16, dtype=np.uint8)
    (tmp_path / "a").write_bytes(values.tobytes())
    wrong = []
    with OwnBytes(tmp_path / "a", "numbers") as file:

        def read(first):
            for at in range(first, 1 << 16, 997):
                if (file.read(at, 61) != values[at : at + 61]).any():
                    wrong.append(at)

        threads = [threading.Thread(target=read, args=(n,)) for n in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert not wrong


@pytest.mark.parametrize("name", ["x" * 300, "no/such", "", "\0"])
def test_names_of_no_file_are_told(tmp_path, name):
    with pytest.raises(InputError):
        OwnBytes(tmp_path / name, "numbers")


@pytest.mark.parametrize("load", [load_plan, load_device, read_results])
def test_text_without_end_is_refused(load, tmp_path, monkeypatch):
    monkeypatch.setattr(own_bytes, "MOST_TEXT", 1 << 20)
    with pytest.raises(InputError, match="more than 1 MiB"):
        load("/dev/zero")


def test_text_may_come_through_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"{}",))
    writer.start()
    assert text_bytes(tmp_path / "pipe") == b"{}"
    writer.join()
