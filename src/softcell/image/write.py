"""Write a planned network to a cell image, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.plan import Plan, TensorCode, TensorPlan
from softcell.allocate.survey import Progress, as_rows, finite_weights
from softcell.channel import Channel, Law, channel_of, law_of
from softcell.codes.analog.code import AnalogCode, encode_rows, tables_of
from softcell.codes.analog.side_information import encode_side
from softcell.codes.coarse.code import CoarseCode, encode_coarse_side, encode_parts
from softcell.codes.entropy.code import EntropyCode
from softcell.codes.fixed_length.cells import encode_weights
from softcell.codes.fixed_length.code import FixedLengthCode
from softcell.codes.fixed_length.code import encode_side as encode_fixed_length_side
from softcell.codes.joint.code import JointCode, encode_joint, encode_joint_side
from softcell.codes.number.vector_formats import NUMBER_FORMATS
from softcell.codes.packed.code import PackedCode, encode_packed_side
from softcell.codes.store.hard_store import FRAMES, DigitalStore
from softcell.codes.store.store import Store
from softcell.errors import InputError
from softcell.image.cell_image import STORE, ImageHeader, ImageTensor, levels_section
from softcell.image.container_writer import ContainerWriter
from softcell.image.maps_section import append_maps
from softcell.image.packed_tensor import packed_levels
from softcell.weights import Weights

_RUN_WEIGHTS = 1 << 18


class _StoreWriter:
    """Bytes in, coded bits out, in runs of whole code words."""

    def __init__(self, store: Store, container: ContainerWriter) -> None:
        self._store, self._container = store, container
        self._run = FRAMES * store.frame_bytes
        self._waiting = np.empty(self._run, np.uint8)
        self._held = 0
        self.written = 0

    def append(self, data: NDArray[np.uint8]) -> None:
        self.written += len(data)
        while len(data):
            part = data[: self._run - self._held]
            self._waiting[self._held : self._held + len(part)] = part
            self._held += len(part)
            data = data[len(part) :]
            if self._held == self._run:
                self._flush()

    def finish(self) -> None:
        if self._held:
            self._flush()

    def _flush(self) -> None:
        self._container.append(STORE, self._store.encode(self._waiting[: self._held]))
        self._held = 0


class _CodeWriter:
    """Writes one coded tensor: bytes to the digital store, levels to a section of its own."""

    def __init__(
        self,
        plan: Plan,
        channel: Channel,
        law: Law,
        store: _StoreWriter,
        container: ContainerWriter,
        section: str,
    ) -> None:
        self._plan, self._channel, self._law = plan, channel, law
        self._store, self._container, self._section = store, container, section
        self.cells = 0

    def write(self, rows: NDArray[np.float32], code: TensorCode) -> int:
        """Write a tensor; return how many of its bytes in the store are weights."""
        if isinstance(code, EntropyCode):
            return self._weights(code.encode(rows))
        if isinstance(code, CoarseCode):
            bits, fine = encode_parts(rows, code, self._law)
            packed = np.packbits(bits)
            self._store.append(encode_coarse_side(code))
            stored = 0
            if code.protected:
                stored = self._weights(packed)
            else:
                robust = code.coarse_cells(rows.shape[1], self._plan.store)
                self._levels(self._plan.store.level_indices(packed, robust))
            self._levels(fine)
            return stored
        if isinstance(code, FixedLengthCode):
            bits, levels = encode_weights(rows, code, self._channel)
            self._store.append(encode_fixed_length_side(code))
            stored = self._weights(np.packbits(bits))
            self._levels(levels)
            return stored
        if isinstance(code, JointCode):
            self._store.append(encode_joint_side(code))
            self._levels(encode_joint(rows, code, self._law))
        elif isinstance(code, PackedCode):
            self._store.append(encode_packed_side(code))
            for levels in packed_levels(rows, code, self._law, _hard(self._plan.store)):
                self._levels(levels)
        else:
            self._store.append(encode_side(code, rows))
            for levels in _analog_levels(rows, code, self._channel):
                self._levels(levels)
        return 0

    def _weights(self, data: NDArray[np.uint8]) -> int:
        self._store.append(data)
        return len(data)

    def _levels(self, levels: NDArray[np.uint8]) -> None:
        self._container.append(self._section, levels)
        self.cells += len(levels)


def write_image(
    weights: Weights,
    plan: Plan,
    path: Path | str,
    *,
    chip: str | None = None,
    progress: Progress | None = None,
) -> ImageHeader:
    """Write the levels of every cell and what a decoder needs to one file.

    Args:
        weights: The network's tensors, as the plan was made for; each is read once.
        plan: The plan.
        path: File to write. It appears when it is complete and not before.
        chip: The one chip that the levels are for, after a closed write loop; None for any.
        progress: Called after every tensor.

    Returns:
        The image's header, which counts the cells.

    Raises:
        InputError: The weights are others than the plan's, or the file cannot be written.
    """
    if tuple(weights.names) != tuple(t.info.name for t in plan.tensors):
        raise InputError("the plan was made for other tensors than these weights have")
    channel, law = channel_of(plan.device, plan.age_seconds), law_of(plan.device, plan.ages)
    tensors, payload = [], 0
    with ContainerWriter(path) as container:
        store = _StoreWriter(plan.store, container)
        for index, tensor in enumerate(plan.tensors):
            if weights.info(tensor.info.name) != tensor.info:
                raise InputError(f"tensor {tensor.info.name!r} is not the one that was planned")
            offset = store.written
            cells = 0
            if tensor.code is not None:
                rows = as_rows(finite_weights(weights, tensor.info.name))
                coded = _CodeWriter(plan, channel, law, store, container, levels_section(index))
                payload += coded.write(rows, tensor.code)
                cells = coded.cells
            elif tensor.info.size:
                data, side = _bytes(weights, tensor)
                store.append(data)
                if len(tensor.info.shape) > 1 or plan.target is None:
                    payload += len(data) - side
            nbytes = store.written - offset
            tensors.append(ImageTensor(tensor.info, tensor.kind, offset, nbytes, cells))
            if progress:
                progress("write", index + 1, len(plan.tensors))
        store.finish()
        append_maps(container, plan, law)
        header = ImageHeader(
            plan.scheme,
            plan.device,
            plan.ages,
            plan.store,
            store.written,
            payload,
            tuple(tensors),
            chip,
        )
        container.finish(header.metadata())
    return header


def _hard(store: Store) -> DigitalStore:
    """Return a store of hard decisions, whose levels robust cells have."""
    if not isinstance(store, DigitalStore):
        raise InputError("robust cells need a store of hard decisions; plan with another scheme")
    return store


def _bytes(weights: Weights, tensor: TensorPlan) -> tuple[NDArray[np.uint8], int]:
    """Return the bytes of a tensor that is stored digitally, and how many of them are scales."""
    if tensor.kind == "raw":
        return weights.raw(tensor.info.name), 0
    number_format = NUMBER_FORMATS[tensor.kind]
    values = finite_weights(weights, tensor.info.name)
    try:
        return number_format.encode(values), number_format.side(tensor.info.shape)
    except InputError as error:
        raise InputError(f"tensor {tensor.info.name!r}: {error}") from None


def _analog_levels(
    rows: NDArray[np.float32], code: AnalogCode, channel: Channel
) -> Iterator[NDArray[np.uint8]]:
    """Yield the levels of the analog code, a run of weights at a time."""
    tables = tables_of(code, channel, channel)
    step = max(_RUN_WEIGHTS // rows.shape[1], 1)
    for first in range(0, len(rows), step):
        for left in range(0, rows.shape[1], _RUN_WEIGHTS):
            part = rows[first : first + step, left : left + _RUN_WEIGHTS]
            yield encode_rows(part, code.classes(part), code, tables, first)
