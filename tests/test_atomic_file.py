"""Files that are whole or not there: full disks, links, folders, devices."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from softcell import atomic_file
from softcell.atomic_file import AtomicFile
from softcell.errors import InputError


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_file_alone(tmp_path: Path, monkeypatch, code: int):
    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(atomic_file.os, "fsync", full)
    file = AtomicFile(tmp_path / "a")
    file.write(b"new")
    with pytest.raises(InputError, match=r"no space left; nothing was written; free some space"):
        file.commit()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_write_that_fails_half_way_leaves_nothing(tmp_path: Path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = AtomicFile(tmp_path / "a")
    file.write(bytes(700_000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(InputError, match="File too large; nothing was written") as caught:
            file.write(bytes(2_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    for use in (lambda: file.write(b"more"), lambda: file.seek(0), file.commit):
        with pytest.raises(InputError, match="was given up"):
            use()


def test_the_file_gets_the_mode_of_any_new_file(tmp_path: Path):
    file = AtomicFile(tmp_path / "a")
    file.write(b"x")
    file.commit()
    (tmp_path / "b").write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_discard_after_commit_keeps_the_file(tmp_path: Path):
    file = AtomicFile(tmp_path / "a")
    file.write(b"head, ")
    file.seek(2)
    file.write(b"LOW")
    file.commit()
    file.discard()
    assert (tmp_path / "a").read_bytes() == b"heLOW "
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_targets_that_cannot_be_files_are_refused(tmp_path: Path):
    for path, message in [
        (tmp_path, "it is a folder"),
        (tmp_path / "none" / "a", "No such file"),
        (Path(os.devnull), "not a regular file"),
    ]:
        with pytest.raises(InputError, match=message):
            AtomicFile(path)
    assert Path(os.devnull).is_char_device()


def test_a_link_goes_on_naming_the_file(tmp_path: Path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    file = AtomicFile(tmp_path / "link")
    file.write(b"new")
    file.commit()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
