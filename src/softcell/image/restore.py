"""From readings back to weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.survey import Progress
from softcell.channel import Law, channel_of, law_of
from softcell.codes.analog.code import decode_rows, tables_of
from softcell.codes.analog.side_information import SideInformation, decode_side
from softcell.codes.entropy.stream import decode
from softcell.codes.number.vector_formats import NUMBER_FORMATS
from softcell.codes.schemes import (
    COARSE_TO_FINE,
    ENTROPY_CODED,
    FIXED_LENGTH,
    JOINT_MAP,
    PACKED,
    parse_scheme,
)
from softcell.codes.store.hard_store import DigitalStore
from softcell.durations import Ages, format_age
from softcell.errors import FormatError, InputError, SoftcellError
from softcell.image.cell_image import RUN_CELLS, STORE_RUN, CellImage, ImageHeader, ImageTensor
from softcell.image.coarse_tensor import restore_coarse
from softcell.image.fixed_length_tensor import restore_fixed_length
from softcell.image.joint_tensor import restore_joint
from softcell.image.maps_section import maps_of_image
from softcell.image.packed_tensor import restore_packed
from softcell.image.readings import Readings
from softcell.weights import TensorInfo, tensor_of_bytes

_CODED = ("analog", COARSE_TO_FINE, JOINT_MAP, PACKED, FIXED_LENGTH, ENTROPY_CODED)
"""Kinds of tensors that are not a number format's."""

_MOST_THREADS = 16
"""Threads by default: each needs some 15 MB."""

_LARGEST = {"F16": 65504.0, "BF16": float.fromhex("0x1.fep127")}
"""Largest finite number of the types that end below a bfloat16 range's end or float32."""


class DecodingError(SoftcellError):
    """Code words failed where a single wrong bit makes the rest meaningless."""


@dataclass(frozen=True)
class ReadReport:
    """How the digital store fared.

    Args:
        frames: Code words read.
        failed: Code words that could not be corrected; their bytes are as received.
        corrected: Bit errors corrected in the others.
    """

    frames: int = 0
    failed: int = 0
    corrected: int = 0


