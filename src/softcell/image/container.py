"""Read a file of named arrays, every byte under a checksum.

The layout is described in `container_index`; `ContainerWriter` writes it.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.closing import Closing
from softcell.errors import FormatError, InputError
from softcell.image.container_index import Index, Section, Segment, decode_index, digest
from softcell.image.container_writer import ContainerWriter
from softcell.own_bytes import OwnBytes

__all__ = ["Container", "ContainerWriter"]

_HELD = 4
"""Segments in memory: threads that share the work are at neighbouring ones."""


class Container(Closing):
    """Open a container file to read ranges of its sections, from any thread.

    A segment is read into memory, verified there, and used from there: what becomes of the file
    afterwards changes nothing. The segments that were read last are kept, so that a file of any
    size is read from end to end in some 16 MiB and the arrays in use.

    Args:
        path: File to read.

    Raises:
        InputError: No such file.
        FormatError: Not a softcell file, of a newer version, truncated, or its index altered.
    """

    def __init__(self, path: Path | str) -> None:
        self._held: dict[int, NDArray[np.uint8]] = {}
        self._lock = Lock()
        self._file = OwnBytes(path, "a softcell file")
        self.path = self._file.path
        try:
            self._index: Index = decode_index(self._file)
        except (FormatError, InputError):
            self.close()
            raise
        self._ends = {
            name: list(accumulate(segment.nbytes for segment in section.segments))
            for name, section in self._index.sections.items()
        }

    @property
    def metadata(self) -> dict[str, Any]:
        """The JSON object that was given to the writer."""
        return self._index.metadata

    @property
    def sections(self) -> Mapping[str, Section]:
        """Sections by name, with `dtype` and `length`."""
        return MappingProxyType(self._index.sections)

    @property
    def digest(self) -> str:
        """Name of the contents, 32 hexadecimal digits: other contents have another digest."""
        return self._index.digest

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self._file.size

    def read(self, section: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return elements `start` to `stop` of a section, of segments that are verified.

        Args:
            section: Name of the section.
            start: First element, 0 <= start <= stop.
            stop: One past the last, at most the section's length, which is the default.

        Returns:
            Read-only array, shape (stop - start,). It stays valid after later reads and after
            `close`.

        Raises:
            FormatError: No such section, or a segment's checksum does not match.
            InputError: The range is not within the section, or the file is closed.
        """
        if section not in self.sections:
            known = ", ".join(self.sections) or "none"
            raise FormatError(f"{self.path} has no section {section!r}; its sections: {known}")
        entry = self.sections[section]
        stop = entry.length if stop is None else stop
        if not 0 <= start <= stop <= entry.length:
            raise InputError(
                f"section {section!r}: range {start} to {stop} is not within 0 to {entry.length}"
            )
        size = entry.dtype.itemsize
        first, last = start * size, stop * size
        whole = np.empty(0, np.uint8)
        for segment, skipped in self._segments_from(section, first):
            if skipped >= last:
                break
            part = self._segment(segment, section)[max(0, first - skipped) : last - skipped]
            if len(part) == last - first:
                return part.view(entry.dtype)
            if not whole.size:
                whole = np.empty(last - first, np.uint8)
            at = max(skipped - first, 0)
            whole[at : at + len(part)] = part
        whole.flags.writeable = False
        return whole.view(entry.dtype)

    def verify(self) -> None:
        """Read and verify every segment of the file anew, in file order.

        Raises:
            FormatError: A checksum does not match; the message names the section.
        """
        segments = [(s, name) for name, entry in self.sections.items() for s in entry.segments]
        for segment, name in sorted(segments, key=lambda pair: pair[0].offset):
            self._verified(segment, name)

    def close(self) -> None:
        """Close the file; arrays that were read stay valid."""
        self._file.close()
        self._held.clear()

    def _segments_from(self, section: str, first: int) -> Iterator[tuple[Segment, int]]:
        """Yield segments from the one that holds byte `first`, each with the bytes before it."""
        ends, segments = self._ends[section], self.sections[section].segments
        for i in range(bisect.bisect_right(ends, first), len(segments)):
            yield segments[i], ends[i] - segments[i].nbytes

    def _segment(self, segment: Segment, section: str) -> NDArray[np.uint8]:
        """Return the bytes of a segment, those that were read last from memory."""
        with self._lock:
            data = self._held.pop(segment.offset, None)
            if data is None:
                data = self._verified(segment, section)
            self._held[segment.offset] = data  # the latest comes last
            while len(self._held) > _HELD:
                del self._held[next(iter(self._held))]
            return data

    def _verified(self, segment: Segment, section: str) -> NDArray[np.uint8]:
        data = self._file.read(segment.offset, segment.end - segment.offset)
        running = digest()
        running.update(data.data)
        if running.digest() != segment.digest:
            raise FormatError(
                f"{self.path}: checksum of section {section!r} does not match at byte "
                f"{segment.offset}; copy or make the file again"
            )
        data.flags.writeable = False
        return data[: segment.nbytes]
