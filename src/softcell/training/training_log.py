"""What a training says, line by line, and keeps beside its checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from softcell.atomic_file import AtomicFile
from softcell.errors import FormatError, InputError
from softcell.own_bytes import text_bytes


def left_files(checkpoint: Path) -> list[Path]:
    """Return the files that an interrupted training may leave, those that are there.

    They are the checkpoint, that of the training without the parts that go, and the log.
    """
    each = [checkpoint, without_parts(checkpoint), _log_file(checkpoint)]
    return [path for path in each if os.path.exists(path)]


def without_parts(checkpoint: Path) -> Path:
    """Return the checkpoint of the training that learns to do without some parts."""
    return checkpoint.with_stem(f"{checkpoint.stem}.drop")


class TrainingLog:
    """Lines of a training, kept in a file as they are told, so that a resumed one has them all.

    Args:
        checkpoint: File of the training's state, beside which the log is kept; None for nowhere.
        resume: Go on with the lines that are there.
        told: Called with each line.
        before: Lines of an earlier training that this one goes on from.

    Raises:
        InputError: The file cannot be read.
        FormatError: It is no text.
    """

    def __init__(
        self,
        checkpoint: Path | None,
        *,
        resume: bool = False,
        told: Callable[[str], None] | None = None,
        before: Sequence[str] = (),
    ) -> None:
        self._path, self._told = checkpoint and _log_file(checkpoint), told
        self.lines = list(before)
        if self._path is not None and resume and os.path.exists(self._path):
            self.lines = _lines(self._path)
        self._told_before = set(self.lines[len(before) :])

    def say(self, line: str) -> None:
        """Add a line. One that a training says again when it is resumed is there already."""
        if self._told:
            self._told(line)
        if line in self._told_before:
            return
        self.lines.append(line)
        if self._path is not None:
            file = AtomicFile(self._path)
            file.write("".join(f"{each}\n" for each in self.lines).encode())
            file.commit()


def _log_file(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".log")


def _lines(path: Path) -> list[str]:
    try:
        return text_bytes(path).decode().splitlines()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is no log of a training ({error}); remove it") from None
