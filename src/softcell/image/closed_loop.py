"""A network written through the feedback loop: image and chip come into being together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.allocate import EntropyCode, Plan, Progress, TensorPlan, as_rows, finite_weights
from softcell.allocate.feedback_layer import FeedbackLayer, in_loop
from softcell.channel import channel_of
from softcell.codes.digital import NUMBER_FORMATS
from softcell.codes.digital.entropy_coded import decode
from softcell.codes.digital.vector_formats import CONSTANT, FLOAT12, is_constant
from softcell.curvature import Calibration
from softcell.errors import InputError
from softcell.feedback.folding import fold_normalisations
from softcell.feedback.memory import Memory, into
from softcell.image.cell_image import ImageHeader
from softcell.image.column_codecs import AnalogColumns, column_codec
from softcell.image.write import write_image
from softcell.weights import ReplacedWeights, Weights

Correct = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""Takes what the decoder will see of all tensors; returns corrected vectors."""


@dataclass(frozen=True, eq=False)
class WrittenNetwork:
    """A network that went through the loop.

    Args:
        targets: What is to be encoded, by tensor.
        seen: What the decoder will see of it, as far as a verifying read can tell.
        cells: Cells that were programmed and verified.
    """

    targets: Mapping[str, NDArray[Any]] = field(repr=False)
    seen: Mapping[str, NDArray[Any]] = field(repr=False)
    cells: int


def close_loop(
    weights: Weights,
    plan: Plan,
    calibration: Calibration,
    memory: Memory,
    *,
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
        feedback: False to write and verify but carry no error on: the open loop.
        progress: Called after every tensor.

    Raises:
        InputError: A code that cannot be written column by column, or a digital one that was
            planned without the calibration.
    """
    targets: dict[str, NDArray[Any]] = {}
    seen: dict[str, NDArray[Any]] = {}
    cells = 0
    law = channel_of(plan.device)
    for done, tensor in enumerate(plan.tensors, start=1):
        name, shape = tensor.info.name, tensor.info.shape
        if tensor.code is None:
            values = weights.read(name)
            targets[name] = seen[name] = values
            if tensor.kind != "raw" and tensor.info.size:
                number_format = NUMBER_FORMATS[tensor.kind]
                data = number_format.encode(finite_weights(weights, name))
                seen[name] = number_format.decode(data, shape)
        else:
            rows = as_rows(finite_weights(weights, name))
            known = calibration if feedback else None
            if isinstance(tensor.code, EntropyCode):
                wanted, back = _quantised(rows, name, tensor.code, known)
            else:
                codec = column_codec(tensor, rows, plan)
                store = into(memory, f"cells/{name}", codec, law)
                cells += sum(len(codec.places(column)) for column in range(rows.shape[1]))
                wanted, back = _layer(rows, name, known).store(store)
                if isinstance(codec, AnalogColumns):
                    wanted = codec.admissible(wanted)
            targets[name], seen[name] = wanted.reshape(shape), back.reshape(shape)
        if progress:
            progress("program", done, len(plan.tensors))
    return WrittenNetwork(targets, seen, cells)


def write_closed_loop(
    weights: Weights,
    plan: Plan,
    calibration: Calibration,
    path: Path | str,
    *,
    memory: Memory,
    chip: str | None,
    correct: Correct | None = None,
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
        feedback: False for the open loop.
        progress: Called after every tensor.

    Returns:
        The image's header, and what was written.

    Raises:
        InputError: As for `close_loop`, or the file cannot be written.
    """
    written = close_loop(weights, plan, calibration, memory, feedback=feedback, progress=progress)
    targets = dict(written.targets)
    if correct is not None:
        state = {**written.seen, **correct(written.seen)}
        folded = fold_normalisations(state, calibration.normalisations)
        vectors = {t.info.name for t in plan.tensors if t.code is None}
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


def _quantised(
    rows: NDArray[np.float32], name: str, code: EntropyCode, calibration: Calibration | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what is to be encoded of a matrix, and what is decoded of it."""
    if code.by_column:
        seen = _layer(rows, name, calibration).quantised(code)
        return seen, seen
    if calibration is not None:
        raise InputError(
            f"tensor {name!r} was planned without the calibration; plan the network with it, so "
            "that its weights are quantised in the loop"
        )
    return rows, decode(code.encode(rows).tobytes(), rows.shape)


def _layer(rows: NDArray[np.float32], name: str, calibration: Calibration | None) -> FeedbackLayer:
    """Return a matrix as the loop takes it; one without curvature is written as it is."""
    return in_loop(name, rows, None if calibration is None else calibration.layers.get(name))
