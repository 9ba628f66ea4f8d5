"""A network that is to be stored, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.allocate import Procedure
from softcell.compress import prune_absorbing
from softcell.curvature import Calibration
from softcell.errors import InputError
from softcell.image.closed_loop import Correct, LayerAfterLayer, folded
from softcell.weights import ReplacedWeights, Weights


@dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """A network that is to be stored, and what is known of it.

    Args:
        source: Opens its tensors.
        calibration: Curvature of its layers; None to store it without the feedback loop.
        correct: Corrects normalisations and biases for the drift of activations.
        sequence: Gives what writes the network layer after layer, for a share of the shift.
        sensitivity: Diagonal Fisher information by tensor, where there is no calibration.
        keep: Names of tensors that are stored as they are.
    """

    source: Callable[[], Weights]
    calibration: Calibration | None = field(default=None, repr=False)
    correct: Correct | None = None
    sequence: Callable[[float], LayerAfterLayer] | None = None
    sensitivity: Mapping[str, NDArray[np.floating]] | None = field(default=None, repr=False)
    keep: frozenset[str] = frozenset()

    def require_calibration(self) -> Calibration:
        """Return its calibration.

        Raises:
            InputError: It has none.
        """
        if self.calibration is None:
            raise InputError(
                "the plan goes through the feedback loop, for which the network's calibration is "
                "needed; make one with `softcell calibrate`"
            )
        return self.calibration


@contextmanager
def opened(network: Network, procedure: Procedure) -> Iterator[Weights]:
    """Open a network as it is stored: folded for the loop, and pruned if the procedure says so.

    Raises:
        InputError: A tensor is to be kept that the loop changes, or there is no calibration.
    """
    with network.source() as weights:
        if not procedure.loop:
            yield weights
            return
        calibration = network.require_calibration()
        _require_kept(network.keep, calibration)
        given = folded(weights, calibration)
        if procedure.sparsity:
            state = {name: given.read(name) for name in given.names}
            pruned = prune_absorbing(state, procedure.sparsity, calibration, keep=network.keep)
            given = ReplacedWeights(given, {name: pruned[name] for name in calibration.layers})
        yield given


def _require_kept(keep: frozenset[str], calibration: Calibration) -> None:
    modules = {f"{n}." if n else "" for n in calibration.normalisations}
    for name in sorted(keep):
        if any(name.startswith(m) and "." not in name[len(m) :] for m in modules):
            raise InputError(
                f"{name!r} belongs to a normalisation, which the feedback loop folds and corrects; "
                "it cannot be kept as it is"
            )
