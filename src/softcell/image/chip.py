"""The chip file: a simulated memory after writing, one record for each cell."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.atomic_file import Target
from softcell.closing import Closing
from softcell.devices import Cells, SimulatedCells
from softcell.durations import format_age
from softcell.errors import FormatError, InputError
from softcell.image.cell_image import CellImage, Region
from softcell.image.readings import require_chip, simulated_chip
from softcell.progress import Progress
from softcell.records import parse_json, record_of, values_of
from softcell.weights import TensorInfo, WeightsReader, WeightsWriter

KIND = "softcell.chip/1"
"""Kind of the file, in its header."""

_CHECKSUMS = "checksums"
_LARGEST = 1e15  # beyond any quantity, and far within what float32 squares
_DTYPES = {"float32": "F32", "float64": "F64", "bool": "BOOL", "uint8": "U8", "int32": "I32"}


@dataclass(frozen=True)
class _Facts:
    """What the file says of its chip."""

    chip: str
    seed: int
    age_seconds: float
    device: Mapping[str, Any]
    image: str
    cells: int
    properties: tuple[str, ...]


def write_chip(
    image: CellImage,
    seed: int,
    path: Target,
    *,
    age_seconds: float = 0.0,
    progress: Progress | None = None,
) -> None:
    """Write an image to a simulated chip and keep the chip.

    The file is safetensors: for each region of cells one array for each property that a cell
    carries, such as "conductance/cells/conv1.weight", and SHA-256 checksums of them all. One region
    is in memory at a time, with some 20 bytes for each of its cells.

    Args:
        image: The image.
        seed: Which chip: an integer from 0.
        path: File to write. It appears when it is complete and not before; an `AtomicFile` is
            completed, and left to its owner.
        age_seconds: Age at which the chip is kept, at least 0.
        progress: Called with (what, cells done, cells in all).

    Raises:
        InputError: The image is for another chip, a bad age, or the file cannot be written.
    """
    chip, device, cells = simulated_chip(seed), image.header.device, image.header.cells
    require_chip(image, chip)
    simulated = SimulatedCells(device, seed)
    probe = _probe(simulated, age_seconds)
    facts = _Facts(
        chip=chip,
        seed=int(seed),
        age_seconds=probe.age_seconds,
        device=device.definition(),
        image=image.digest,
        cells=cells,
        properties=tuple(probe.state),
    )
    text = json.dumps(values_of(facts))
    infos = [
        TensorInfo(f"{name}/{region.label}", (region.cells,), _DTYPES[values.dtype.name])
        for region in image.regions()
        for name, values in probe.state.items()
    ]
    infos.append(TensorInfo(_CHECKSUMS, (len(infos) + 1, hashlib.sha256().digest_size), "U8"))
    digests, done = [_digest("chip", text.encode())], 0
    with WeightsWriter(path, infos, {"kind": KIND, "chip": text}) as writer:
        for region in image.regions():
            levels = image.levels(region, 0, region.cells)
            written = device.age(simulated.write(region.label, levels), age_seconds)
            for name, values in written.state.items():
                label = f"{name}/{region.label}"
                writer.write(label, values)
                digests.append(_digest(label, values))
            done += region.cells
            if progress:
                progress("chip", done, cells)
        writer.write(_CHECKSUMS, np.array([list(each) for each in digests], np.uint8))


class StoredChip(Closing):
    """A simulated chip that was kept in a file, aged and read; a context manager.

    What it reads is what `SimulatedChip` of the same seed reads, to the bit. Of the file the region
    that was read last is in memory, and the digital store.

    Args:
        image: The image that the chip was written from.
        path: File of `write_chip`; every byte of it is checked.
        age_seconds: Age at which the chip is read, at least the chip's own.
        read: Which of the reads of this chip at this age.

    Raises:
        InputError: No such file; the chip holds another image or other cells, the image is for
            another chip, or the chip is older already.
        FormatError: The file is truncated, altered or no chip.
    """

    def __init__(
        self, image: CellImage, path: Path | str, *, age_seconds: float = 0.0, read: int = 0
    ) -> None:
        if not (np.isfinite(age_seconds) and age_seconds >= 0):
            raise InputError(f"an age must be finite and at least 0 s, got {age_seconds}")
        self._image, self._read, self._age_seconds = image, read, float(age_seconds)
        self._lock = Lock()
        self._held: dict[bool, tuple[Region, Cells]] = {}
        self._file = WeightsReader(path)
        try:
            facts = self._facts()
            self._require_image(facts)
            self._chip = SimulatedCells(image.header.device, facts.seed)
            self._own_age = facts.age_seconds
            self._properties = facts.properties
            self._verify()
            if self._age_seconds < self._own_age:
                raise InputError(
                    f"{path}: this chip is {format_age(self._own_age)} old, it cannot be read at "
                    f"an age of {format_age(self._age_seconds)}; give a higher one"
                )
        except BaseException:
            self._file.close()
            raise

    @property
    def age_seconds(self) -> float:
        """Age of the cells when they are read, in seconds."""
        return self._age_seconds

    def read(self, region: Region, start: int, stop: int) -> NDArray[np.float32]:
        """Age and read cells start to stop of a region."""
        whole = self._region(region)
        part = {name: values[start:stop] for name, values in whole.state.items()}
        held = Cells(part, self._own_age)
        cells = self._chip.device.age(held, self._age_seconds - self._own_age)
        return self._chip.read(region.label, cells, start, number=self._read)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _region(self, region: Region) -> Cells:
        """Return a region's cells; the digital store is wanted between those of tensors."""
        with self._lock:
            held = self._held.get(region.index is None)
            if held is None or held[0] != region:
                state = {name: self._array(f"{name}/{region.label}") for name in self._properties}
                held = self._held[region.index is None] = region, Cells(state, self._own_age)
            return held[1]

    def _array(self, label: str) -> NDArray[Any]:
        """Return an array, whose checksum is that of these very values."""
        values = self._file.read(label)
        if _digest(label, values) != self._digests[label]:
            raise FormatError(f"{self._file.path} was altered; make the chip again")
        if not (np.abs(values) <= _LARGEST).all():
            raise FormatError(f"{self._file.path}: {label!r} holds what no cell has, NaN or more")
        return values

    def _facts(self) -> _Facts:
        """Return what the file says of the chip."""
        path, metadata = self._file.path, self._file.metadata
        if metadata.get("kind") != KIND:
            raise FormatError(
                f"{path} is no chip (its kind is {metadata.get('kind')!r}, expected {KIND!r}); "
                "give a file of `softcell write --chip`"
            )
        try:
            facts = record_of(_Facts, parse_json(metadata["chip"]), "chip", rest=True)
            if facts.seed < 0 or facts.age_seconds < 0:
                raise FormatError(f"its seed is {facts.seed}, its age {facts.age_seconds} s")
            return facts
        except (KeyError, ValueError) as error:
            raise FormatError(f"{path} does not say which chip it is ({error})") from None

    def _require_image(self, facts: _Facts) -> None:
        path, header = self._file.path, self._image.header
        require_chip(self._image, facts.chip)
        if facts.device != json.loads(json.dumps(header.device.definition())):
            raise InputError(
                f"{path}: this chip has cells of another device than {header.device.name}, which "
                "the image is for; give the chip that was written with it"
            )
        if facts.cells != header.cells or facts.image != self._image.digest:
            raise InputError(
                f"{path}: another image, of {facts.cells} cells, was written to this chip; this "
                f"one has {header.cells}; give the image and the chip that belong together"
            )

    def _verify(self) -> None:
        """Check every byte, one array in memory at a time."""
        file, path = self._file, self._file.path
        altered = FormatError(f"{path} was altered; make the chip again")
        expected = _probe(self._chip, self._own_age).state
        if self._properties != tuple(expected):
            raise altered
        labels = []
        for region in self._image.regions():
            for name, values in expected.items():
                info = TensorInfo(
                    f"{name}/{region.label}", (region.cells,), _DTYPES[values.dtype.name]
                )
                if info.name not in file.names or file.info(info.name) != info:
                    raise altered
                labels.append(info.name)
        kept = TensorInfo(_CHECKSUMS, (len(labels) + 1, hashlib.sha256().digest_size), "U8")
        if _CHECKSUMS not in file.names or file.info(_CHECKSUMS) != kept:
            raise altered
        about, *arrays = (bytes(each) for each in file.read(_CHECKSUMS))
        if about != _digest("chip", file.metadata["chip"].encode()):
            raise altered
        self._digests = dict(zip(labels, arrays, strict=True))
        for label in labels:
            self._array(label)


def _probe(chip: SimulatedCells, age_seconds: float) -> Cells:
    """Return one cell of a chip at an age: what properties its cells have, and of what types."""
    return chip.device.age(chip.write("", np.zeros(1, np.uint8)), age_seconds)


def _digest(name: str, data: bytes | NDArray[Any]) -> bytes:
    """Return the SHA-256 of a name, the type of the data and the data."""
    total = hashlib.sha256()
    if isinstance(data, bytes):
        total.update(f"{name}|".encode())
        total.update(data)
    else:
        little = np.ascontiguousarray(data).astype(data.dtype.newbyteorder("<"), copy=False)
        total.update(f"{name}|{little.dtype.str}|".encode())
        total.update(little.data)
    return total.digest()
