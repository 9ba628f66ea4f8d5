"""What a code of tensors is: a record that turns a matrix into bytes and levels, and back.

Whoever adds one writes a class with `require_rows`, `encode` and `decode`, and names it in
`families`. It may have more: `columns`, so that the feedback loop can write it column by column,
`through_loop`, where the loop quantises and nothing is in cells of its own, and `maps`, which an
image keeps for its decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel, Law, channel_of, law_of
from softcell.codes.maps.stored_maps import Maps
from softcell.codes.store.store import Store
from softcell.devices import Device
from softcell.durations import Ages
from softcell.errors import FormatError, InputError

RUN_CELLS = 1 << 18
"""Cells handled at a time where a region is processed in runs; a multiple of 8."""

Each = Callable[[Callable[[Any], None], Iterable[Any]], None]
"""Does some work on every item, on several threads."""


class Part(Enum):
    """Where what a code made of a tensor goes."""

    SIDE = "side information, to the error-free store"
    WEIGHTS = "weights, to the error-free store"
    LEVELS = "level indices of cells of the tensor's own"


@dataclass(frozen=True, eq=False)
class Block:
    """A piece of an encoded tensor.

    Args:
        part: Where it goes.
        data: Bytes, or the level index of each cell, uint8, shape (n,).
    """

    part: Part
    data: NDArray[np.uint8] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Design:
    """What codes are designed for: cells, their ages, and the error-free store beside them.

    Args:
        device: The device.
        ages: Age up to which the cells must be readable, or the ages that they are read at.
        store: Error-free storage at these ages.
        stored_maps: Maps that an image keeps, as bytes by name.
    """

    device: Device
    ages: Ages
    store: Store
    stored_maps: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    @cached_property
    def channel(self) -> Channel:
        """The law of a cell at the last of the ages."""
        return channel_of(self.device, self.ages.last)

    @cached_property
    def law(self) -> Law:
        """The law of a cell over all the ages."""
        return law_of(self.device, self.ages)

    @cached_property
    def maps(self) -> Maps:
        """Maps that are designed for this law: those that are kept, others when asked for."""
        return Maps(self.law, self.stored_maps)


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """One stored matrix as a decoder finds it.

    Args:
        rows: Rows of the matrix.
        columns: Columns.
        data: What the store has of it, as decoded, shape (bytes,).
        failed: Code words it touches that could not be corrected.
        lost: Runs of bytes of `data`, from and to, that these hold.
        cells: Number of cells of its own.
        readings: Gives the readings of its cells from start to stop, shape (stop - start,), at
            most `RUN_CELLS` at a time.
        design: What it was designed for.
        law: The law of its cells when they were read.
        each: Runs pieces of work.
    """

    rows: int
    columns: int
    data: NDArray[np.uint8] = field(repr=False)
    failed: int
    lost: tuple[tuple[int, int], ...]
    cells: int
    readings: Callable[[int, int], NDArray[np.float32]]
    design: Design
    law: Law
    each: Each

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the readings of cells start to stop, however many."""
        places = range(start, stop, RUN_CELLS)
        runs = [self.readings(at, min(at + RUN_CELLS, stop)) for at in places]
        return np.concatenate(runs) if runs else np.empty(0, np.float32)

    def require_cells(self, cells: int) -> None:
        """Make sure that a code asks for the cells that there are.

        Raises:
            FormatError: It asks for others.
        """
        if cells != self.cells:
            raise FormatError(f"it asks for {cells} cells of {self.cells}")


@runtime_checkable
class Code(Protocol):
    """How one tensor is stored; a frozen dataclass of the kinds of fields that `records` reads."""

    def require_rows(self, rows: int) -> None:
        """Make sure that this is a code of a matrix of so many rows, which can be stored as it is.

        Raises:
            InputError: It is not.
        """
        ...

    def encode(self, rows: NDArray[np.float32], design: Design) -> Iterator[Block]:
        """Yield what becomes of a matrix, block by block.

        Args:
            rows: Weights, finite, shape (rows, columns).
            design: What the code was designed for.
        """
        ...

    @classmethod
    def decode(cls, stored: StoredTensor) -> NDArray[np.float32]:
        """Return the weights of a matrix, shape (rows, columns).

        Raises:
            FormatError: What the store has of it contradicts itself or the image.
        """
        ...


