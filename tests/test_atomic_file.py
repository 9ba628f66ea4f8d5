"""Files that are whole or not there: full disks, links, folders, devices."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
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


def test_a_file_keeps_the_permissions_of_the_one_that_it_replaces(tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"old")
    for mode in (0o600, 0o640, 0o444):
        (tmp_path / "secret").chmod(mode)
        file = AtomicFile(tmp_path / "secret")
        (temporary,) = set(tmp_path.iterdir()) - {tmp_path / "secret"}
        assert temporary.stat().st_mode & 0o777 == mode
        file.write(b"new")
        file.commit()
        assert (tmp_path / "secret").stat().st_mode & 0o777 == mode


_WRITER = """
import os, signal, sys
from softcell.atomic_file import AtomicFile
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
file = AtomicFile(sys.argv[1])
file.write(bytes(1 << 21))
print("writing", flush=True)
signal.pause()
"""


def _writer(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def test_an_interrupted_process_leaves_nothing(tmp_path: Path):
    process = _writer(tmp_path / "a")
    assert len(list(tmp_path.iterdir())) == 1
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert list(tmp_path.iterdir()) == []


def test_what_the_killed_leave_is_swept_and_what_the_living_write_is_not(tmp_path: Path):
    living, dead = _writer(tmp_path / "a"), _writer(tmp_path / "b")
    (tmp_path / ".softcell-notes").write_bytes(b"mine")
    dead.kill()
    dead.communicate()
    assert len(list(tmp_path.iterdir())) == 3
    AtomicFile(tmp_path / "c").discard()
    assert len(list(tmp_path.iterdir())) == 2
    living.kill()
    living.communicate()


def test_the_end_of_a_fork_leaves_its_parents_file_alone(tmp_path: Path):
    file = AtomicFile(tmp_path / "a")
    if (child := os.fork()) == 0:
        file.discard()
        os._exit(0)
    os.waitpid(child, 0)
    file.write(b"x")
    file.commit()
    assert (tmp_path / "a").read_bytes() == b"x"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")
def test_another_users_link_in_a_shared_folder_is_refused(tmp_path: Path, monkeypatch):
    shared = tmp_path / "shared"
    shared.mkdir()
    (tmp_path / "victim").write_bytes(b"old")
    (shared / "link").symlink_to(tmp_path / "victim")
    (shared / "folder").symlink_to(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    AtomicFile(shared / "link").discard()
    shared.chmod(0o1777)
    for link in ("link", "folder"):
        os.lchown(shared / link, 1, 1)
    for path in (shared / "link", shared / "folder" / "victim"):
        with pytest.raises(InputError, match="another user's link in a folder"):
            AtomicFile(path)
    assert (tmp_path / "victim").read_bytes() == b"old"


def test_names_that_no_file_can_have_are_one_error(tmp_path: Path):
    for name in ("n" * 300, "a\0b"):
        with pytest.raises(InputError, match="cannot write"):
            AtomicFile(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
