"""A file that appears under its name only when it is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from softcell.errors import InputError

_BUFFER_BYTES = 1 << 20


class AtomicFile:
    """Write bytes under a temporary name in the target's folder, then replace the target.

    Until `commit` nothing is seen under the target's name, and a file that was there before
    stays as it was. Every failure of the operating system (a full disk above all) removes the
    temporary file and becomes one `InputError`.

    Args:
        path: The file to write. A symbolic link is followed; anything that exists there must be
            a regular file.

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
        # Replacing the link itself would leave the file that it names out of date, and replacing
        # a device such as /dev/null would destroy it.
        self._target = Path(os.path.realpath(path))
        if self._target.is_dir():
            raise InputError(f"cannot write {path}: it is a folder; give the name of a file in it")
        if self._target.exists() and not self._target.is_file():
            raise InputError(f"cannot write {path}: it is not a regular file; choose another name")
        self._temporary = self._target.parent / f".softcell-{secrets.token_hex(6)}.tmp"
        try:
            self._file = open(self._temporary, "xb", buffering=_BUFFER_BYTES)  # noqa: SIM115
        except OSError as error:
            raise self._failure(error) from error

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

    def commit(self) -> None:
        """Make what was written durable and put it in the target's place.

        Raises:
            InputError: No space is left, or the target cannot be replaced; nothing remains.
        """
        self._require_open()
        with self._removed_on_failure():
            self._file.flush()
            # Some file systems only find out here that there is no space.
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._temporary, self._target)

    def discard(self) -> None:
        """Remove what was written; do nothing after `commit` or an earlier `discard`."""
        # Closing flushes, which fails again on a full disk, but does close.
        with contextlib.suppress(OSError):
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _require_open(self) -> None:
        if self._file.closed:
            raise InputError(f"{self.path} is finished or was given up; write a new file")

    @contextlib.contextmanager
    def _removed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.discard()
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> InputError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason, remedy = "no space left", "free some space or choose another folder"
        else:
            reason, remedy = error.strerror or str(error), "choose another name or folder"
        return InputError(f"cannot write {self.path}: {reason}; nothing was written; {remedy}")