class Restoration:
    """Decodes an image from readings, tensor by tensor.

    Args:
        image: The image.
        readings: Its cells' readings; the decoder knows their age, unless it is unknown.
        threads: Runs of cells decoded at a time; by default one for each processor, up to 16. The
            result does not depend on it.
        age_unknown: Decode by the average law over the image's span of ages, and not by the law of
            the readings' age.

    Raises:
        InputError: The image cannot be decoded so.
    """

    def __init__(
        self,
        image: CellImage,
        readings: Readings,
        *,
        threads: int | None = None,
        age_unknown: bool = False,
    ) -> None:
        self._image, self._readings = image, readings
        if threads is not None and threads < 1:
            raise InputError(f"expected at least 1 thread, got {threads}")
        self._threads = threads or min(os.cpu_count() or 1, _MOST_THREADS)
        device, self._age_unknown = image.header.device, age_unknown
        self._design = channel_of(device, image.header.age_seconds)
        self._reading: Law = (
            law_of(device, _untold(image.header))
            if age_unknown
            else channel_of(device, readings.age_seconds)
        )
        self._channel = self._reading.average
        self._regions = {region.index: region for region in image.regions()}
        self._runs: dict[int, ReadReport] = {}
        self._last: dict[int, NDArray[np.uint8]] = {}

    @property
    def report(self) -> ReadReport:
        """The state of the code words read so far."""
        runs = self._runs.values()
        return ReadReport(
            sum(r.frames for r in runs), sum(r.failed for r in runs), sum(r.corrected for r in runs)
        )

    def tensors(self, progress: Progress | None = None) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield name and values of every tensor, in the image's order.

        Floating-point tensors come as float32, others in their own type.

        Raises:
            DecodingError: Side information of an analog tensor could not be corrected.
        """
        tensors = self._image.header.tensors
        for index, tensor in enumerate(tensors):
            yield tensor.info.name, self.tensor(index)
            if progress:
                progress("read", index + 1, len(tensors))

    def tensor(self, index: int) -> NDArray[Any]:
        """Return the values of one tensor."""
        tensor = self._image.header.tensors[index]
        if tensor.info.size == 0:
            return _values(np.empty(0, np.uint8), tensor.info)
        data, failed = self._stored(tensor)
        if tensor.kind in _CODED:
            values = self._coded(index, tensor, data, failed)
        elif tensor.kind == "raw":
            values = _values(data, tensor.info)
        else:
            values = NUMBER_FORMATS[tensor.kind].decode(data, tensor.info.shape)
        if failed and values.dtype.kind == "f":
            # A code word that failed can make any bit pattern: keep the network's sums finite.
            np.nan_to_num(values, copy=False)
        largest = _LARGEST.get(tensor.info.dtype)
        if largest is not None:
            # A range ends at or above the largest weight, maybe beyond the tensor's own type.
            np.clip(values, -largest, largest, out=values)
        return values

    def _stored(self, tensor: ImageTensor) -> tuple[NDArray[np.uint8], int]:
        """Return a tensor's bytes in the digital store and the failed code words among them."""
        run = STORE_RUN * self._image.header.store.frame_bytes
        first, last = tensor.offset // run, (tensor.offset + tensor.nbytes - 1) // run
        out = np.empty(tensor.nbytes, np.uint8)

        def fill(number: int) -> None:
            data = self._run(number)
            start = number * run - tensor.offset
            piece = data[max(-start, 0) : tensor.nbytes - start]
            out[max(start, 0) : max(start, 0) + len(piece)] = piece

        self._each(fill, range(first, last + 1))
        return out, sum(self._runs[number].failed for number in range(first, last + 1))

    def _run(self, number: int) -> NDArray[np.uint8]:
        """Return the bytes of one run of code words; the last one decoded is kept."""
        kept = self._last.get(number)
        if kept is not None:
            return kept
        header = self._image.header
        store = header.store
        first = number * STORE_RUN * store.frame_bytes
        size = min(STORE_RUN * store.frame_bytes, header.store_bytes - first)
        start = store.cells(number * STORE_RUN * store.frame_bytes)
        stop = start + store.cells(size)
        region = self._regions[None]
        bits = []
        for at in range(start, stop, RUN_CELLS):
            readings = self._readings.read(region, at, min(at + RUN_CELLS, stop))
            bits.append(store.detect(self._channel, readings))
        decoded = store.decode(np.concatenate(bits), size)
        self._runs[number] = ReadReport(
            len(decoded.failed), int(decoded.failed.sum()), decoded.corrected
        )
        self._last = {number: decoded.data}
        return decoded.data

    def _coded(
        self, index: int, tensor: ImageTensor, data: NDArray[np.uint8], failed: int
    ) -> NDArray[np.float32]:
        """Return a tensor in cells of its own; `data` is what the store has of it.

        Raises:
            DecodingError: The side information contradicts itself or the image.
            FormatError: The file was altered.
        """
        try:
            if tensor.kind == ENTROPY_CODED:
                if failed:
                    raise FormatError("its bytes are not what was written")
                shape = tensor.info.shape
                rows = decode(data.tobytes(), (shape[0], tensor.info.size // shape[0]))
                return rows.reshape(shape)
            if tensor.kind == "analog":
                return self._analog(index, tensor, data)
            if tensor.kind == FIXED_LENGTH:
                own = self._design, self._channel
                # Where all bits are protected there are no cells.
                region = self._regions.get(index)
                return restore_fixed_length(data, tensor, region, self._readings, own, self._each)
            store, region = self._image.header.store, self._regions.get(index)
            law = law_of(self._image.header.device, self._image.header.ages)
            laws = maps_of_image(self._image, law), self._reading
            if tensor.kind != PACKED and region is None:
                raise FormatError("it has no cells")
            if tensor.kind == JOINT_MAP and region is not None:
                return restore_joint(data, tensor, region, self._readings, laws, self._each)
            if not isinstance(store, DigitalStore):
                raise FormatError("its robust cells need a store of hard decisions")
            if tensor.kind == PACKED or region is None:
                own_laws = laws[0], self._channel
                return restore_packed(
                    data, tensor, region, store, self._readings, own_laws, self._each
                )
            return restore_coarse(data, tensor, region, store, self._readings, laws, self._each)
        except FormatError as error:
            self._image.verify()  # a damaged file is told as such
            reason = f"{failed} code words near it failed" if failed else str(error)
            lost = "the stream" if tensor.kind == ENTROPY_CODED else "side information"
            remedy = (
                "tell the decoder the age, or write the image for one that is not told"
                if self._age_unknown
                else f"read the image at an age of at most "
                f"{format_age(self._image.header.age_seconds)}, for which it was planned"
            )
            raise DecodingError(
                f"{lost} of tensor {tensor.info.name!r} is lost: {reason}; {remedy}"
            ) from None

    def _analog(
        self, index: int, tensor: ImageTensor, data: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        shape = tensor.info.shape
        rows = shape[0] if len(shape) > 1 else 1
        side = decode_side(data, (rows, tensor.info.size // rows))
        row_cells = side.code.row_cells(side.classes)
        if int(row_cells.sum()) != tensor.cells:
            raise FormatError(f"it asks for {row_cells.sum()} cells of {tensor.cells}")
        out = np.empty(side.classes.shape, np.float32)
        region = self._regions.get(index)
        if region is None:  # every weight is a zero of the mask
            return np.zeros(shape, np.float32)
        tables = tables_of(side.code, self._design, self._channel)

        def decode(block: _Block) -> None:
            place = block.rows, block.columns
            out[place] = decode_rows(
                self._readings.read(region, block.start, block.stop),
                side.classes[place],
                side.negative[place],
                side.code,
                tables,
                block.rows.start,
            )

        self._each(decode, _blocks(side, row_cells))
        return out.reshape(shape)

    def _each(self, work: Callable[[Any], None], items: Iterable[Any]) -> None:
        items = list(items)
        if self._threads == 1 or len(items) == 1:
            for item in items:
                work(item)
            return
        with ThreadPoolExecutor(self._threads) as pool:
            for _ in pool.map(work, items):
                pass


def _untold(header: ImageHeader) -> Ages:
    """Return the ages of an image for a decoder that is not told which it reads at.

    Raises:
        InputError: Its scheme needs the age, or it was planned for a single one.
    """
    if not parse_scheme(header.scheme).look_up:
        raise InputError(
            f"an image of scheme {header.scheme!r} is decoded for a known age; one of "
            "coarse-to-fine, hybrid or joint-map can do without"
        )
    if header.ages.single:
        raise InputError(
            f"this image was planned for one age, {header.ages}; without knowing the age it can be "
            "read if it is written for a span, such as --age 1d..10y"
        )
    return replace(header.ages, told=False)


@dataclass(frozen=True)
class _Block:
    """Weights that are decoded together, and where their cells are in their region."""

    rows: slice
    columns: slice
    start: int
    stop: int


def _blocks(side: SideInformation, row_cells: NDArray[np.int64]) -> Iterator[_Block]:
    """Yield whole rows of at most RUN_CELLS cells together, and longer rows in pieces."""
    ends = np.cumsum(row_cells)
    columns = side.classes.shape[1]
    first, start = 0, 0
    while first < len(ends):
        stop_row = max(int(np.searchsorted(ends, start + RUN_CELLS, side="right")), first + 1)
        rows = slice(first, stop_row)
        width = columns
        if row_cells[first] > RUN_CELLS:
            width = max(RUN_CELLS // int(side.code.cells[first].max()), 1)
        for left in range(0, columns, width):
            piece = slice(left, left + width)
            cells = int(ends[stop_row - 1]) - start
            if width < columns:
                cells = int(side.code.row_cells(side.classes[rows, piece], first)[0])
            yield _Block(rows, piece, start, start + cells)
            start += cells
        first = stop_row


def _values(data: NDArray[np.uint8], info: TensorInfo) -> NDArray[Any]:
    """Return a tensor of its own bytes."""
    return tensor_of_bytes(data, info.dtype, info.name).reshape(info.shape)
