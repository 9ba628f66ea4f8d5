"""Levels in the device's own unit, for the programmer of a real chip."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softcell.atomic_file import AtomicFile
from softcell.codes.code import RUN_CELLS
from softcell.devices import LEVEL_VALUES, Axis
from softcell.errors import InputError
from softcell.image.cell_image import CellImage, Region
from softcell.progress import Progress

FORMATS = (".npy", ".csv")


def export_levels(image: CellImage, path: Path | str, *, progress: Progress | None = None) -> None:
    """Write the level of every cell, in the order of `image.regions()`.

    Memory does not grow with the image: cells are handled in runs.

    Args:
        image: The image.
        path: File to write, .npy: float32, shape (cells,), in the unit of the device's level axis;
            or .csv: a line for each cell with its region, its number there, the index of its
            level (0 to 255) and the level in that unit.
        progress: Called with (what, cells done, cells in all).

    Raises:
        InputError: Another suffix, or the file cannot be written; nothing remains of it then.
        FormatError: The image was altered.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: levels are exported as {' or '.join(FORMATS)}")
    file = AtomicFile(path)
    try:
        file.write(_beginning(path.suffix, image.header.cells, image.header.device.level_axis))
        done = 0
        for region, start, indices in _runs(image):
            file.write(_encoded(path.suffix, region, start, indices, _units(image)))
            done += len(indices)
            if progress:
                progress("export", done, image.header.cells)
        file.commit()
    finally:
        file.discard()


def level_column(axis: Axis) -> str:
    """Return the title of a column of levels.

    Example:
        >>> level_column(Axis("pulse voltage", "V"))
        'pulse_voltage_V'
    """
    return "_".join([*axis.name.split(), axis.unit]).rstrip("_")


def _runs(image: CellImage) -> Iterator[tuple[Region, int, NDArray[np.uint8]]]:
    for region in image.regions():
        for start in range(0, region.cells, RUN_CELLS):
            stop = min(start + RUN_CELLS, region.cells)
            yield region, start, image.levels(region, start, stop)


def _units(image: CellImage) -> NDArray[np.float32]:
    """Return each level in the device's unit, shape (LEVELS,)."""
    return image.header.device.level_axis.to_unit(LEVEL_VALUES).astype(np.float32)


def _beginning(suffix: str, cells: int, axis: Axis) -> bytes:
    if suffix == ".csv":
        return f"region,cell,level_index,{level_column(axis)}\n".encode()
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        text, {"descr": "<f4", "fortran_order": False, "shape": (cells,)}
    )
    return text.getvalue()


def _encoded(
    suffix: str,
    region: Region,
    start: int,
    indices: NDArray[np.uint8],
    units: NDArray[np.float32],
) -> bytes:
    if suffix == ".npy":
        return units[indices].astype("<f4").tobytes()
    label = io.StringIO()
    csv.writer(label, lineterminator="").writerow([region.label])
    # Each level is put into words once, with as many digits as tell it from its neighbours.
    ends = [f"{index},{value!s}\n" for index, value in enumerate(units)]
    begin = label.getvalue()
    lines = (f"{begin},{cell},{ends[i]}" for cell, i in enumerate(indices.tolist(), start))
    return "".join(lines).encode()
