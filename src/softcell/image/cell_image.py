"""The cell image: the level of every cell, and what a decoder needs, in one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.plan_codes import store_of, store_values
from softcell.codes.code import Design
from softcell.codes.families import FAMILIES, RAW, family_of
from softcell.codes.number.vector_formats import NUMBER_FORMATS
from softcell.codes.store.hard_store import FRAMES
from softcell.codes.store.store import Store
from softcell.devices import Device, device_of
from softcell.durations import Ages
from softcell.errors import FormatError, OwnDeviceError, SoftcellError
from softcell.image.container import Container
from softcell.weights import TensorInfo

STORE = "store"
"""Section of the digital store: its code words as packed bits."""


MAPS = "maps/"
"""Beginning of the names of sections that hold maps."""
_DAMAGE = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


def levels_section(index: int) -> str:
    """Return the section that holds the levels of a tensor's analog cells, one byte a cell."""
    return f"levels/{index}"


@dataclass(frozen=True)
class ImageTensor:
    """One tensor of an image.

    Args:
        info: Name, shape and type.
        kind: A family of codes, a number format, or "raw".
        offset: Where its bytes begin in the digital store.
        nbytes: Number of its bytes in the digital store.
        cells: Number of its analog cells.
    """

    info: TensorInfo
    kind: str
    offset: int
    nbytes: int
    cells: int

    def __post_init__(self) -> None:
        name, size, family = self.info.name, self.info.size, FAMILIES.get(self.kind)
        if family is None and self.kind != RAW and self.kind not in NUMBER_FORMATS:
            family_of(self.kind, f"tensor {name!r}")  # says what to do
        has_cells = family is not None and family.has_cells
        if min(self.offset, self.nbytes, self.cells) < 0 or (self.cells and not has_cells):
            raise FormatError(f"tensor {name!r} has an impossible place or size")
        expected = self.nbytes
        if self.kind == RAW:
            expected = self.info.nbytes
        elif family is None:
            expected = size and NUMBER_FORMATS[self.kind].size(self.info.shape)
        if self.nbytes != expected or (self.nbytes == 0) != (size == 0):
            raise FormatError(f"tensor {name!r} has {self.nbytes} bytes, not its size")


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """What an image says of itself.

    Args:
        scheme: Name of the scheme.
        device: Device that the levels are for.
        ages: Age up to which the plan keeps the cells readable, or the span of ages it is for.
        store: Layout of the digital store.
        store_bytes: Information bytes in the digital store.
        payload_bytes: Those among them that are weights, and not side information.
        tensors: The tensors in their order.
        chip: The one chip that the levels are for, such as "simulated:7"; None for any.
    """

    scheme: str
    device: Device
    ages: Ages
    store: Store
    store_bytes: int
    payload_bytes: int
    tensors: tuple[ImageTensor, ...] = field(repr=False)
    chip: str | None = None

    def __post_init__(self) -> None:
        if len({tensor.info.name for tensor in self.tensors}) != len(self.tensors):
            raise FormatError("two tensors have the same name")
        end = 0
        for tensor in self.tensors:
            if tensor.offset != end:
                raise FormatError(f"tensor {tensor.info.name!r} does not begin at byte {end}")
            end += tensor.nbytes
        if end != self.store_bytes or not 0 <= self.payload_bytes <= end or self.weights == 0:
            raise FormatError(f"tensors of {end} bytes do not fill a store of {self.store_bytes}")

    @property
    def age_seconds(self) -> float:
        """Age up to which the plan keeps the cells readable."""
        return self.ages.last

    @property
    def weights(self) -> int:
        """Number of weights of the network."""
        return sum(tensor.info.size for tensor in self.tensors)

    @property
    def store_cells(self) -> int:
        """Cells of the digital store, parity included."""
        return self.store.cells(self.store_bytes)

    @property
    def analog_cells(self) -> int:
        """Cells of the analog code."""
        return sum(tensor.cells for tensor in self.tensors)

    @property
    def cells(self) -> int:
        """All cells that a decoder needs."""
        return self.analog_cells + self.store_cells

    @property
    def cells_per_weight(self) -> float:
        """All cells over all weights."""
        return self.cells / self.weights

    @property
    def side_cells_per_weight(self) -> float:
        """Cells of side information over all weights: what the store holds besides weights."""
        side = self.store_bytes - self.payload_bytes
        return self.store_cells * side / max(self.store_bytes, 1) / self.weights

    def metadata(self) -> dict[str, Any]:
        """Return plain values from which `header_of` makes the same header."""
        return {
            "scheme": self.scheme,
            **({"chip": self.chip} if self.chip is not None else {}),
            "device": self.device.definition(),
            "age_seconds": self.ages.last,
            **({} if self.ages.single else {"first_age_seconds": self.ages.first}),
            **({} if self.ages.single else {"age_told": self.ages.told}),
            "store": store_values(self.store),
            "store_bytes": self.store_bytes,
            "payload_bytes": self.payload_bytes,
            "tensors": [
                {
                    "name": t.info.name,
                    "shape": list(t.info.shape),
                    "dtype": t.info.dtype,
                    "kind": t.kind,
                    "offset": t.offset,
                    "bytes": t.nbytes,
                    "cells": t.cells,
                }
                for t in self.tensors
            ],
        }


