"""A user's network, and what its module and inputs tell of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softcell import feedback
from softcell.curvature import Calibration, calibrate
from softcell.curvature.held_out import FEWEST
from softcell.errors import InputError
from softcell.image.closed_loop import LayerAfterLayer
from softcell.network.divergence import output_divergence
from softcell.network.network import Network
from softcell.progress import Progress
from softcell.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor, nn


def learnt_of(inputs: Tensor) -> Tensor:
    """Return the part of a user's inputs that networks are calibrated and corrected on: half.

    Of the rest the search measures on one half, and confirms on the other.

    Raises:
        InputError: There are fewer than 8.
    """
    if inputs.ndim < 1 or len(inputs) < 8:
        raise InputError(f"give at least 8 inputs, better hundreds; got {tuple(inputs.shape)}")
    return inputs[: len(inputs) - 2 * (len(inputs) // 4)]


def held_of(inputs: Tensor) -> Tensor:
    """Return inputs that nothing was learnt from, a tenth as many as `learnt_of` gives."""
    learnt = len(learnt_of(inputs))
    return inputs[learnt : learnt + max(learnt // 10, FEWEST)]


def own_network(
    source: Callable[[], Weights],
    *,
    module: nn.Module | None = None,
    learnt: Tensor | None = None,
    held: Tensor | None = None,
    calibration: Calibration | None = None,
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None,
    keep: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> Network:
    """Return a user's network, to be written.

    Args:
        source: Opens its tensors.
        module: The network, its weights loaded; or None.
        learnt: Inputs to learn from, as `learnt_of` gives them.
        held: Other inputs, by which it is checked what the feedback loop does; None for no check.
        calibration: Curvature of its layers; by default it is made with module and inputs, and
            without these the network is stored without the feedback loop.
        sensitivity: Diagonal Fisher information, where there is no calibration.
        keep: Names of tensors that are stored as they are.
        progress: Called while the curvature is computed.
    """
    if module is None or learnt is None:
        return Network(source=source, calibration=calibration, sensitivity=sensitivity, keep=keep)
    if calibration is None:
        calibration = calibrate(module, learnt, seed=0, held=held, progress=progress)
        with source() as weights:
            calibration = _named(calibration, frozenset(weights.names))

    def sequence(share: float) -> LayerAfterLayer:
        return feedback.SequentialWrite(module, learnt, share=share)

    return Network(
        source=source,
        calibration=calibration,
        correct=feedback.DriftCorrection(module, learnt),
        sequence=sequence,
        divergence=None if held is None else output_divergence(module, held),
        sensitivity=sensitivity,
        keep=keep,
    )


def _named(calibration: Calibration, names: frozenset[str]) -> Calibration:
    """Return a calibration without the names of tied tensors that a network's file leaves out."""
    return replace(
        calibration,
        layers={name: each for name, each in calibration.layers.items() if name in names},
        fisher={name: each for name, each in calibration.fisher.items() if name in names},
    )
