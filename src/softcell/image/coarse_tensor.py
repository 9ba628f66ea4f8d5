"""One tensor of coarse-to-fine maps from its cells' readings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Law
from softcell.codes.coarse.code import (
    decode_coarse_side,
    decode_fine,
    decode_parts,
    decoding_tables,
)
from softcell.codes.maps.stored_maps import Maps
from softcell.codes.store.hard_store import DigitalStore
from softcell.errors import FormatError
from softcell.image.cell_image import RUN_CELLS, ImageTensor, Region
from softcell.image.readings import Readings

Each = Callable[[Callable[[Any], None], Iterable[Any]], None]
"""Does some work on every item, on several threads."""


def read_run(readings: Readings, region: Region, start: int, stop: int) -> NDArray[np.float32]:
    """Return the readings of cells start to stop of a region, got RUN_CELLS at a time."""
    places = range(start, stop, RUN_CELLS)
    runs = [readings.read(region, at, min(at + RUN_CELLS, stop)) for at in places]
    return np.concatenate(runs) if runs else np.empty(0, np.float32)


def restore_coarse(
    side: NDArray[np.uint8],
    tensor: ImageTensor,
    region: Region,
    store: DigitalStore,
    readings: Readings,
    laws: tuple[Maps, Law],
    each: Each,
) -> NDArray[np.float32]:
    """Return a tensor's weights: robust cells give their parts, fine cells the place in them.

    Args:
        side: Side information of the tensor.
        tensor: The tensor.
        region: Its cells.
        store: The digital store, whose levels the robust cells have.
        readings: Where readings come from.
        laws: The maps that it was written with, and the law that its cells are read under.
        each: Runs pieces of work.

    Raises:
        FormatError: The side information contradicts the image.
    """
    shape = tensor.info.shape
    rows = shape[0] if len(shape) > 1 else 1
    columns = tensor.info.size // rows
    code, packed = decode_coarse_side(side, rows)
    coarse = code.coarse_cells(columns, store)
    if coarse + rows * columns != tensor.cells:
        raise FormatError(f"it asks for {coarse + rows * columns} cells of {tensor.cells}")
    if len(packed) != (-(-code.coarse_bits(columns) // 8) if code.protected else 0):
        raise FormatError(f"it holds {len(packed)} bytes of coarse bits")
    width = store.bits_per_symbol
    stream = np.empty(coarse * width, np.uint8)

    def detect(start: int) -> None:
        stop = min(start + RUN_CELLS, coarse)
        bits = store.detect(laws[1].average, readings.read(region, start, stop))
        stream[start * width : stop * width] = bits

    if code.protected:
        stream = np.unpackbits(packed, count=code.coarse_bits(columns))
    else:
        each(detect, range(0, coarse, RUN_CELLS))
    parts = decode_parts(stream, code, columns)
    tables = decoding_tables(code, *laws)
    out = np.empty((rows, columns), np.float32)
    step = max(RUN_CELLS // columns, 1)

    def place(first: int) -> None:
        last = min(first + step, rows)
        values = read_run(readings, region, coarse + first * columns, coarse + last * columns)
        part = parts[first:last]
        out[first:last] = decode_fine(values, part, code, tables, laws[1].bins, first)

    each(place, range(0, rows, step))
    return out.reshape(shape)
