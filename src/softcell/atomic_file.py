"""A file that appears under its name only when it is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

from softcell.errors import InputError
from softcell.own_links import require_own_links
from softcell.replacement import (
    PREFIX,
    NotDurableError,
    UnfinishedError,
    make_durable,
    replace_together,
    settle,
    settle_folder,
)

try:
    import fcntl
except ImportError:  # a platform without locks that end with their process
    fcntl = None  # type: ignore[assignment]

_BUFFER_BYTES = 1 << 20
_SUFFIX = ".tmp"
_NEW_MODE = 0o666  # less the process's umask
_swept: set[Path] = set()


class AtomicFile:
    """Write bytes under a temporary name in the target's folder, then replace the target.

    Until `commit` nothing is seen under the target's name, and a file that was there before
    stays as it was; the new one takes over its permissions. Every failure of the operating system
    (a full disk above all) removes the temporary file and becomes one `InputError`; so does the
    end of the process, but for a kill, after which the next file written to the folder sweeps.

    Args:
        path: The file to write. A symbolic link is followed, but for another user's in a folder
            that everybody can write; anything that exists there must be a regular file.

    Raises:
        InputError: The folder does not exist or cannot be written, or the path is not a file's.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "levels"
        ...     file = AtomicFile(path)
        ...     file.write(b"0312")
        ...     before = path.exists()
        ...     file.commit()
        ...     before, path.read_bytes()
        (False, b'0312')
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            require_own_links(self.path)
            # Replacing the link itself would leave the file that it names out of date, and
            # replacing a device such as /dev/null would destroy it.
            self._target = Path(os.path.realpath(path))
            settle(self._target)
            mode = self._replaced_mode()
            _sweep(self._target.parent)
            name = f"{PREFIX}{secrets.token_hex(12)}{_SUFFIX}"
            self._temporary = self._target.parent / name
            # Registered before the file is there: an interruption may come at any moment.
            lock: list[int] = []
            self._end = weakref.finalize(self, _remove, lock, self._temporary, os.getpid())
            descriptor = _created(self._temporary, mode)
            # The lock lasts until the file is under its name; it tells that its writer lives.
            if fcntl is not None:
                lock.append(os.dup(descriptor))
            self._file = os.fdopen(descriptor, "wb", buffering=_BUFFER_BYTES)
        except OSError as error:
            if hasattr(self, "_end"):
                self._end()
            raise _failure(self.path, error) from error
        except InputError:
            raise
        except ValueError as error:  # a NUL byte
            raise InputError(f"cannot write {path}: {error}; choose another name") from error

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes at the current position.

        Raises:
            InputError: No space is left, or the file cannot be written; nothing remains of it.
        """
        self._require_open()
        with self._removed_on_failure():
            self._file.write(data)

    def seek(self, position: int) -> None:
        """Go on writing at `position`, in bytes from the start of the file."""
        self._require_open()
        with self._removed_on_failure():
            self._file.seek(position)

    @property
    def temporary(self) -> Path:
        """Where the bytes are until `commit`; to be read after `complete`."""
        return self._temporary

    def complete(self) -> None:
        """Make what was written durable under its temporary name; there is no more to write.

        Raises:
            InputError: No space is left; nothing remains.
        """
        self._require_open()
        with self._removed_on_failure():
            self._file.flush()
            # Some file systems only find out here that there is no space.
            os.fsync(self._file.fileno())
            self._file.close()

    def commit(self) -> None:
        """Put what was written in the target's place, and complete it before if need be.

        Raises:
            InputError: No space is left, or the target cannot be replaced; nothing remains. Or the
                disk failed after the target was replaced, which the message tells.
        """
        if not self._file.closed or not self._end.alive:
            self.complete()
        with self._removed_on_failure():
            os.replace(self._temporary, self._target)
        self._end()
        try:
            make_durable(self._target.parent)
        except OSError as error:
            raise _not_durable(self.path, error) from error

    def discard(self) -> None:
        """Remove what was written; do nothing after `commit` or an earlier `discard`."""
        # Closing flushes, which fails again on a full disk, but does close.
        with contextlib.suppress(OSError):
            self._file.close()
        self._end()

    def _replaced_mode(self) -> int | None:
        """Return the permissions of the file that is replaced, None where there is none yet."""
        try:
            mode = self._target.stat().st_mode
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(mode):
            remedy = "it is a folder; give the name of a file in it"
            raise InputError(f"cannot write {self.path}: {remedy}")
        if not stat.S_ISREG(mode):
            raise InputError(
                f"cannot write {self.path}: it is not a regular file; choose another name"
            )
        return stat.S_IMODE(mode)

    def _require_open(self) -> None:
        if self._file.closed:
            raise InputError(f"{self.path} is finished or was given up; write a new file")

    @contextlib.contextmanager
    def _removed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.discard()
            raise _failure(self.path, error) from error


Target = Path | str | AtomicFile
"""A file to write. An `AtomicFile` is completed and left to its owner, who reads and commits it."""


@contextlib.contextmanager
def written(target: Target) -> Iterator[AtomicFile]:
    """Give the file to write, and complete it where nothing fails.

    Raises:
        InputError: As for `AtomicFile`.
    """
    if isinstance(target, AtomicFile):
        yield target
        target.complete()
        return
    file = AtomicFile(target)
    try:
        yield file
        file.commit()
    finally:
        file.discard()


def commit_together(files: Sequence[AtomicFile]) -> None:
    """Put several files in their targets' places: all of them or none, whatever happens meanwhile.

    Args:
        files: The files, complete or still to be completed. After a kill amid the replacement the
            old ones are put back when the first of them is next read or written.

    Raises:
        InputError: No space is left, or a target cannot be replaced; nothing is written then, or
            the message says what is.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pair = [AtomicFile(Path(folder) / name) for name in ("image", "chip")]
        ...     for file in pair:
        ...         file.write(b"new")
        ...     commit_together(pair)
        ...     [path.name for path in sorted(Path(folder).iterdir())]
        ['chip', 'image']
    """
    try:
        for file in files:
            if not file._file.closed:
                file.complete()
        names = " and ".join(str(file.path) for file in files)
        try:
            replace_together([(file._temporary, file._target) for file in files])
        except UnfinishedError as error:
            raise InputError(
                f"cannot write {names}: {error.strerror}; what was there cannot be put back either "
                f"as long as the disk fails so, and will be when {files[0].path} is next used"
            ) from error
        except NotDurableError as error:
            raise _not_durable(names, error) from error
        except OSError as error:
            raise _failure(names, error) from error
    finally:
        for file in files:
            file.discard()


def _failure(what: Path | str, error: OSError) -> InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason, remedy = "no space left", "free some space or choose another folder"
    else:
        reason, remedy = error.strerror or str(error), "choose another name or folder"
    return InputError(f"cannot write {what}: {reason}; nothing was written; {remedy}")


def _not_durable(what: Path | str, error: OSError) -> InputError:
    return InputError(
        f"{what}: written, but it may not outlast a loss of power: {error.strerror or error}; see "
        "that the disk is sound"
    )


def _created(path: Path, mode: int | None) -> int:
    """Return the descriptor of a new file, locked where the platform has locks."""
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
    while True:
        descriptor = os.open(path, flags, _NEW_MODE if mode is None else mode & 0o600)
        try:
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(descriptor, mode)
            if fcntl is None:
                return descriptor
            with contextlib.suppress(OSError):  # not every network folder has locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:  # not swept before it was locked
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _remove(lock: list[int], temporary: Path, process: int) -> None:
    if os.getpid() != process:
        return  # a fork's end is not its parent's
    try:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    except BaseException:  # an interruption, just now
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    finally:
        for descriptor in lock:
            os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed have left in a folder, once for each folder."""
    if fcntl is None or folder in _swept:
        return
    _swept.add(folder)
    settle_folder(folder)
    found: list[str] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found += (e.path for e in entries if e.name.startswith(PREFIX) and e.name.endswith(_SUFFIX))
    for name in found:
        path = folder / name
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)
