"""How a lab script gets the cells to be programmed, and gives back their readings: lines of JSON
over a pipe, or CSV files in a folder.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from softcell.atomic_file import AtomicFile
from softcell.devices import Axis, Device
from softcell.errors import InputError
from softcell.image.batch import Batch
from softcell.image.export import level_column
from softcell.image.readings import measured_numbers

PROTOCOL = "softcell.program/1"
"""Name of the protocol of lines, in its first line."""

_POLL_SECONDS = 0.05


class LineExchange:
    """Batches and readings as JSON, one object a line.

    Args:
        incoming: Where the script's answers are read.
        outgoing: Where batches are written.
    """

    def __init__(self, incoming: TextIO, outgoing: TextIO) -> None:
        self._incoming, self._outgoing = incoming, outgoing

    def tell(self, facts: Mapping[str, Any]) -> None:
        """Send an object that wants no answer.

        Raises:
            InputError: Nobody reads.
        """
        try:
            self._outgoing.write(json.dumps(facts) + "\n")
            self._outgoing.flush()
        except BrokenPipeError:
            raise InputError("the lab script has gone") from None

    def __call__(self, batch: Batch) -> Any:
        """Send a batch and return the readings of the answer.

        Raises:
            InputError: The script has gone, or its answer is no object with `readings`.
        """
        self.tell(
            {
                "batch": batch.number,
                "region": batch.region,
                "places": batch.places.tolist(),
                "level_indices": batch.level_indices.tolist(),
                "levels": [float(f"{level:.9g}") for level in batch.levels],
                "verify": batch.verify,
            }
        )
        line = self._incoming.readline()
        if not line.endswith("\n"):
            raise InputError(f"{batch}: the lab script ended")
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("readings"), list):
            raise InputError(
                f'{batch}: expected a line such as {{"readings": [...]}}, got {line.strip()[:80]!r}'
            )
        if answer.get("batch", batch.number) != batch.number:
            raise InputError(f"{batch}: the answer is to batch {answer['batch']!r:.20}")
        return answer["readings"]


class FolderExchange:
    """Batches and readings as CSV files: batch-000012.csv is written, readings-000012.csv awaited.

    A file of readings must appear whole: write it under another name and rename it. What was
    answered while nobody waited is taken.

    Args:
        folder: An existing folder.
        device: Names the quantity that is programmed.
        going_on: The folder may hold files of the same exchange from before it was broken off.

    Raises:
        InputError: No such folder, or it holds files of an earlier exchange.
    """

    def __init__(self, folder: Path | str, device: Device, *, going_on: bool = False) -> None:
        self._folder, self._axis = Path(folder), device.level_axis
        if not self._folder.is_dir():
            raise InputError(f"{folder} is no folder; make it first")
        old = sorted({*self._folder.glob("batch-*.csv"), *self._folder.glob("readings-*.csv")})
        if old and not going_on:
            raise InputError(f"{folder} holds {old[0].name} of an earlier exchange; empty it")

    def __call__(self, batch: Batch) -> NDArray[np.float64]:
        """Write a batch, unless it is there, wait for its readings and return them.

        Raises:
            InputError: A file cannot be written, has no column `reading`, or is there and of
                another exchange.
        """
        path, table = self._folder / f"batch-{batch.number:06}.csv", _table(batch, self._axis)
        answer = self._folder / f"readings-{batch.number:06}.csv"
        try:
            there = path.read_bytes() if path.exists() else None
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        if there is None:
            file = AtomicFile(path)
            file.write(table.encode())
            file.commit()
        elif there != table.encode():
            raise InputError(f"{path} is of another exchange; empty {self._folder}")
        while not answer.exists():
            time.sleep(_POLL_SECONDS)
        order = {int(cell): at for at, cell in enumerate(batch.places)}
        return measured_numbers(
            answer,
            lambda region, cell: order[cell] if region == batch.region else -1,
            len(batch.places) if batch.verify else 0,
        )


def _table(batch: Batch, axis: Axis) -> str:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["region", "cell", "level_index", level_column(axis), "verify"])
    for place, index, level in zip(batch.places, batch.level_indices, batch.levels):
        lines.writerow([batch.region, place, index, f"{level:.9g}", int(batch.verify)])
    return text.getvalue()
