"""Bytes of a file in memory of one's own.

A file that is memory-mapped may be altered after it was checked, and one that is shortened kills
the process. What is read here is checked and used as it was read.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from softcell.closing import Closing
from softcell.errors import FormatError, InputError

MOST_TEXT = 1 << 28
"""Bytes of a file of text that are read at most: plans of the largest networks have a tenth."""


def text_bytes(path: Path | str) -> bytes:
    """Return all bytes of a file of text, which may be a pipe.

    Raises:
        OSError: It cannot be read.
        InputError: There are more than `MOST_TEXT`, or it can be no file's name.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_TEXT + 1)
    except ValueError as error:  # a NUL byte
        raise InputError(f"cannot read {str(path)!r}: {error}") from None
    if len(data) > MOST_TEXT:
        raise InputError(f"{path}: more than {MOST_TEXT >> 20} MiB; expected a file of text")
    return data


class OwnBytes(Closing):
    """A file of which runs of bytes are read, each into an array of its own; from any thread.

    Args:
        path: The file.
        kind: What it should be, for the error.

    Attributes:
        path: The file.
        size: Its bytes when it was opened.

    Raises:
        InputError: There is no such file, or it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     _ = file.write(b"levels")
        ...     file.flush()
        ...     with OwnBytes(file.name, "text") as opened:
        ...         opened.read(2, 4).tobytes()
        b'vels'
    """

    def __init__(self, path: Path | str, kind: str) -> None:
        self.path = Path(path)
        try:
            if not self.path.is_file():
                raise InputError(f"{path} is not a file; expected {kind}")
            # Reads go straight into the array; a buffer would only copy once more.
            self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115
            self.size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
        self._lock = Lock()

    def read(self, offset: int, nbytes: int) -> NDArray[np.uint8]:
        """Return the bytes from an offset on, shape (nbytes,).

        Raises:
            InputError: The file is closed or cannot be read, or there is too little memory.
            FormatError: It was shortened, or ends before.
        """
        if self._file.closed:
            raise InputError(f"{self.path} is closed; open it again to read")
        if offset + nbytes > self.size:
            raise FormatError(f"{self.path} ends at byte {self.size}; copy it again")
        at = 0
        try:
            data = np.empty(nbytes, np.uint8)
            with self._lock:
                self._file.seek(offset)
                # The kernel gives at most 2 GiB at a time.
                while at < nbytes and (got := self._file.readinto(data[at:].data)):
                    at += got
                end = os.fstat(self._file.fileno()).st_size
        except MemoryError:
            raise InputError(f"{self.path}: no memory for {nbytes} bytes of it") from None
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror or error}") from error
        if at < nbytes:
            raise FormatError(f"{self.path} ends at byte {end}; copy it again")
        return data

    def close(self) -> None:
        """Close the file; arrays that were read stay valid."""
        self._file.close()
