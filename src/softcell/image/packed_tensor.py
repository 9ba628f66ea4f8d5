"""One tensor of packed cells: to levels, and back from its cells' readings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel, Law
from softcell.codes.maps.stored_maps import Maps
from softcell.codes.packed.code import PackedCode, PackedCodec, decode_packed_side
from softcell.codes.store.hard_store import DigitalStore
from softcell.errors import FormatError
from softcell.image.cell_image import RUN_CELLS, ImageTensor, Region
from softcell.image.coarse_tensor import Each, read_run
from softcell.image.readings import Readings


def packed_levels(
    rows: NDArray[np.float32], code: PackedCode, law: Law, store: DigitalStore
) -> Iterator[NDArray[np.uint8]]:
    """Yield the level indices of a tensor's cells, columns after columns.

    Args:
        rows: Weights, shape (rows, columns).
        code: The tensor's code.
        law: The law that its maps are designed for.
        store: Digital store whose levels robust cells have.
    """
    codec = PackedCodec(code, law, store)
    step = max(RUN_CELLS // max(code.rows, 1), 1)
    for first in range(0, rows.shape[1] if code.column_cells else 0, step):
        yield codec.encode(rows[:, first : first + step]).reshape(-1)


def restore_packed(
    side: NDArray[np.uint8],
    tensor: ImageTensor,
    region: Region | None,
    store: DigitalStore,
    readings: Readings,
    laws: tuple[Maps, Channel],
    each: Each,
) -> NDArray[np.float32]:
    """Return a tensor's weights.

    Args:
        side: Side information of the tensor.
        tensor: The tensor.
        region: Its cells; None if it has none.
        store: Digital store whose levels robust cells have.
        readings: Where readings come from.
        laws: The maps that it was written with, and the law that its cells are read under.
        each: Runs pieces of work.

    Raises:
        FormatError: The side information contradicts the image.
    """
    shape = tensor.info.shape
    rows = shape[0] if len(shape) > 1 else 1
    columns = tensor.info.size // rows
    code = decode_packed_side(side, rows)
    if code.cells(columns) != tensor.cells:
        raise FormatError(f"it asks for {code.cells(columns)} cells of {tensor.cells}")
    if region is None:
        return np.zeros(shape, np.float32)
    codec = PackedCodec(code, laws[0], store)
    out = np.empty((rows, columns), np.float32)
    width = code.column_cells
    step = max(RUN_CELLS // max(rows, width), 1)

    def place(first: int) -> None:
        last = min(first + step, columns)
        values = read_run(readings, region, first * width, last * width)
        out[:, first:last] = codec.decode(values.reshape(-1, width), laws[1])

    each(place, range(0, columns, step))
    return out.reshape(shape)
