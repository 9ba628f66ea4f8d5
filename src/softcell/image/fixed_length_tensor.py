"""One tensor of fixed-length indices from its cells' readings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel
from softcell.codes.fixed_length.cells import decode_weights
from softcell.codes.fixed_length.code import decode_side
from softcell.errors import FormatError
from softcell.image.cell_image import RUN_CELLS, ImageTensor, Region
from softcell.image.coarse_tensor import Each
from softcell.image.readings import Readings


def restore_fixed_length(
    data: NDArray[np.uint8],
    tensor: ImageTensor,
    region: Region | None,
    readings: Readings,
    laws: tuple[Channel, Channel],
    each: Each,
) -> NDArray[np.float32]:
    """Return a tensor's weights: protected bits from the store, the others from its cells.

    Args:
        data: What the store has of the tensor: side information and protected bits.
        tensor: The tensor.
        region: Its cells, if it has any.
        readings: Where readings come from.
        laws: The laws at the planned age and at the age of reading.
        each: Runs pieces of work.

    Raises:
        FormatError: The side information contradicts the image.
    """
    shape = tensor.info.shape
    rows = shape[0] if len(shape) > 1 else 1
    columns = tensor.info.size // rows
    code, packed = decode_side(data, rows)
    cells, protected = code.cells(columns), code.protected_bits(columns)
    if cells != tensor.cells:
        raise FormatError(f"it asks for {cells} cells of {tensor.cells}")
    if len(packed) != -(-protected // 8):
        raise FormatError(f"it holds {len(packed)} bytes of protected bits")
    modulation, width = code.modulation(laws[0]), code.label_bits
    ratios = np.empty(cells * width, np.int8)

    def detect(start: int) -> None:
        if region is not None:
            stop = min(start + RUN_CELLS, cells)
            detected = modulation.detect(laws[1], readings.read(region, start, stop))
            ratios[start * width : stop * width] = detected

    each(detect, range(0, cells, RUN_CELLS))
    bits = np.unpackbits(packed, count=protected)
    return decode_weights(bits, ratios, code, columns, modulation).reshape(shape)
