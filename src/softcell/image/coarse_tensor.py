"""One tensor of coarse-to-fine maps from its cells' readings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel
from softcell.codes.analog import (
    decode_coarse_side,
    decode_fine,
    decode_parts,
    decoding_tables,
)
from softcell.codes.digital import DigitalStore
from softcell.errors import FormatError
from softcell.image.cell_image import RUN_CELLS, ImageTensor, Region
from softcell.image.readings import Readings

Each = Callable[[Callable[[Any], None], Iterable[Any]], None]
"""Does some work on every item, on several threads."""


def restore_coarse(
    side: NDArray[np.uint8],
    tensor: ImageTensor,
    region: Region,
    store: DigitalStore,
    readings: Readings,
    laws: tuple[Channel, Channel],
    each: Each,
) -> NDArray[np.float32]:
    """Return a tensor's weights: robust cells give their parts, fine cells the place in them.

    Args:
        side: Side information of the tensor.
        tensor: The tensor.
        region: Its cells.
        store: The digital store, whose levels the robust cells have.
        readings: Where readings come from.
        laws: The laws at the planned age and at the age of reading.
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
        bits = store.detect(laws[1], readings.read(region, start, stop))
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
        start = coarse + first * columns
        pieces = [
            readings.read(region, at, min(at + RUN_CELLS, start + (last - first) * columns))
            for at in range(start, start + (last - first) * columns, RUN_CELLS)
        ]
        part = parts[first:last]
        values = np.concatenate(pieces)
        out[first:last] = decode_fine(values, part, code, tables, laws[1].bins, first)

    each(place, range(0, rows, step))
    return out.reshape(shape)
