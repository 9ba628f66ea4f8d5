"""From readings back to weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Law, channel_of, law_of
from softcell.codes.code import RUN_CELLS, StoredTensor
from softcell.codes.families import FAMILIES, RAW
from softcell.codes.number.vector_formats import NUMBER_FORMATS
from softcell.codes.schemes import parse_scheme, schemes_that
from softcell.durations import Ages, format_age
from softcell.errors import DecodingError, FormatError, InputError
from softcell.image.cell_image import STORE_RUN, CellImage
from softcell.image.header import ImageHeader, ImageTensor
from softcell.image.readings import Readings
from softcell.image.word_checks import word_checks
from softcell.progress import Progress
from softcell.weights import TensorInfo, tensor_of_bytes

_MOST_THREADS = 16
"""Threads by default: each needs some 15 MB."""

_LARGEST = {"F16": 65504.0, "BF16": float.fromhex("0x1.fep127")}
"""Largest finite number of the types that end below a bfloat16 range's end or float32."""


@dataclass(frozen=True)
class ReadReport:
    """How the digital store fared.

    Args:
        frames: Code words read.
        failed: Code words that could not be corrected, or were into what was not stored.
        corrected: Bit errors corrected in those whose code found no more than it can correct.
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
        self._reading: Law = (
            law_of(device, _untold(image.header))
            if age_unknown
            else channel_of(device, readings.age_seconds)
        )
        self._channel = self._reading.average
        self._regions = {region.index: region for region in image.regions()}
        self._runs: dict[int, ReadReport] = {}
        self._failed: dict[int, NDArray[np.bool_]] = {}
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
        if tensor.kind in FAMILIES:
            values = self._coded(index, tensor, data, failed)
        elif tensor.kind == RAW:
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
        """Return a tensor's bytes in the store and the number of failed words that it touches."""
        word = self._image.header.store.frame_bytes
        run = STORE_RUN * word
        first, last = tensor.offset // run, (tensor.offset + tensor.nbytes - 1) // run
        out = np.empty(tensor.nbytes, np.uint8)

        def fill(number: int) -> None:
            data = self._run(number)
            start = number * run - tensor.offset
            piece = data[max(-start, 0) : tensor.nbytes - start]
            out[max(start, 0) : max(start, 0) + len(piece)] = piece

        self._each(fill, range(first, last + 1))
        words = np.concatenate([self._failed[number] for number in range(first, last + 1)])
        start = tensor.offset - first * run
        return out, int(words[start // word : -(-(start + tensor.nbytes) // word)].sum())

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
        failed = decoded.failed
        checks = self._image.word_checks(number * STORE_RUN, len(failed))
        if checks is not None:
            failed = word_checks(decoded.data, store.frame_bytes) != checks
        self._failed[number] = failed
        self._runs[number] = ReadReport(len(failed), int(failed.sum()), decoded.corrected)
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
        region, family = self._regions.get(index), FAMILIES[tensor.kind]

        def readings(start: int, stop: int) -> NDArray[np.float32]:
            if region is None:
                raise FormatError("it has no cells")
            return self._readings.read(region, start, stop)

        stored = StoredTensor(
            rows=tensor.info.rows,
            columns=tensor.info.columns,
            data=data,
            failed=failed,
            cells=tensor.cells,
            readings=readings,
            design=self._image.design,
            law=self._reading,
            each=self._each,
        )
        try:
            return family.code_class().decode(stored).reshape(tensor.info.shape)
        except FormatError as error:
            self._image.verify()  # a damaged file is told as such
            reason = f"{failed} of its code words failed" if failed else str(error)
            lost = "side information" if family.has_cells else "the stream"
            remedy = (
                "tell the decoder the age, or write the image for one that is not told"
                if self._age_unknown
                else f"the image is for an age of at most "
                f"{format_age(self._image.header.age_seconds)}, for readings of this chip in the "
                "unit of its device, and for cells that are no worse than that device"
            )
            raise DecodingError(
                f"{lost} of tensor {tensor.info.name!r} is lost: {reason}; {remedy}"
            ) from None

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
            f"{schemes_that(look_up=True)} can do without"
        )
    if header.ages.single:
        raise InputError(
            f"this image was planned for one age, {header.ages}; without knowing the age it can be "
            "read if it is written for a span, such as --age 1d..10y"
        )
    return replace(header.ages, told=False)


def _values(data: NDArray[np.uint8], info: TensorInfo) -> NDArray[Any]:
    """Return a tensor of its own bytes."""
    return tensor_of_bytes(data, info.dtype, info.name).reshape(info.shape)
