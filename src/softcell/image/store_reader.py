"""The digital store of an image, decoded in runs of code words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel
from softcell.codes.code import RUN_CELLS
from softcell.codes.store.hard_store import DecodedRun
from softcell.codes.store.ldpc import STEP
from softcell.errors import FormatError
from softcell.image.cell_image import STORE_RUN, CellImage
from softcell.image.readings import Readings
from softcell.image.salvage import LostWeights
from softcell.image.scrambling import unscrambled
from softcell.image.word_checks import word_checks

_DOUBTFUL = round(np.log(100) / STEP)
"""Largest log-likelihood ratio, in steps, of a reading that may be an outlier: one of a hundred."""


@dataclass(frozen=True)
class ReadReport:
    """How the digital store fared.

    Args:
        frames: Code words read.
        failed: Code words that could not be corrected, or were into what was not stored.
        corrected: Bit errors corrected in those whose code found no more than it can correct.
        lost: Weights that could not be decoded, where the others were salvaged.
    """

    frames: int = 0
    failed: int = 0
    corrected: int = 0
    lost: tuple[LostWeights, ...] = ()


@dataclass(frozen=True, eq=False)
class StoredBytes:
    """Bytes of the store, and which of them are not what was written.

    Args:
        data: The bytes, shape (bytes,).
        lost: Runs of bytes, from and to, that words hold which could not be corrected.
        failed: Number of these words.
    """

    data: NDArray[np.uint8]
    lost: tuple[tuple[int, int], ...]
    failed: int


class StoreReader:
    """Decodes runs of code words; the last one is kept.

    What a word decodes to is held against its check. Where it is wrong, it is decoded again from
    what else there is: missing readings taken for the other bits, ratios that no reading makes
    certain, then each reading by itself. In an image without checks, each word is decoded once.

    Args:
        image: The image.
        readings: Readings of its cells, the best first.
        channel: The law of a cell when it was read.
    """

    def __init__(self, image: CellImage, readings: Sequence[Readings], channel: Channel) -> None:
        self._image, self._readings, self._channel = image, readings, channel
        self._region = next((each for each in image.regions() if each.index is None), None)
        self._store = image.header.store
        self._reports: dict[int, ReadReport] = {}
        self._wrong: dict[int, NDArray[np.bool_]] = {}
        self._last: dict[int, NDArray[np.uint8]] = {}

    @property
    def report(self) -> ReadReport:
        """The state of the code words read so far."""
        runs = self._reports.values()
        return ReadReport(
            sum(r.frames for r in runs), sum(r.failed for r in runs), sum(r.corrected for r in runs)
        )

    def runs(self, offset: int, nbytes: int) -> range:
        """Return the numbers of the runs that hold some bytes of the store, at least one."""
        size = STORE_RUN * self._store.frame_bytes
        return range(offset // size, (offset + nbytes - 1) // size + 1)

    def fill(self, number: int, offset: int, out: NDArray[np.uint8]) -> None:
        """Fill the part of `out`, the bytes of the store from `offset` on, that a run holds."""
        data = self._run(number)
        start = number * STORE_RUN * self._store.frame_bytes - offset
        piece = data[max(-start, 0) : len(out) - start]
        out[max(start, 0) : max(start, 0) + len(piece)] = piece

    def stored(self, offset: int, data: NDArray[np.uint8]) -> StoredBytes:
        """Return bytes from `offset` on, whose runs were all read, with what is lost of them."""
        word, runs = self._store.frame_bytes, self.runs(offset, len(data))
        wrong = np.concatenate([self._wrong[number] for number in runs])
        begin = runs.start * STORE_RUN * word
        first = (offset - begin) // word
        wrong = wrong[first : -(-(offset + len(data) - begin) // word)]
        edges = np.flatnonzero(np.diff(wrong, prepend=False, append=False)).reshape(-1, 2)
        places = np.clip((first + edges) * word + begin - offset, 0, len(data))
        lost = tuple((int(start), int(stop)) for start, stop in places)
        return StoredBytes(data, lost, int(wrong.sum()))

    def _run(self, number: int) -> NDArray[np.uint8]:
        """Return the bytes of one run of code words."""
        kept = self._last.get(number)
        if kept is not None:
            return kept
        word = self._store.frame_bytes
        first = number * STORE_RUN * word
        size = min(STORE_RUN * word, self._image.header.store_bytes - first)
        checks = self._image.word_checks(number * STORE_RUN, self._store.frames(size))
        data, wrong, corrected = np.empty(0, np.uint8), np.ones(0, np.bool_), 0
        for attempt in self._attempts(self._store.cells(first), size):
            failed = attempt.failed
            if checks is not None:
                failed = word_checks(attempt.data, word) != checks
            if not len(wrong):
                data, wrong, corrected = attempt.data, failed, attempt.corrected
            for place in np.flatnonzero(wrong & ~failed):
                data[place * word : (place + 1) * word] = attempt.data[
                    place * word : (place + 1) * word
                ]
                wrong[place] = False
            # Without checks a code would soon take a word for another, tried often enough.
            if checks is None or not wrong.any():
                break
        self._wrong[number] = wrong
        self._reports[number] = ReadReport(len(wrong), int(wrong.sum()), corrected)
        self._last = {number: data}
        return data

    def _attempts(self, start: int, size: int) -> Iterator[DecodedRun]:
        """Yield what a run of `size` bytes, from cell `start` on, decodes to, the best first."""
        width = self._store.bits_per_symbol
        for readings in self._readings:
            detected, missing = self._detected(readings, start, start + self._store.cells(size))
            if self._image.header.scrambled:
                detected = unscrambled(detected, start * width)
            yield self._store.decode(detected, size)
            if detected.dtype == np.uint8 and missing is not None:
                # Of so many erased bits at most half are wrong here or were wrong before.
                detected ^= np.repeat(missing, width).view(np.uint8)
                yield self._store.decode(detected, size)
            elif detected.dtype == np.int8:
                # As if a cell in a hundred read anything: that of those that do is less certain.
                yield self._store.decode(np.clip(detected, -_DOUBTFUL, _DOUBTFUL), size)

    def _detected(
        self, readings: Readings, start: int, stop: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Return what the store detects in some cells, and which gave no reading, if any did."""
        if self._region is None:
            raise FormatError("its store has no cells")
        detected, missing = [], []
        for at in range(start, stop, RUN_CELLS):
            values = readings.read(self._region, at, min(at + RUN_CELLS, stop))
            detected.append(self._store.detect(self._channel, values))
            missing.append(np.isnan(values))
        some = any(part.any() for part in missing)
        return np.concatenate(detected), np.concatenate(missing) if some else None
