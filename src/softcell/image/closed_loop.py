"""A network written through the feedback loop: image and chip come into being together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.plan import Plan, TensorPlan
from softcell.atomic_file import Target
from softcell.channel import channel_of
from softcell.codes.code import ByColumn, QuantisedInLoop
from softcell.codes.families import RAW
from softcell.codes.number.vector_formats import CONSTANT, FLOAT12, NUMBER_FORMATS, is_constant
from softcell.codes.schemes import schemes_that
from softcell.curvature import Calibration
from softcell.errors import InputError
from softcell.feedback.folding import fold_normalisations
from softcell.feedback.layer import FeedbackLayer, in_loop, second_order
from softcell.feedback.memory import Memory, into
from softcell.image.header import ImageHeader
from softcell.image.write import write_image
from softcell.progress import Progress
from softcell.weights import ReplacedWeights, Weights
from softcell.weights.finite import as_rows, finite

Correct = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""Takes what the decoder will see of all tensors; returns corrected vectors."""


LayerAfterLayer = Callable[
    [Mapping[str, NDArray[Any]], Callable[[str, NDArray[np.float32]], NDArray[np.float32]]],
    Mapping[str, NDArray[Any]],
]
"""Takes all tensors and what writes one of them; returns corrected vectors."""


@dataclass(frozen=True, eq=False)
class WrittenNetwork:
    """A network that went through the loop.

    Args:
        wanted: The weights as they were to be written, by tensor.
        targets: What is to be encoded, by tensor.
        seen: What the decoder will see of it, as far as a verifying read can tell.
        cells: Cells that were programmed and verified.
        corrected: Vectors that were corrected on the way.
    """

    wanted: Mapping[str, NDArray[Any]] = field(repr=False)
    targets: Mapping[str, NDArray[Any]] = field(repr=False)
    seen: Mapping[str, NDArray[Any]] = field(repr=False)
    cells: int
    corrected: Mapping[str, NDArray[Any]] = field(default_factory=dict, repr=False)


def close_loop(
    weights: Weights,
    plan: Plan,
    calibration: Calibration,
    memory: Memory,
    *,
    sequence: LayerAfterLayer | None = None,
    feedback: bool = True,
    progress: Progress | None = None,
) -> WrittenNetwork:
    """Write the matrices of a network column by column, each absorbing the error so far.

    Args:
        weights: The network's tensors, as the plan was made for.
        plan: The plan.
        calibration: Curvature of the layers; a tensor without is written as it is.
        memory: Where columns are programmed. Codes that quantise and store without error do not
            use it.
        sequence: Has matrices written in the order in which the network uses them, each fitted to
            what those before it give; None to write them as they are.
        feedback: False to write and verify but carry no error on: the open loop.
        progress: Called after every tensor.

    Raises:
        InputError: A code that cannot be written column by column, or a digital one that was
            planned without the calibration.
    """
    loop = _Loop(plan, calibration if feedback else None, memory, progress)
    plans = {tensor.info.name: tensor for tensor in plan.tensors}
    corrected: Mapping[str, NDArray[Any]] = {}
    if sequence is not None:
        state = {name: weights.read(name) for name in plans}

        def fitted(name: str, wanted: NDArray[np.float32]) -> NDArray[np.float32]:
            # What is zero has been pruned, and stays so.
            return loop.write(plans[name], np.where(state[name] == 0, np.float32(0), wanted))

        corrected = sequence(state, fitted)
    for name, tensor in plans.items():
        if name not in loop.seen:
            loop.write(tensor, weights.read(name))
    wanted, targets, seen = (
        {name: found[name] for name in plans} for found in (loop.wanted, loop.targets, loop.seen)
    )
    return WrittenNetwork(wanted, targets, seen, loop.cells, corrected)


