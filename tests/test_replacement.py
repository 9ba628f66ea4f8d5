"""Pairs of files: both old or both new, whatever fails and whenever the process dies."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from softcell import atomic_file
from softcell.atomic_file import AtomicFile, commit_together
from softcell.errors import InputError
from softcell.replacement import settle

Pair = tuple[Path, Path]
EVENTS = ("open", "fsync", "link", "rename", "replace", "unlink", "ftruncate")


@pytest.fixture(params=["together", "apart"])
def pair(tmp_path: Path, request) -> Pair:
    other = tmp_path / "other"
    other.mkdir()
    return tmp_path / "image", (other if request.param == "apart" else tmp_path) / "chip"


def put(pair: Pair, contents: bytes | None) -> None:
    for path in pair:
        path.unlink(missing_ok=True)
        if contents is not None:
            path.write_bytes(contents)


def contents(pair: Pair) -> tuple[bytes | None, ...]:
    return tuple(path.read_bytes() if path.exists() else None for path in pair)


def left(pair: Pair) -> set[str]:
    """Return what is in the folders beside the pair."""
    folders = {path.parent for path in pair}
    return {p.name for f in folders for p in f.iterdir() if p.is_file()} - {p.name for p in pair}


def replace(pair: Pair) -> None:
    files = [AtomicFile(path) for path in pair]
    for file in files:
        file.write(b"new")
    commit_together(files)


def next_run(pair: Pair) -> None:
    """Do as a new process does that reads the image and writes to both folders."""
    settle(pair[0])
    atomic_file._swept.clear()
    for path in pair:
        AtomicFile(path.with_name("another")).discard()


def in_child(work: Callable[[], None]) -> int:
    if (child := os.fork()) == 0:
        try:
            work()
            os._exit(0)
        except InputError as error:
            os._exit(2 if "nothing was written" in str(error) else 3)
        finally:
            os._exit(9)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def at_event(number: int, strike: Callable[[], None], *, after: bool = False) -> None:
    """Have `strike` called at a file event, counted from 1."""
    count = 0

    def counted(call):
        def wrapped(*args, **options):
            nonlocal count
            count += 1
            own = count
            if own == number and not after:
                strike()
            result = call(*args, **options)
            if own == number and after:
                strike()
            return result

        return wrapped

    os.fsync = lambda _: None  # what is in the page cache outlives a process
    for name in EVENTS:
        setattr(os, name, counted(getattr(os, name)))


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("before", [b"older", None])
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_event_leaves_both_old_or_both_new(pair: Pair, before, after: bool):
    found = set()
    for number in range(1, 100):
        put(pair, before)

        def work(number: int = number) -> None:
            at_event(number, kill, after=after)
            replace(pair)

        if in_child(work) == 0:
            break
        next_run(pair)
        assert contents(pair) in ((before, before), (b"new", b"new"))
        assert not left(pair)
        found.add(contents(pair))
    assert number > 15
    assert len(found) == 2


@pytest.mark.parametrize("before", [b"older", None])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_fault_at_any_event_leaves_both_old_or_both_new_at_once(pair: Pair, before, code: int):
    def fail() -> None:
        raise OSError(code, os.strerror(code))

    for number in range(1, 45):
        put(pair, before)

        def work(number: int = number) -> None:
            at_event(number, fail)
            replace(pair)

        status = in_child(work)
        assert contents(pair) in ((before, before), (b"new", b"new"))
        assert status in (0, 2, 3)
        assert contents(pair) == ((before, before) if status == 2 else (b"new", b"new"))
        next_run(pair)
        assert contents(pair) in ((before, before), (b"new", b"new"))
        assert not left(pair)
    assert status == 0


def test_a_disk_that_fails_for_good_is_told_as_it_is(pair: Pair, monkeypatch):
    put(pair, b"older")
    files = [AtomicFile(path) for path in pair]
    for file in files:
        file.write(b"new")
    renames, real = 0, os.replace

    def failing(*args) -> None:
        nonlocal renames
        renames += 1
        if renames > 1:
            raise OSError(errno.EIO, "Input/output error")
        real(*args)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", failing)
        with pytest.raises(InputError, match="cannot be put back either") as caught:
            commit_together(files)
    assert "nothing was written" not in str(caught.value)
    assert contents(pair) == (b"new", b"older")
    next_run(pair)
    assert contents(pair) == (b"older", b"older")
    assert not left(pair)


def test_a_folder_without_hard_links_will_do(pair: Pair, monkeypatch):
    def refused(*_) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    put(pair, b"older")
    monkeypatch.setattr(os, "link", refused)
    replace(pair)
    assert contents(pair) == (b"new", b"new")
    assert not left(pair)


def test_another_users_journal_is_not_obeyed(pair: Pair, monkeypatch):
    put(pair, b"older")

    def work() -> None:
        at_event(14, kill)
        replace(pair)

    in_child(work)
    journals = list(pair[0].parent.glob(".softcell-*.pair"))
    assert len(journals) == 1
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(InputError, match="another user's journal"):
        settle(pair[0])
    assert journals[0].exists()


def test_the_same_pair_is_written_over_and_over(pair: Pair):
    for _ in range(3):
        replace(pair)
    assert contents(pair) == (b"new", b"new")
    assert not left(pair)
