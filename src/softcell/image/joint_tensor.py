"""One tensor of joint maps from its cells' readings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Law
from softcell.codes.joint.code import decode_joint, decode_joint_side, joint_tables
from softcell.codes.maps.stored_maps import Maps
from softcell.errors import FormatError
from softcell.image.cell_image import RUN_CELLS, ImageTensor, Region
from softcell.image.coarse_tensor import Each, read_run
from softcell.image.readings import Readings


def restore_joint(
    side: NDArray[np.uint8],
    tensor: ImageTensor,
    region: Region,
    readings: Readings,
    laws: tuple[Maps, Law],
    each: Each,
) -> NDArray[np.float32]:
    """Return a tensor's weights, each from the readings of its one or two cells.

    Args:
        side: Side information of the tensor.
        tensor: The tensor.
        region: Its cells.
        readings: Where readings come from.
        laws: The maps that it was written with, and the law that its cells are read under.
        each: Runs pieces of work.

    Raises:
        FormatError: The side information contradicts the image.
    """
    shape = tensor.info.shape
    rows = shape[0] if len(shape) > 1 else 1
    columns = tensor.info.size // rows
    code = decode_joint_side(side, rows)
    starts = code.row_starts(columns)
    if starts[-1] != tensor.cells:
        raise FormatError(f"it asks for {starts[-1]} cells of {tensor.cells}")
    tables = joint_tables(code, *laws)
    out = np.empty((rows, columns), np.float32)
    step = max(RUN_CELLS // (2 * columns), 1)

    def place(first: int) -> None:
        some = slice(first, min(first + step, rows))
        values = read_run(readings, region, int(starts[some.start]), int(starts[some.stop]))
        out[some] = decode_joint(values, code, tables, laws[1].bins, some, columns)

    each(place, range(0, rows, step))
    return out.reshape(shape)
