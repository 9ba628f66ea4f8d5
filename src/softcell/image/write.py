"""Write a planned network to a cell image, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from softcell.allocate import Plan, TensorPlan
from softcell.atomic_file import Target
from softcell.codes.code import Block, Design, Mapped, Part
from softcell.codes.families import RAW
from softcell.codes.number.vector_formats import NUMBER_FORMATS
from softcell.codes.store.hard_store import FRAMES
from softcell.codes.store.store import Store
from softcell.errors import InputError
from softcell.image.cell_image import MAPS, STORE, levels_section
from softcell.image.container_writer import ContainerWriter
from softcell.image.header import ImageHeader, ImageTensor
from softcell.image.scrambling import scrambling_bytes
from softcell.image.word_checks import CHECKS, word_checks
from softcell.progress import Progress
from softcell.weights import Weights
from softcell.weights.finite import as_rows, finite_weights


class _StoreWriter:
    """Bytes in, coded bits out, in runs of whole code words."""

    def __init__(self, store: Store, container: ContainerWriter) -> None:
        self._store, self._container = store, container
        self._run = FRAMES * store.frame_bytes
        self._waiting = np.empty(self._run, np.uint8)
        self._held = 0
        self._checks: list[NDArray[np.uint32]] = []
        self._coded = 0
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
        for checks in self._checks:
            self._container.append(CHECKS, checks)

    def _flush(self) -> None:
        data = self._waiting[: self._held]
        coded = self._store.encode(data)
        self._container.append(STORE, coded ^ scrambling_bytes(self._coded, len(coded)))
        self._coded += len(coded)
        self._checks.append(word_checks(data, self._store.frame_bytes))
        self._held = 0


def write_image(
    weights: Weights,
    plan: Plan,
    path: Target,
    *,
    chip: str | None = None,
    progress: Progress | None = None,
) -> ImageHeader:
    """Write the levels of every cell and what a decoder needs to one file.

    Args:
        weights: The network's tensors, as the plan was made for; each is read once.
        plan: The plan.
        path: File to write. It appears when it is complete and not before; an `AtomicFile` is
            completed, and left to its owner.
        chip: The one chip that the levels are for, after a closed write loop; None for any.
        progress: Called after every tensor.

    Returns:
        The image's header, which counts the cells.

    Raises:
        InputError: The weights are others than the plan's, or the file cannot be written.
    """
    if tuple(weights.names) != tuple(t.info.name for t in plan.tensors):
        raise InputError("the plan was made for other tensors than these weights have")
    tensors, payload = [], 0
    maps: dict[str, NDArray[np.uint8]] = {}
    with ContainerWriter(path) as container:
        store = _StoreWriter(plan.store, container)
        for index, tensor in enumerate(plan.tensors):
            if weights.info(tensor.info.name) != tensor.info:
                raise InputError(f"tensor {tensor.info.name!r} is not the one that was planned")
            offset, cells = store.written, 0
            for block in _blocks(weights, tensor, plan.design):
                if block.part is Part.LEVELS:
                    container.append(levels_section(index), block.data)
                    cells += len(block.data)
                    continue
                store.append(block.data)
                # Vectors that are stored beside codes are side information, all of them.
                if block.part is Part.WEIGHTS and (len(tensor.info.shape) > 1 or not plan.target):
                    payload += len(block.data)
            if isinstance(tensor.code, Mapped):
                maps |= tensor.code.maps(plan.design)
            nbytes = store.written - offset
            tensors.append(ImageTensor(tensor.info, tensor.kind, offset, nbytes, cells))
            if progress:
                progress("write", index + 1, len(plan.tensors))
        store.finish()
        for name in sorted(maps):
            container.append(MAPS + name, maps[name])
        header = ImageHeader(
            plan.scheme,
            plan.device,
            plan.ages,
            plan.store,
            store.written,
            payload,
            tuple(tensors),
            chip,
            weights.metadata,
            scrambled=True,
        )
        container.finish(header.metadata())
    return header


def _blocks(weights: Weights, tensor: TensorPlan, design: Design) -> Iterator[Block]:
    """Yield what becomes of a tensor."""
    name = tensor.info.name
    if tensor.code is not None:
        yield from tensor.code.encode(as_rows(finite_weights(weights, name)), design)
    elif tensor.kind == RAW:
        yield Block(Part.WEIGHTS, weights.raw(name))
    else:
        number_format = NUMBER_FORMATS[tensor.kind]
        side = number_format.side(tensor.info.shape)
        try:
            data = number_format.encode(finite_weights(weights, name))
        except InputError as error:
            raise InputError(f"tensor {name!r}: {error}") from None
        yield Block(Part.SIDE, data[:side])
        yield Block(Part.WEIGHTS, data[side:])