def _ages_of(metadata: Mapping[str, Any]) -> Ages:
    last = float(metadata["age_seconds"])
    told = metadata.get("age_told", True)
    if not isinstance(told, bool):
        raise FormatError(f"age_told is true or false, got {told!r}")
    return Ages(float(metadata.get("first_age_seconds", last)), last, told)


def header_of(metadata: Mapping[str, Any]) -> ImageHeader:
    """Return the header of plain values, as made by `ImageHeader.metadata`.

    Raises:
        FormatError: The values are not an image's.
    """
    try:
        tensors = tuple(
            ImageTensor(
                TensorInfo(t["name"], tuple(t["shape"]), t["dtype"]),
                t["kind"],
                int(t["offset"]),
                int(t["bytes"]),
                int(t["cells"]),
            )
            for t in metadata["tensors"]
        )
        return ImageHeader(
            scheme=metadata["scheme"],
            device=device_of(metadata["device"]),
            ages=_ages_of(metadata),
            store=store_of(metadata["store"], optional=True),
            store_bytes=int(metadata["store_bytes"]),
            payload_bytes=int(metadata["payload_bytes"]),
            tensors=tensors,
            chip=_chip_of(metadata),
        )
    except OwnDeviceError:
        raise
    except _DAMAGE as error:
        raise FormatError(f"this file does not describe a cell image ({error})") from None


def _chip_of(metadata: Mapping[str, Any]) -> str | None:
    chip = metadata.get("chip")
    if chip is not None and not isinstance(chip, str):
        raise FormatError(f"a chip has a name, got {chip!r}")
    return chip


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


class CellImage:
    """A cell image file opened for reading; a context manager.

    Args:
        path: The file, as `softcell write` makes it.

    Raises:
        InputError: There is no such file.
        FormatError: The file is truncated, altered or no cell image.
    """

    def __init__(self, path: Path | str) -> None:
        self._container = Container(path)
        try:
            self.header = header_of(self._container.metadata)
            self._check_sections()
        except SoftcellError as error:
            self._container.close()
            kind = OwnDeviceError if isinstance(error, OwnDeviceError) else FormatError
            raise kind(f"{path}: {error}") from None

    def _check_sections(self) -> None:
        sections = self._container.sections
        for region in self.regions():
            section = STORE if region.index is None else levels_section(region.index)
            if region.index is None:
                expected = -(-self.header.store.coded_bits(self.header.store_bytes) // 8)
            else:
                expected = region.cells
            found = sections[section].nbytes if section in sections else 0
            if found != expected or sections[section].dtype != np.uint8:
                raise FormatError(f"section {section} holds {found} bytes, expected {expected}")

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


STORE_RUN = FRAMES
"""Code words handled at a time in the digital store; a multiple of 8."""
