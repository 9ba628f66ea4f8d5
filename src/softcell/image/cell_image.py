"""The cell image: the level of every cell, and what a decoder needs, in one file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softcell.closing import Closing
from softcell.codes.code import Design
from softcell.codes.store.hard_store import FRAMES
from softcell.errors import FormatError, OwnDeviceError, SoftcellError
from softcell.image.container import Container
from softcell.image.header import header_of
from softcell.image.word_checks import CHECKS
from softcell.replacement import settle

STORE = "store"
"""Section of the digital store: its code words as packed bits."""


MAPS = "maps/"
"""Beginning of the names of sections that hold maps."""


_MOST_WEIGHTS_PER_BYTE = 1 << 15
"""Weights that a byte of a file stands for at most: of nothing but zeros it is some 22,700."""


def levels_section(index: int) -> str:
    """Return the section that holds the levels of a tensor's analog cells, one byte a cell."""
    return f"levels/{index}"


@dataclass(frozen=True)
class Region:
    """A run of cells that belong together.

    Args:
        label: Name of the region: "cells/NAME" for a tensor, "store" for the digital store. It
            names the random stream of the region's cells.
        index: Number of the tensor, or None for the digital store.
        cells: Number of cells.
    """

    label: str
    index: int | None
    cells: int


class CellImage(Closing):
    """A cell image file opened for reading; a context manager.

    Args:
        path: The file, as `softcell write` makes it.

    Raises:
        InputError: There is no such file.
        FormatError: The file is truncated, altered or no cell image.
    """

    def __init__(self, path: Path | str) -> None:
        settle(Path(path))
        self._container = Container(path)
        try:
            self.header = header_of(self._container.metadata)
            self._check_sections()
        except SoftcellError as error:
            self._container.close()
            kind = OwnDeviceError if isinstance(error, OwnDeviceError) else FormatError
            raise kind(f"{path}: {error}") from None

    def _check_sections(self) -> None:
        sections, size = self._container.sections, self._container.nbytes
        if self.header.weights > size * _MOST_WEIGHTS_PER_BYTE:
            raise FormatError(f"{size} bytes cannot hold {self.header.weights} weights")
        for region in self.regions():
            section = STORE if region.index is None else levels_section(region.index)
            if region.index is None:
                expected = -(-self.header.store.coded_bits(self.header.store_bytes) // 8)
            else:
                expected = region.cells
            found = sections[section].nbytes if section in sections else 0
            if found != expected or sections[section].dtype != np.uint8:
                raise FormatError(f"section {section} holds {found} bytes, expected {expected}")
        words = self.header.store.frames(self.header.store_bytes)
        if CHECKS in sections and (
            sections[CHECKS].length != words or sections[CHECKS].dtype != np.uint32
        ):
            raise FormatError(f"section {CHECKS} is not of {words} code words")

    def regions(self) -> Iterator[Region]:
        """Yield the regions in the order in which cells are exported: tensors, then the store."""
        for index, tensor in enumerate(self.header.tensors):
            if tensor.cells:
                yield Region(f"cells/{tensor.info.name}", index, tensor.cells)
        if self.header.store_cells:
            yield Region(STORE, None, self.header.store_cells)

    def levels(self, region: Region, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the level indices of cells start to stop of a region.

        In the digital store `start` must begin a byte of coded bits (a multiple of 8 will do).

        Raises:
            FormatError: The file was altered.
        """
        if region.index is not None:
            return self._container.read(levels_section(region.index), start, stop)
        width = self.header.store.bits_per_symbol
        packed = self._container.read(STORE, start * width // 8, -(-stop * width // 8))
        padding = (stop - start) * width - 8 * len(packed)
        if padding > 0:
            packed = np.append(packed, np.uint8(0))
        return self.header.store.level_indices(packed, stop - start)

    def word_checks(self, first: int, count: int) -> NDArray[np.uint32] | None:
        """Return the checks of `count` code words; None in an image from before there were any.

        Raises:
            FormatError: The file was altered.
        """
        if CHECKS not in self._container.sections:
            return None
        return self._container.read(CHECKS, first, first + count)

    def sections(self, prefix: str) -> dict[str, NDArray[np.uint8]]:
        """Return the sections whose names begin with a prefix, by the rest of their names."""
        return {
            name.removeprefix(prefix): self._container.read(name, 0, section.length)
            for name, section in self._container.sections.items()
            if name.startswith(prefix)
        }

    @cached_property
    def design(self) -> Design:
        """What its codes were designed for, with the maps that it keeps.

        An image from before maps were kept has none: they are designed anew.

        Raises:
            FormatError: The file was altered.
        """
        header = self.header
        return Design(header.device, header.ages, header.store, self.sections(MAPS))

    @property
    def digest(self) -> str:
        """Name of the image's contents: other contents have another."""
        return self._container.digest

    def verify(self) -> None:
        """Check every byte of the file.

        Raises:
            FormatError: The file was altered.
        """
        self._container.verify()

    def close(self) -> None:
        """Close the file."""
        self._container.close()


STORE_RUN = FRAMES
"""Code words handled at a time in the digital store; a multiple of 8."""
