"""What was exchanged with a lab script, kept until the image is written.

A chip takes long to be programmed, and a cell that was is not to be programmed again. The readings
of every batch are therefore appended to a file beside the image, and are on the disk before the
next batch is sent; a programming that was broken off takes them from there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.closing import Closing
from softcell.errors import FormatError, InputError
from softcell.image.batch import Batch

try:
    import fcntl
except ImportError:  # a platform without locks that end with their process
    fcntl = None  # type: ignore[assignment]

SCHEMA = "softcell.exchange/1"
"""Kind of the file, in its first line."""

_NUMBER_BYTES = 26  # a number and its comma, at most
_LINE_BYTES = 200  # what else stands in a line, at most


def journal_path(image: Path | str) -> Path:
    """Return the file that keeps what was exchanged for an image.

    Example:
        >>> journal_path("model.cells").name
        'model.cells.exchange'
    """
    whole = Path(os.path.realpath(image))
    return whole.with_name(f"{whole.name}.exchange")


class ExchangeJournal(Closing):
    """The readings of batches, one line each behind a line that says what is programmed.

    A line is its CRC-32 and a JSON object. A last line that is torn is dropped: what it was to keep
    has to be exchanged again.

    Args:
        path: The file; where it is there, `readings` gives what it holds.
        facts: What is programmed, by name: a file that says otherwise is refused.
        restart: Begin anew whatever the file holds.
        unanswered_stay: A batch that was sent stays where the next programming finds it, so that
            the file is worth keeping before the first answer.

    Raises:
        InputError: The file is of another programming, another user's or in use, or cannot be
            written.
        FormatError: It is damaged.
    """

    def __init__(
        self,
        path: Path,
        facts: Mapping[str, str],
        *,
        restart: bool = False,
        unanswered_stay: bool = False,
    ) -> None:
        self.path = path
        self._unanswered_stay = unanswered_stay
        self.batches = 0
        self.resumed = False
        self._replayed = 0
        self._begun = False
        self._end = 0
        first = {"schema": SCHEMA, **facts}
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.fdopen(os.open(path, flags, 0o666), "rb")
        except OSError as error:
            raise self._failure(error) from error
        try:
            self._require_alone()
            if restart:
                os.ftruncate(self._file.fileno(), 0)
            self._end = self._read_through(first)
            os.ftruncate(self._file.fileno(), self._end)
            self.resumed = self._end > 0
            if not self.resumed:
                self._append(first)
            self._file.seek(0)
            self._file.readline()
        except OSError as error:
            self.close()
            raise self._failure(error) from error
        except BaseException:
            self._file.close()
            raise

    @property
    def waiting(self) -> bool:
        """Whether it holds readings that were not asked for yet."""
        return self._replayed < self.batches

    def readings(self, batch: Batch) -> NDArray[np.float64]:
        """Return what was read when a batch was programmed, shape (readings,).

        Raises:
            InputError: It is not the batch that was programmed.
        """
        values = _parsed(self._file.readline())
        self._replayed += 1
        if values is None or values.get("cells") != _digest(batch):
            raise InputError(
                f"{self.path}: batch {batch.number} of it was of other cells or levels than now: "
                "inputs, calibration or softcell are others; go on with those, or program the "
                "chip anew with --restart"
            )
        try:
            readings = np.array(values.get("readings"), np.float64)
        except (TypeError, ValueError, OverflowError):
            readings = np.empty(())
        if readings.shape != ((len(batch.places) if batch.verify else 0),):
            raise FormatError(f"{self.path}: batch {batch.number} of it is damaged; {_ANEW}")
        return readings

    @property
    def kept(self) -> str:
        """What becomes of the exchange if it is broken off now."""
        return (
            f"what was exchanged up to batch {self.batches - 1} is kept in {self.path}: the same "
            "command goes on from there"
        )

    def reserve(self, batch: Batch) -> None:
        """Make sure, before cells are programmed, that there is space to keep their readings.

        Raises:
            InputError: There is none.
        """
        self._begun = True
        if hasattr(os, "posix_fallocate"):
            size = _LINE_BYTES + _NUMBER_BYTES * len(batch.places)
            try:
                os.posix_fallocate(self._file.fileno(), self._end, size)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise self._failure(error) from error

    def keep(self, batch: Batch, values: NDArray[np.float64]) -> None:
        """Keep the readings of a batch, shape (readings,), on the disk.

        Raises:
            InputError: The disk fails.
        """
        kept = {"batch": batch.number, "cells": _digest(batch), "readings": values.tolist()}
        try:
            self._append(kept)
        except OSError as error:
            raise self._failure(error) from error
        self.batches += 1
        self._replayed += 1

    def remove(self) -> None:
        """Remove the file: the image is written.

        Raises:
            InputError: It cannot be removed, and the next programming would go on with it.
        """
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(
                f"the image is written, but {self.path} cannot be removed: "
                f"{error.strerror or error}; remove it before a chip is programmed again"
            ) from error
        finally:
            self._file.close()

    def close(self) -> None:
        """Close the file; it stays if it holds what may be gone on with."""
        if not self._file.closed:
            if not (self.batches or self.resumed or (self._unanswered_stay and self._begun)):
                self.path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), self._end)
            self._file.close()

    def _append(self, values: Mapping[str, Any]) -> None:
        line = _line(values)
        done = 0
        while done < len(line):
            done += os.pwrite(self._file.fileno(), line[done:], self._end + done)
        os.fsync(self._file.fileno())
        self._end += len(line)

    def _read_through(self, wanted: Mapping[str, str]) -> int:
        """Compare the first line, count the batches, and return where the last whole line ends."""
        end, torn = 0, 0
        for number, line in enumerate(self._file):
            values = _parsed(line)
            if values is None:
                torn = torn or number + 1
                continue
            if torn:
                raise FormatError(f"{self.path}, line {torn}: damaged; {_ANEW}")
            if number == 0:
                self._require(values, wanted)
            elif values.get("batch") != number - 1:
                raise FormatError(f"{self.path}, line {number + 1}: not the next batch; {_ANEW}")
            self.batches, end = number, end + len(line)
        if torn == 1:
            self._file.seek(0)
            if not _line(wanted).startswith(self._file.read(1 << 16)):
                raise FormatError(f"{self.path} keeps no exchange, or is damaged; {_ANEW}")
        return end

    def _require(self, found: Mapping[str, Any], wanted: Mapping[str, str]) -> None:
        others = [name for name, value in wanted.items() if found.get(name) != value]
        if others:
            raise InputError(
                f"{self.path} is of a programming that was broken off, of another "
                f"{' and '.join(others)} than now: go on with what it was begun with, or program "
                "the chip anew with --restart"
            )

    def _require_alone(self) -> None:
        if hasattr(os, "geteuid") and os.fstat(self._file.fileno()).st_uid != os.geteuid():
            raise InputError(f"{self.path} is another user's; choose another name for the image")
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{self.path} is in use: the same image is being programmed; wait for it, or "
                    "choose another name for the image"
                ) from None
            except OSError:
                pass  # not every network folder has locks

    def _failure(self, error: OSError) -> InputError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return InputError(
            f"cannot keep what is exchanged in {self.path}: "
            f"{'no space left' if full else error.strerror or error}"
        )


_ANEW = "put an unaltered one there, or program the chip anew with --restart"


def _line(values: Mapping[str, Any]) -> bytes:
    text = json.dumps(values).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _digest(batch: Batch) -> str:
    """Return a name of the cells of a batch and their levels."""
    total = hashlib.blake2b(repr((batch.region, batch.verify)).encode(), digest_size=16)
    total.update(np.ascontiguousarray(batch.places, "<i8").tobytes())
    total.update(np.ascontiguousarray(batch.level_indices, np.uint8).tobytes())
    return total.hexdigest()


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return what a line says; None if it is torn or damaged."""
    check, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or check != b"%08x" % zlib.crc32(text):
        return None
    try:
        values = json.loads(text)  # NaN stands for a cell that could not be read
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
