"""Several files put in the places of old ones together: all of them, or none.

No file system renames two files at once. A journal beside the first of them therefore says what
is being done before anything is, and a further link keeps every old file until the last new one
is in its place: that rename decides. Whoever finds the journal of a process that died, before it
reads or writes the file, puts the old files back, or clears up behind the new ones.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from softcell.errors import InputError

try:
    import fcntl
except ImportError:  # a platform without locks that end with their process
    fcntl = None  # type: ignore[assignment]

PREFIX = ".softcell-"
"""Beginning of the names of all files that are not to stay."""

_JOURNAL, _BACKUP = ".pair", ".old"
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
_NO_SYNC = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM)

_Identity = list[int] | None  # size and time of change; None where there is no file


class UnfinishedError(OSError):
    """Some of the files are new, and the old ones could not be put back; the journal stays."""


class NotDurableError(OSError):
    """All of the files are new, but a loss of power may bring the old ones back."""


@dataclass(frozen=True)
class _Move:
    """A file on its way; paths are relative to the journal's folder."""

    temporary: str
    target: str
    backup: str
    before: _Identity
    after: _Identity


def replace_together(moves: Sequence[tuple[Path, Path]]) -> None:
    """Rename files, each of which is whole and on the disk, to their names: all of them or none.

    Args:
        moves: Temporary names and names, at least two; each pair within one folder.

    Raises:
        UnfinishedError: It failed, and what was there could not be put back yet.
        NotDurableError: It is done, but the disk fails.
        OSError: It failed, and all is as it was.
    """
    journal = _journal_of(moves[0][1])
    with _uninterrupted(), _locked(journal, os.O_CREAT) as descriptor:
        try:
            _put_in_order(journal.parent, descriptor)
            record = [_move(journal.parent, *each) for each in moves]
            _note(descriptor, record)
            make_durable(journal.parent)
            for (_, target), move in zip(moves[:-1], record):
                if move.before is not None:
                    _keep(target, journal.parent / move.backup)
            for temporary, target in moves[:-1]:
                os.replace(temporary, target)
                make_durable(target.parent)
            os.replace(*moves[-1])
        except BaseException as error:
            try:
                replaced = _settle(journal, descriptor)
            except OSError:
                if isinstance(error, OSError):
                    raise UnfinishedError(error.errno, error.strerror) from error
                raise error from None
            if not (replaced and isinstance(error, OSError)):
                raise
        else:
            try:
                make_durable(moves[-1][1].parent)
            except OSError as error:
                raise NotDurableError(error.errno, error.strerror) from error
            with contextlib.suppress(OSError):  # the files are there: whoever comes next clears up
                _settle(journal, descriptor)


def settle(target: Path) -> None:
    """Put in order what a process that died has left of a file and those that belong to it.

    Args:
        target: The first of the files; it need not exist, and nothing need have been left.

    Raises:
        InputError: Old and new files stand side by side, and it cannot be changed.
    """
    try:
        journal = _journal_of(Path(os.path.realpath(target)))
    except ValueError:
        return  # no file has such a name
    if not os.path.lexists(journal):
        return
    try:
        with _locked(journal) as descriptor:
            _settle(journal, descriptor)
    except FileNotFoundError:
        return  # another process was quicker
    except OSError as error:
        raise InputError(
            f"{target}: writing it was cut short, and what was there cannot be put back "
            f"({error.strerror or error}); see that {target.parent} can be written"
        ) from error


def settle_folder(folder: Path) -> None:
    """Do as `settle` does for every file of a folder, as far as it can be done."""
    found: list[Path] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found += (Path(e.path) for e in entries if _is_journal(e.name))
    for journal in found:
        with contextlib.suppress(OSError), _locked(journal) as descriptor:
            _settle(journal, descriptor)


def make_durable(folder: Path) -> None:
    """Bring a rename to the disk, where folders can be synchronised.

    Raises:
        OSError: The disk fails.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep an interruption waiting until the end: it takes no longer than some renames."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    kept = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        for each, handler in kept.items():
            if handler not in (signal.SIG_IGN, None):
                signal.signal(each, lambda number, _: came.append(number))
        yield
    finally:
        for each, handler in kept.items():
            if handler is not None:
                signal.signal(each, handler)
        if came:
            signal.raise_signal(came[0])


def _journal_of(target: Path) -> Path:
    name = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]
    return target.with_name(f"{PREFIX}{name}{_JOURNAL}")


def _is_journal(name: str) -> bool:
    return name.startswith(PREFIX) and name.endswith(_JOURNAL)


def _move(folder: Path, temporary: Path, target: Path) -> _Move:
    backup = target.with_name(f"{PREFIX}{secrets.token_hex(6)}{_BACKUP}")
    return _Move(
        temporary=os.path.relpath(temporary, folder),
        target=os.path.relpath(target, folder),
        backup=os.path.relpath(backup, folder),
        before=_identity(target),
        after=_identity(temporary),
    )


def _identity(path: Path) -> _Identity:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _keep(target: Path, backup: Path) -> None:
    """Keep an old file under a second name, or under that alone where it cannot have two."""
    try:
        os.link(target, backup)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.rename(target, backup)


@contextlib.contextmanager
def _locked(journal: Path, flags: int = 0) -> Iterator[int]:
    """Open a journal of our own as soon as no living process has it.

    Raises:
        OSError: There is none, it is another user's (which could name any file), or no file.
    """
    flags |= os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
    while True:
        descriptor = os.open(journal, flags, 0o666)
        try:
            if hasattr(os, "geteuid") and os.fstat(descriptor).st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "another user's journal is there", str(journal))
            if fcntl is not None:
                with contextlib.suppress(OSError):  # not every network folder has locks
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _note(descriptor: int, record: Sequence[_Move]) -> None:
    """Write a journal: one line, whose end tells that it is whole."""
    os.ftruncate(descriptor, 0)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.seek(0)
        file.write(json.dumps([asdict(each) for each in record]).encode() + b"\n")
        file.flush()
        os.fsync(descriptor)


def _noted(descriptor: int) -> list[_Move]:
    """Return what a journal says; nothing if it was cut short, before anything was done."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        text = file.read()
    try:
        return [_Move(**each) for each in json.loads(text)] if text.endswith(b"\n") else []
    except (ValueError, TypeError):
        return []


def _settle(journal: Path, descriptor: int) -> bool:
    replaced = _put_in_order(journal.parent, descriptor)
    journal.unlink(missing_ok=True)
    return replaced


def _put_in_order(folder: Path, descriptor: int) -> bool:
    """Put old files back unless the last new one is in its place; then clear up.

    Done twice, or broken off and done again, it comes to the same.

    Returns:
        Whether the new files are in place.

    Raises:
        OSError: It cannot be done.
    """
    moves = _noted(descriptor)
    replaced = bool(moves) and _identity(folder / moves[-1].target) != moves[-1].before
    if not replaced:
        for move in reversed(moves[:-1]):
            target, backup = folder / move.target, folder / move.backup
            if backup.exists():
                os.replace(backup, target)
            elif move.before is None and _identity(target) == move.after:
                target.unlink()
            make_durable(target.parent)
    for move in moves:
        for left in (move.backup, move.temporary):
            (folder / left).unlink(missing_ok=True)
    return replaced
