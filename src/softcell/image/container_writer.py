"""Write a container file as a stream.

The layout is described in `container_index`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from softcell.atomic_file import AtomicFile, Target
from softcell.errors import InputError
from softcell.image.container_index import (
    DTYPES,
    HEADER,
    SEGMENT_BYTES,
    Section,
    Segment,
    digest,
    encode_tail,
    padding,
)


@dataclass
class _GrowingSection:
    dtype: np.dtype[Any]
    nbytes: int = 0
    segments: list[Segment] = field(default_factory=list)


class ContainerWriter:
    """Write a container file section by section, in pieces of any size and order.

    Nothing appears under `path` until `finish`, or until the `with` block ends without an
    exception; an exception leaves nothing behind. Memory does not grow with the file: at most
    4 MiB beyond the caller's array, and 0.2 kB for each segment of the index.

    Args:
        path: File to write; one that exists is replaced. An `AtomicFile` is completed by `finish`,
            and left to its owner.
        metadata: JSON object to keep in the file.

    Raises:
        InputError: The folder does not exist or cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from softcell.image.container import Container
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "model.cells"
        ...     with ContainerWriter(path, {"device": "ideal"}) as writer:
        ...         writer.append("levels", np.array([0, 3], np.uint8))
        ...         writer.append("scales", np.array([0.5], np.float32))
        ...         writer.append("levels", np.array([1], np.uint8))
        ...     with Container(path) as container:
        ...         container.read("levels").tolist(), container.metadata
        ([0, 3, 1], {'device': 'ideal'})
    """

    def __init__(self, path: Target, metadata: Mapping[str, Any] | None = None) -> None:
        self._metadata = metadata or {}
        self._sections: dict[str, _GrowingSection] = {}
        self._current: str | None = None
        self._segment_bytes = 0
        self._segment_digest = digest()
        self._position = len(HEADER)
        self._finished = False
        self._owned = not isinstance(path, AtomicFile)
        self._file = path if isinstance(path, AtomicFile) else AtomicFile(path)
        self._file.write(HEADER)

    def append(self, section: str, data: NDArray[Any]) -> None:
        """Add elements to the end of a section, which begins with its first piece.

        Args:
            section: Name of the section.
            data: Elements, shape (n,), n >= 0, of an integer or floating-point type of 8 to 64
                bits, the same for every piece of a section.

        Raises:
            InputError: Another shape or type; no space is left on the disk.
        """
        if data.ndim != 1:
            raise InputError(f"section {section!r}: expected shape (n,), got {data.shape}")
        if data.dtype.name not in DTYPES:
            raise InputError(
                f"section {section!r}: dtype {data.dtype} is none of {', '.join(DTYPES)}"
            )
        little = data.dtype.newbyteorder("<")
        growing = self._sections.setdefault(section, _GrowingSection(little))
        if growing.dtype != little:
            raise InputError(
                f"section {section!r} holds {growing.dtype.name}, got {data.dtype.name}; "
                "use one dtype for a section"
            )
        step = SEGMENT_BYTES // little.itemsize
        for start in range(0, data.size, step):
            piece = np.ascontiguousarray(data[start : start + step], dtype=little)
            self._write(section, growing, piece.view(np.uint8))

    def finish(self, metadata: Mapping[str, Any] | None = None) -> str:
        """Complete the file and put it in its place.

        Args:
            metadata: JSON object to keep instead of the one given at the start.

        Returns:
            Digest that names the contents, the same as `Container.digest`.

        Raises:
            InputError: Metadata that are not JSON; no space is left on the disk.
        """
        self._end_segment()
        sections = {
            name: Section(g.dtype, g.nbytes // g.dtype.itemsize, tuple(g.segments))
            for name, g in self._sections.items()
        }
        kept = self._metadata if metadata is None else metadata
        tail, name = encode_tail(kept, sections, self._position)
        self._file.write(tail)
        self._file.complete()
        if self._owned:
            self._file.commit()
        self._finished = True
        return name

    def _write(self, section: str, growing: _GrowingSection, data: NDArray[np.uint8]) -> None:
        """Write at most a segment's bytes, going on in the open segment while it has room."""
        while data.size:
            if self._current != section or self._segment_bytes == SEGMENT_BYTES:
                self._end_segment()
                self._current = section
            piece = data[: SEGMENT_BYTES - self._segment_bytes]
            self._file.write(piece.data)
            self._segment_digest.update(piece.data)
            self._segment_bytes += piece.size
            growing.nbytes += piece.size
            data = data[piece.size :]

    def _end_segment(self) -> None:
        if self._current is None:
            return
        zeros = bytes(padding(self._segment_bytes))
        self._file.write(zeros)
        self._segment_digest.update(zeros)
        segment = Segment(self._position, self._segment_bytes, self._segment_digest.digest())
        self._sections[self._current].segments.append(segment)
        self._position = segment.end
        self._current, self._segment_bytes, self._segment_digest = None, 0, digest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None and not self._finished:
                self.finish()
        finally:
            if self._owned:
                self._file.discard()