class _Loop:
    """Writes one tensor after the other."""

    def __init__(
        self,
        plan: Plan,
        calibration: Calibration | None,
        memory: Memory,
        progress: Progress | None,
    ) -> None:
        self._plan, self._calibration, self._memory = plan, calibration, memory
        self._progress = progress
        self.wanted: dict[str, NDArray[Any]] = {}
        self.targets: dict[str, NDArray[Any]] = {}
        self.seen: dict[str, NDArray[Any]] = {}
        self.cells = 0

    def write(self, tensor: TensorPlan, values: NDArray[Any]) -> NDArray[Any]:
        """Write a tensor with these values, of its shape; return what the decoder will see."""
        name, shape = tensor.info.name, tensor.info.shape
        if tensor.code is None:
            wanted = back = values
            if tensor.kind != RAW and tensor.info.size:
                number_format = NUMBER_FORMATS[tensor.kind]
                back = number_format.decode(number_format.encode(finite(values, name)), shape)
        else:
            wanted, back = self._coded(as_rows(finite(values, name)), tensor)
        self.wanted[name] = values
        self.targets[name], self.seen[name] = wanted.reshape(shape), back.reshape(shape)
        if self._progress:
            self._progress("program", len(self.seen), len(self._plan.tensors))
        return self.seen[name]

    def _coded(
        self, rows: NDArray[np.float32], tensor: TensorPlan
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        name, known = tensor.info.name, self._calibration
        layer = in_loop(name, rows, None if known is None else known.curvature(name))
        wanted, back, cells = store_matrix(
            layer, tensor, self._plan, self._memory, closed=known is not None
        )
        self.cells += cells
        return wanted, back


def store_matrix(
    layer: FeedbackLayer, tensor: TensorPlan, plan: Plan, memory: Memory, *, closed: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Store one matrix by its plan, column by column.

    Args:
        layer: The matrix, with the curvature that its loop goes by, if any.
        tensor: Its plan.
        plan: The network's.
        memory: Where columns are programmed.
        closed: Whether the network was planned for the closed loop.

    Returns:
        What is to be encoded and what the decoder will see of it, each of shape (rows, columns),
        and the cells that were programmed and verified.

    Raises:
        InputError: The code cannot be written column by column, or not in a closed loop.
    """
    name, code = tensor.info.name, tensor.code
    if isinstance(code, QuantisedInLoop):
        try:
            return *code.through_loop(layer, closed=closed), 0
        except InputError as error:
            raise InputError(f"tensor {name!r}: {error}") from None
    if not isinstance(code, ByColumn):
        raise InputError(
            f"scheme {plan.scheme!r} is not written column by column; use one of "
            f"{schemes_that(takes_feedback=True)}, or of the analog code"
        )
    codec = code.columns(layer.weights, plan.design)
    store = into(memory, f"cells/{name}", codec, channel_of(plan.device))
    cells = sum(len(codec.places(column)) for column in range(layer.weights.shape[1]))
    wanted, back = layer.store(store)
    return codec.admissible(wanted), back, cells


def losses(written: WrittenNetwork, calibration: Calibration) -> dict[str, float]:
    """Return the loss that the curvature lets one expect of each matrix, in nats.

    Args:
        written: The network that went through the loop.
        calibration: Curvature of its layers, of the kind `fisher`; of another kind there is none.
    """
    if calibration.kind != "fisher":
        return {}
    found = {}
    for name, layer in calibration.layers.items():
        if name not in written.wanted:  # it is there under another of its names
            continue
        wanted, seen = as_rows(written.wanted[name]), as_rows(written.seen[name])
        if layer.rows.size == len(wanted):  # others are cut into blocks, and stored without it
            found[name] = second_order(layer, wanted, seen)
    return found


def write_closed_loop(
    weights: Weights,
    plan: Plan,
    calibration: Calibration,
    path: Target,
    *,
    memory: Memory,
    chip: str | None,
    correct: Correct | None = None,
    sequence: LayerAfterLayer | None = None,
    keep: Collection[str] = (),
    feedback: bool = True,
    progress: Progress | None = None,
) -> tuple[ImageHeader, WrittenNetwork]:
    """Write a network through the loop and keep its image.

    Args:
        weights: The network's tensors, as the plan was made for.
        plan: The plan.
        calibration: Curvature of the layers.
        path: Image to write.
        memory: Where columns are programmed.
        chip: Name of that memory, which alone the image is for; None if no cell was verified.
        correct: Corrects biases and normalisations for the drift of activations.
        sequence: Has the network written layer after layer and corrects it on the way, in place of
            `correct`.
        keep: Names of tensors that are not corrected.
        feedback: False for the open loop.
        progress: Called after every tensor.

    Returns:
        The image's header, and what was written.

    Raises:
        InputError: As for `close_loop`, or the file cannot be written.
    """
    written = close_loop(
        weights,
        plan,
        calibration,
        memory,
        sequence=sequence,
        feedback=feedback,
        progress=progress,
    )
    targets, corrected = dict(written.targets), written.corrected
    if sequence is None and correct is not None:
        corrected = correct(written.seen)
        written = replace(written, corrected=corrected)
    if corrected:
        state = {**written.seen, **corrected}
        folded = fold_normalisations(state, calibration.normalisations)
        vectors = {t.info.name for t in plan.tensors if t.code is None}.difference(keep)
        targets |= {name: values for name, values in folded.items() if name in vectors}
        plan = replace(plan, tensors=tuple(_varied(t, targets[t.info.name]) for t in plan.tensors))
    with ReplacedWeights(weights, targets) as replaced:
        header = write_image(replaced, plan, path, chip=chip, progress=progress)
    return header, written


def folded(weights: Weights, calibration: Calibration) -> Weights:
    """Return a network with its normalisations folded to two numbers a channel.

    Args:
        weights: The network's tensors.
        calibration: Names the normalisations.

    Raises:
        InputError: The calibration is for another network.
    """
    calibration.require_network({name: weights.info(name).shape for name in weights.names})
    parts = ("running_mean", "running_var", "weight", "bias")
    names = [f"{n}.{p}" if n else p for n in calibration.normalisations for p in parts]
    state = {name: weights.read(name) for name in names}
    return ReplacedWeights(weights, fold_normalisations(state, calibration.normalisations))


def _varied(tensor: TensorPlan, values: NDArray[Any]) -> TensorPlan:
    """Return the plan of a vector that was all the same number before it was corrected."""
    if tensor.kind != CONSTANT or is_constant(values):
        return tensor
    return replace(tensor, kind=FLOAT12)
