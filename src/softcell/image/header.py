"""What an image says of itself, and how that stands in its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from softcell.allocate.plan_codes import store_of, store_values
from softcell.codes.families import FAMILIES, RAW, family_of
from softcell.codes.number.vector_formats import NUMBER_FORMATS
from softcell.codes.store.store import Store
from softcell.devices import Device, device_of
from softcell.durations import Ages
from softcell.errors import FormatError, OwnDeviceError
from softcell.records import record_of, values_of
from softcell.weights import TensorInfo


@dataclass(frozen=True)
class ImageTensor:
    """One tensor of an image.

    Args:
        info: Name, shape and type.
        kind: A family of codes, a number format, or "raw".
        offset: Where its bytes begin in the digital store.
        nbytes: Number of its bytes in the digital store.
        cells: Number of its analog cells.
    """

    info: TensorInfo
    kind: str
    offset: int
    nbytes: int
    cells: int

    def __post_init__(self) -> None:
        name, size, family = self.info.name, self.info.size, FAMILIES.get(self.kind)
        if family is None and self.kind != RAW and self.kind not in NUMBER_FORMATS:
            family_of(self.kind, f"tensor {name!r}")  # says what to do
        has_cells = family is not None and family.has_cells
        if min(self.offset, self.nbytes, self.cells) < 0 or (self.cells and not has_cells):
            raise FormatError(f"tensor {name!r} has an impossible place or size")
        expected = self.nbytes
        if self.kind == RAW:
            expected = self.info.nbytes
        elif family is None:
            expected = size and NUMBER_FORMATS[self.kind].size(self.info.shape)
        if self.nbytes != expected or (self.nbytes == 0) != (size == 0):
            raise FormatError(f"tensor {name!r} has {self.nbytes} bytes, not its size")


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """What an image says of itself.

    Args:
        scheme: Name of the scheme.
        device: Device that the levels are for.
        ages: Age up to which the plan keeps the cells readable, or the span of ages it is for.
        store: Layout of the digital store.
        store_bytes: Information bytes in the digital store.
        payload_bytes: Those among them that are weights, and not side information.
        tensors: The tensors in their order.
        chip: The one chip that the levels are for, such as "simulated:7"; None for any.
        texts: Metadata of the file that the network came from, which go back with it. They are
            with the decoder, as all that an image says of itself, and take no cell.
        scrambled: Whether the coded bits of the store are scrambled; images from before were not.
    """

    scheme: str
    device: Device
    ages: Ages
    store: Store
    store_bytes: int
    payload_bytes: int
    tensors: tuple[ImageTensor, ...] = field(repr=False)
    chip: str | None = None
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    scrambled: bool = False

    def __post_init__(self) -> None:
        if len({tensor.info.name for tensor in self.tensors}) != len(self.tensors):
            raise FormatError("two tensors have the same name")
        end = 0
        for tensor in self.tensors:
            if tensor.offset != end:
                raise FormatError(f"tensor {tensor.info.name!r} does not begin at byte {end}")
            end += tensor.nbytes
        if end != self.store_bytes or not 0 <= self.payload_bytes <= end or self.weights == 0:
            raise FormatError(f"tensors of {end} bytes do not fill a store of {self.store_bytes}")

    @property
    def age_seconds(self) -> float:
        """Age up to which the plan keeps the cells readable."""
        return self.ages.last

    @property
    def weights(self) -> int:
        """Number of weights of the network."""
        return sum(tensor.info.size for tensor in self.tensors)

    @property
    def store_cells(self) -> int:
        """Cells of the digital store, parity included."""
        return self.store.cells(self.store_bytes)

    @property
    def analog_cells(self) -> int:
        """Cells of the analog code."""
        return sum(tensor.cells for tensor in self.tensors)

    @property
    def cells(self) -> int:
        """All cells that a decoder needs."""
        return self.analog_cells + self.store_cells

    @property
    def cells_per_weight(self) -> float:
        """All cells over all weights."""
        return self.cells / self.weights

    @property
    def side_cells_per_weight(self) -> float:
        """Cells of side information over all weights: what the store holds besides weights."""
        side = self.store_bytes - self.payload_bytes
        return self.store_cells * side / max(self.store_bytes, 1) / self.weights

    def metadata(self) -> dict[str, Any]:
        """Return plain values from which `header_of` makes the same header."""
        first, told = (None, None) if self.ages.single else (self.ages.first, self.ages.told)
        metadata = _Metadata(
            scheme=self.scheme,
            chip=self.chip,
            device=self.device.definition(),
            age_seconds=self.ages.last,
            first_age_seconds=first,
            age_told=told,
            store=store_values(self.store),
            store_bytes=self.store_bytes,
            payload_bytes=self.payload_bytes,
            tensors=tuple(
                _Tensor(i.name, i.shape, i.dtype, t.kind, t.offset, t.nbytes, t.cells)
                for t, i in ((each, each.info) for each in self.tensors)
            ),
            texts=self.texts or None,
            scrambled=self.scrambled or None,
        )
        return {name: value for name, value in values_of(metadata).items() if value is not None}


@dataclass(frozen=True)
class _Tensor:
    """A tensor as it stands in the file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str
    offset: int
    bytes: int
    cells: int

    @property
    def info(self) -> TensorInfo:
        return TensorInfo(self.name, self.shape, self.dtype)


@dataclass(frozen=True, kw_only=True)
class _Metadata:
    """A header as it stands in the file; None for what is left out."""

    scheme: str
    chip: str | None = None
    device: Mapping[str, Any]
    age_seconds: float
    first_age_seconds: float | None = None
    age_told: bool | None = None
    store: Mapping[str, Any]
    store_bytes: int
    payload_bytes: int
    tensors: tuple[_Tensor, ...]
    texts: Mapping[str, str] | None = None
    scrambled: bool | None = None

    @property
    def ages(self) -> Ages:
        """Ages that the cells are for; files from before there were spans have the last alone."""
        first = self.age_seconds if self.first_age_seconds is None else self.first_age_seconds
        return Ages(first, self.age_seconds, self.age_told is not False)


def header_of(metadata: Mapping[str, Any]) -> ImageHeader:
    """Return the header of plain values, as made by `ImageHeader.metadata`.

    Raises:
        FormatError: The values are not an image's.
    """
    try:
        found = record_of(_Metadata, metadata, "", optional=True, rest=True)
        return ImageHeader(
            scheme=found.scheme,
            device=device_of(found.device, "device"),
            ages=found.ages,
            store=store_of(found.store, optional=True),
            store_bytes=found.store_bytes,
            payload_bytes=found.payload_bytes,
            tensors=tuple(
                ImageTensor(
                    TensorInfo(t.name, t.shape, t.dtype), t.kind, t.offset, t.bytes, t.cells
                )
                for t in found.tensors
            ),
            chip=found.chip,
            texts=found.texts or {},
            scrambled=bool(found.scrambled),
        )
    except OwnDeviceError:
        raise
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise FormatError(f"this file does not describe a cell image ({error})") from None
