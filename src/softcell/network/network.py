"""A network that is to be stored, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softcell.allocate import Procedure
from softcell.compress import prune_absorbing
from softcell.curvature import Calibration
from softcell.errors import InputError
from softcell.image.closed_loop import Correct, LayerAfterLayer, folded
from softcell.network.corrections import Divergence
from softcell.progress import Progress
from softcell.weights import NetworkWeights, ReplacedWeights, Weights, parse_weights

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """A network that is to be stored, and what is known of it.

    Args:
        source: Opens its tensors.
        calibration: Curvature of its layers; None to store it without the feedback loop.
        correct: Corrects normalisations and biases for the drift of activations.
        sequence: Gives what writes the network layer after layer, for a share of the shift.
        divergence: Measures how far outputs are from the float network's, in nats, on inputs that
            it was not calibrated on.
        sensitivity: Diagonal Fisher information by tensor, where there is no calibration.
        keep: Names of tensors that are stored as they are.
    """

    source: Callable[[], Weights]
    calibration: Calibration | None = field(default=None, repr=False)
    correct: Correct | None = None
    sequence: Callable[[float], LayerAfterLayer] | None = None
    divergence: Divergence | None = None
    sensitivity: Mapping[str, NDArray[np.floating]] | None = field(default=None, repr=False)
    keep: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        weights: NetworkWeights,
        *,
        module: nn.Module | None = None,
        inputs: Tensor | None = None,
        calibration: Calibration | None = None,
        sensitivity: Mapping[str, NDArray[np.floating]] | None = None,
        keep: Collection[str] = (),
        progress: Progress | None = None,
    ) -> Network:
        """Return a network with all that its module and some inputs tell of it.

        Args:
            weights: A safetensors file, or tensors by name.
            module: The network as a torch module, its weights loaded; with it, it can go through
                the feedback loop, layer after layer, its drift corrected.
            inputs: Inputs of the module, first axis inputs, without labels; half of them are learnt
                from, as by `optimise`, and what `write` does is checked on some of the others.
            calibration: Curvature of its layers; by default it is made with module and inputs.
            sensitivity: Diagonal Fisher information, where there is neither.
            keep: Names of tensors to store as they are.
            progress: Called while the curvature is computed.

        Raises:
            InputError: There is a module and no inputs, or too few of them.

        Example:
            >>> import torch
            >>> module = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU())
            >>> known = Network.of(module.state_dict(), module=module, inputs=torch.randn(32, 8))
            >>> known.calibration is not None
            True
        """
        source = partial(parse_weights, weights)
        if (module is None) != (inputs is None):
            raise InputError("a module and its inputs go together")
        if module is None or inputs is None:
            return cls(
                source=source,
                calibration=calibration,
                sensitivity=sensitivity,
                keep=frozenset(keep),
            )
        from softcell.network.own import held_of, learnt_of, own_network

        return own_network(
            source,
            module=module,
            learnt=learnt_of(inputs),
            held=held_of(inputs),
            calibration=calibration,
            sensitivity=sensitivity,
            keep=frozenset(keep),
            progress=progress,
        )

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
            given = ReplacedWeights(
                given, {n: pruned[n] for n in calibration.layers.keys() & pruned.keys()}
            )
        yield given


def _require_kept(keep: frozenset[str], calibration: Calibration) -> None:
    modules = {f"{n}." if n else "" for n in calibration.normalisations}
    for name in sorted(keep):
        if any(name.startswith(m) and "." not in name[len(m) :] for m in modules):
            raise InputError(
                f"{name!r} belongs to a normalisation, which the feedback loop folds and corrects; "
                "it cannot be kept as it is"
            )