@runtime_checkable
class Salvaged(Protocol):
    """A code of which something is left where code words failed that hold bytes of a tensor."""

    @classmethod
    def salvage(cls, stored: StoredTensor) -> NDArray[np.float32]:
        """Return the weights of a matrix, shape (rows, columns), NaN where they are lost.

        Raises:
            FormatError: All of them are.
        """
        ...


class ColumnCodec(Protocol):
    """A code that turns one column of a matrix into levels, and readings into weights."""

    def places(self, column: int) -> NDArray[np.int64]:
        """Return the places of a column's cells among those of the tensor, shape (cells,)."""
        ...

    def encode_column(self, column: int, targets: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return their level indices, shape (cells,), for targets of shape (rows,)."""
        ...

    def decode_column(
        self,
        column: int,
        readings: NDArray[np.float32],
        targets: NDArray[np.float32],
        law: Channel,
    ) -> NDArray[np.float32]:
        """Return the weights, shape (rows,), that readings of shape (cells,) stand for.

        Of the targets is taken what the decoder has besides the readings: signs that are stored
        without error, parts in robust cells.
        """
        ...

    def admissible(self, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return targets, shape (rows, columns), as far as cells of this code may go."""
        ...


@runtime_checkable
class ByColumn(Protocol):
    """A code whose cells the feedback loop can write column by column."""

    def columns(self, rows: NDArray[np.float32], design: Design) -> ColumnCodec:
        """Return how columns become levels.

        Args:
            rows: Wanted weights, shape (rows, columns).
            design: What the code was designed for.
        """
        ...


class LoopLayer(Protocol):
    """A matrix in the feedback loop, as a code sees it that is quantised there."""

    @property
    def weights(self) -> NDArray[np.float32]:
        """Its weights, shape (rows, columns)."""
        ...

    @property
    def relative_pivots(self) -> NDArray[np.float64] | None:
        """What later columns leave of an error in each, over its mean; shape (groups, columns)."""
        ...

    def store(
        self, store: Callable[[int, NDArray[np.float32]], NDArray[np.float32]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Store the matrix column by column; return targets and what the decoder sees."""
        ...


@runtime_checkable
class QuantisedInLoop(Protocol):
    """A code without cells of its own, whose matrix the feedback loop quantises."""

    def through_loop(
        self, layer: LoopLayer, *, closed: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what is to be encoded of a matrix and what is decoded of it.

        Args:
            layer: The matrix.
            closed: Whether errors are carried on to later columns.

        Raises:
            InputError: The code was not planned for the loop.
        """
        ...


@runtime_checkable
class Mapped(Protocol):
    """A code that decodes by maps, which an image keeps."""

    def maps(self, design: Design) -> Mapping[str, NDArray[np.uint8]]:
        """Return the maps that it uses, as `pack_map` gives them, by names of its family's own."""
        ...


def two_readings(
    data: NDArray[np.uint8], lost: Iterable[tuple[int, int]]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return bytes twice, with different bits in all runs of lost bytes.

    What is decoded alike from both hangs on none of them, where each byte is decoded by itself.

    Example:
        >>> [each.tolist() for each in two_readings(np.zeros(3, np.uint8), [(1, 2)])]
        [[0, 85, 0], [0, 170, 0]]
    """
    one, other = data.copy(), data.copy()
    for start, stop in lost:
        one[start:stop], other[start:stop] = 0x55, 0xAA
    return one, other


def salvaged_bytes(code: type[Code], stored: StoredTensor, first: int) -> NDArray[np.float32]:
    """Return a matrix whose bytes from `first` on each say something of a few weights alone.

    Returns:
        Weights, shape (rows, columns), NaN where they hang on bytes that are lost.

    Raises:
        FormatError: One of the first bytes is lost, on which all weights hang.
    """
    if any(start < first for start, _ in stored.lost):
        raise FormatError("its side information is lost")
    one, other = (
        code.decode(replace(stored, data=data, failed=0, lost=()))
        for data in two_readings(stored.data, stored.lost)
    )
    return np.where(one == other, one, np.float32(np.nan))


def require_each_row(values: NDArray[Any], rows: int) -> None:
    """Make sure that a code has one entry for each row of its matrix.

    Raises:
        InputError: It has not.
    """
    if values.shape != (rows,):
        raise InputError(f"its code is for {len(values)} rows, it has {rows}")
