"""Read a file of named arrays: memory-mapped, every byte under a checksum.

The layout is described in `container_index`; `ContainerWriter` writes it.
"""

from __future__ import annotations

import bisect
import contextlib
import mmap
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.closing import Closing
from softcell.errors import FormatError, InputError
from softcell.image.container_index import (
    SEGMENT_BYTES,
    Index,
    Section,
    Segment,
    decode_index,
    digest,
)
from softcell.image.container_writer import ContainerWriter

__all__ = ["Container", "ContainerWriter"]


class Container(Closing):
    """Open a container file to read ranges of its sections.

    The file is memory-mapped. A segment is verified when it is first touched, and its pages are
    given back before the next read, so that reading a file of any size from end to end keeps no
    more of it in memory than the arrays in use.

    Args:
        path: File to read.

    Raises:
        InputError: No such file.
        FormatError: Not a softcell file, of a newer version, truncated, or its index altered.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{path} is not a file; expected a softcell file")
        try:
            with open(self.path, "rb") as file:
                # An empty file cannot be mapped.
                empty = self.path.stat().st_size == 0
                self._map = None if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
        try:
            self._index: Index = decode_index(self._map or b"", self.path)
        except FormatError:
            self.close()
            raise
        self._ends = {
            name: list(accumulate(segment.nbytes for segment in section.segments))
            for name, section in self._index.sections.items()
        }
        self._verified: set[int] = set()
        self._touched: list[tuple[int, int]] = []

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

    def read(self, section: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return elements `start` to `stop` of a section and verify every segment they touch.

        Args:
            section: Name of the section.
            start: First element, 0 <= start <= stop.
            stop: One past the last, at most the section's length, which is the default.

        Returns:
            Read-only array, shape (stop - start,): a view of the file where its bytes lie in one
            run, else a copy. It stays valid after later reads and after `close`.

        Raises:
            FormatError: No such section, or a segment's checksum does not match.
            InputError: The range is not within the section.
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
        data = self._open_map()
        self._release()
        size = entry.dtype.itemsize
        runs = self._runs(section, start * size, stop * size)
        if len(runs) == 1:
            (begin, _), self._touched = runs[0], runs
            return np.frombuffer(data, entry.dtype, count=stop - start, offset=begin)
        gathered = np.empty((stop - start) * size, np.uint8)
        at = 0
        for begin, end in runs:
            gathered[at : at + end - begin] = np.frombuffer(data, np.uint8, end - begin, begin)
            at += end - begin
            self._drop_pages(begin, end)
        gathered.flags.writeable = False
        return gathered.view(entry.dtype)

    def verify(self) -> None:
        """Verify every segment of the file, in file order.

        Raises:
            FormatError: A checksum does not match; the message names the section.
        """
        self._release()
        segments = [(s, name) for name, entry in self.sections.items() for s in entry.segments]
        for segment, name in sorted(segments, key=lambda pair: pair[0].offset):
            self._verify(segment, name)

    def close(self) -> None:
        """Close the file; arrays that were read stay valid."""
        data, self._map = self._map, None
        if data is not None:
            # A view that is still in use keeps the map, which then ends with the view.
            with contextlib.suppress(BufferError):
                data.close()

    def _open_map(self) -> mmap.mmap:
        if self._map is None:
            raise InputError(f"{self.path} is closed; open it again to read")
        return self._map

    def _runs(self, section: str, first: int, last: int) -> list[tuple[int, int]]:
        """Verify bytes `first` to `last` of a section; return where they lie, merged, in order."""
        runs: list[tuple[int, int]] = []
        for segment, skipped in self._segments_from(section, first):
            if skipped >= last:
                break
            if segment.offset not in self._verified:
                self._verify(segment, section)
            begin = segment.offset + max(0, first - skipped)
            end = segment.offset + min(segment.nbytes, last - skipped)
            if runs and runs[-1][1] == begin:
                begin = runs.pop()[0]
            runs.append((begin, end))
        return runs

    def _segments_from(self, section: str, first: int) -> Iterator[tuple[Segment, int]]:
        """Yield segments from the one that holds byte `first`, each with the bytes before it."""
        ends, segments = self._ends[section], self.sections[section].segments
        for i in range(bisect.bisect_right(ends, first), len(segments)):
            yield segments[i], ends[i] - segments[i].nbytes

    def _verify(self, segment: Segment, section: str) -> None:
        running = digest()
        with memoryview(self._open_map()) as view:
            for begin in range(segment.offset, segment.end, SEGMENT_BYTES):
                end = min(segment.end, begin + SEGMENT_BYTES)
                with view[begin:end] as part:
                    running.update(part)
                self._drop_pages(begin, end)
        if running.digest() != segment.digest:
            raise FormatError(
                f"{self.path}: checksum of section {section!r} does not match at byte "
                f"{segment.offset}; copy or make the file again"
            )
        self._verified.add(segment.offset)

    def _release(self) -> None:
        """Give back the pages of the last read; a view of them faults them in again."""
        for begin, end in self._touched:
            self._drop_pages(begin, end)
        self._touched = []

    def _drop_pages(self, begin: int, end: int) -> None:
        # Pages of a map count as the process's memory until the kernel is told they may go. For
        # a read-only map of a file that never loses data. Windows has no such call.
        if hasattr(mmap, "MADV_DONTNEED"):
            page = begin - begin % mmap.PAGESIZE
            self._open_map().madvise(mmap.MADV_DONTNEED, page, end - page)
