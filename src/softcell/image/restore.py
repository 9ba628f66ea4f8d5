"""From readings back to weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Law, channel_of, law_of
from softcell.codes.code import Salvaged, StoredTensor
from softcell.codes.families import FAMILIES, RAW
from softcell.codes.number.vector_formats import NUMBER_FORMATS
from softcell.codes.schemes import parse_scheme, schemes_that
from softcell.durations import Ages, format_age
from softcell.errors import DecodingError, FormatError, InputError
from softcell.image.cell_image import CellImage
from softcell.image.diagnosis import Diagnosis, diagnose
from softcell.image.header import ImageHeader, ImageTensor
from softcell.image.readings import CombinedReadings, Readings
from softcell.image.salvage import LostWeights, fill, lost_weights, numbers_left
from softcell.image.store_reader import ReadReport, StoredBytes, StoreReader
from softcell.progress import Progress
from softcell.weights import TensorInfo, tensor_of_bytes

_MOST_THREADS = 16
"""Threads by default: each needs some 15 MB."""

_LARGEST = {"F16": 65504.0, "BF16": float.fromhex("0x1.fep127")}
"""Largest finite number of the types that end below a bfloat16 range's end or float32."""


class Restoration:
    """Decodes an image from readings, tensor by tensor.

    Args:
        image: The image.
        readings: Its cells' readings; the decoder knows their age, unless it is unknown.
        threads: Runs of cells decoded at a time; by default one for each processor, up to 16. The
            result does not depend on it.
        age_unknown: Decode by the average law over the image's span of ages, and not by the law of
            the readings' age.
        salvage: Where code words failed, give what is left: a lost weight takes the mean of its row
            or what `replacement` has of it.
        replacement: Gives the values of a tensor, by its name, that stand in for lost ones.

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
        salvage: bool = False,
        replacement: Callable[[str], NDArray[Any]] | None = None,
    ) -> None:
        self._image, self._readings = image, readings
        self._salvage, self._replacement = salvage, replacement
        self._lost: dict[int, LostWeights] = {}
        if threads is not None and threads < 1:
            raise InputError(f"expected at least 1 thread, got {threads}")
        self._threads = threads or min(os.cpu_count() or 1, _MOST_THREADS)
        device, self._age_unknown = image.header.device, age_unknown
        self._reading: Law = (
            law_of(device, _untold(image.header))
            if age_unknown
            else channel_of(device, readings.age_seconds)
        )
        self._regions = {region.index: region for region in image.regions()}
        sources = [readings, *(readings.parts if isinstance(readings, CombinedReadings) else ())]
        self._store = StoreReader(image, sources, self._reading.average)

    @property
    def report(self) -> ReadReport:
        """The state of the code words read so far."""
        lost = (self._lost[index] for index in sorted(self._lost))
        return replace(self._store.report, lost=tuple(lost))

    def diagnosis(self) -> Diagnosis:
        """Compare the readings with what the image's levels let expect."""
        return diagnose(self._image, self._readings, self._reading.average)

    def why(self, found: Diagnosis) -> str:
        """Return why code words failed, as far as a diagnosis of the readings tells it."""
        planned = self._image.header.age_seconds
        if found.cause is not None:
            return found.cause
        if self._readings.age_seconds > planned:
            return (
                f"the image was planned for an age of {format_age(planned)}, plan it for a higher "
                "one with `softcell write --age`"
            )
        return (
            "its cells are worse than those of the device that the image was written for, and "
            "their readings do not tell why"
        )

    def tensors(self, progress: Progress | None = None) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield name and values of every tensor, in the image's order.

        Floating-point tensors come as float32, others in their own type.

        Raises:
            DecodingError: Code words failed on which a whole tensor hangs, and nothing is salvaged.
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
        try:
            stored = self._stored(tensor)
            values, lost = self._decoded(index, tensor, stored)
        except MemoryError:
            raise FormatError(
                f"tensor {tensor.info.name!r} of shape {tensor.info.shape} needs more memory than "
                "there is"
            ) from None
        if stored.failed and values.dtype.kind == "f":
            # A code word that failed can make any bit pattern: keep the network's sums finite.
            np.nan_to_num(values, copy=False)
        largest = _LARGEST.get(tensor.info.dtype)
        if largest is not None:
            # A range ends at or above the largest weight, maybe beyond the tensor's own type.
            np.clip(values, -largest, largest, out=values)
        if lost is not None and lost.any():
            self._lost[index] = lost_weights(tensor.info.name, lost)
            if self._replacement is not None:
                values[lost] = self._replacement(tensor.info.name)[lost]
            else:
                fill(values, lost, tensor.info.rows)
        return values

    def _decoded(
        self, index: int, tensor: ImageTensor, stored: StoredBytes
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Return the values of a tensor, and which are lost if the others are salvaged."""
        shape, salvage = tensor.info.shape, self._salvage and bool(stored.lost)
        if tensor.kind in FAMILIES:
            values = self._coded(index, tensor, stored)
            return values, np.isnan(values) if salvage else None

        def decode(data: NDArray[np.uint8]) -> NDArray[Any]:
            if tensor.kind == RAW:
                return _values(data, tensor.info)
            return NUMBER_FORMATS[tensor.kind].decode(data, shape)

        if salvage:
            return numbers_left(stored.data, stored.lost, decode)
        return decode(stored.data), None

    def _stored(self, tensor: ImageTensor) -> StoredBytes:
        """Return a tensor's bytes in the store."""
        data = np.empty(tensor.nbytes, np.uint8)
        self._each(
            lambda number: self._store.fill(number, tensor.offset, data),
            self._store.runs(tensor.offset, tensor.nbytes),
        )
        return self._store.stored(tensor.offset, data)

    def _coded(self, index: int, tensor: ImageTensor, in_store: StoredBytes) -> NDArray[np.float32]:
        """Return a tensor of a code from what the store has of it and from cells of its own.

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
            data=in_store.data,
            failed=in_store.failed,
            lost=in_store.lost,
            cells=tensor.cells,
            readings=readings,
            design=self._image.design,
            law=self._reading,
            each=self._each,
        )
        code = family.code_class()
        try:
            if self._salvage and in_store.lost:
                if not isinstance(code, Salvaged):
                    raise FormatError("it cannot do without them")
                return code.salvage(stored).reshape(tensor.info.shape)
            return code.decode(stored).reshape(tensor.info.shape)
        except FormatError as error:
            self._image.verify()  # a damaged file is told as such
            if self._salvage and in_store.lost:
                return np.full(tensor.info.shape, np.nan, np.float32)
            what = "side information" if family.has_cells else "the stream"
            failed, reason = in_store.failed, str(error)
            if failed:
                why = self.why(self.diagnosis())
                reason = f"{failed} of its code words failed: {why}; --salvage restores the rest"
            raise DecodingError(
                f"{what} of tensor {tensor.info.name!r} is lost: {reason}"
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
