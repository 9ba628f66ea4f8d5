"""A network, what says how good it is, and the cells that it is to be stored in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.survey import loss_weights
from softcell.curvature import Calibration
from softcell.devices import Device
from softcell.errors import InputError
from softcell.evaluate.bounds import ModelBound, tensor_source
from softcell.evaluate.statistics import figure_of_merit
from softcell.image.closed_loop import Correct
from softcell.network import Network
from softcell.weights import StateDictWeights, Weights

Evaluate = Callable[[Mapping[str, NDArray[Any]]], float]
"""How good are these weights? More is better."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """A network, how to evaluate it, and the cells to store it in.

    Args:
        state: The network's tensors by name.
        evaluate: Its accuracy for restored tensors.
        device: The device.
        age_seconds: Age at which chips are read, and for which they are planned.
        sensitivity: Diagonal Fisher information by tensor, or None.
        task: Name of the task, for the record.
        model: Name of the network, for the record.
        images: Number of test images, for the record.
        source: Opens the tensors in their own number formats; by default those of `state` are
            stored.
        calibration: Curvature of the network's layers, for the feedback loop.
        correct: Corrects biases and normalisations for the drift of activations.
    """

    state: Mapping[str, NDArray[Any]]
    evaluate: Evaluate
    device: Device
    age_seconds: float = 0.0
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None
    task: str = "custom"
    model: str = "custom"
    images: int = 0
    source: Callable[[], Weights] | None = None
    calibration: Calibration | None = field(default=None, repr=False)
    correct: Correct | None = None
    _memory: dict[str, Any] = field(default_factory=dict, repr=False)

    def require_tensors(self, found: Mapping[str, Any], what: Path | str) -> None:
        """Make sure that tensors are those of the network.

        Args:
            found: Shapes by name.
            what: Whose they are, for the error.

        Raises:
            InputError: A tensor is missing, one too many, or of another shape.
        """
        expected = {name: values.shape for name, values in self.state.items()}
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                raise InputError(
                    f"{what}: tensor {name!r} is {found.get(name, 'missing')}, the network's is "
                    f"{expected.get(name, 'missing')}; name the task and model that it was made for"
                )

    @property
    def network(self) -> Network:
        """The network as it is to be stored."""
        return Network(
            source=self.source or partial(StateDictWeights, self.state),
            calibration=self.calibration,
            correct=self.correct,
            sensitivity=self.sensitivity,
        )

    def accuracy(self, state: Mapping[str, NDArray[Any]]) -> float:
        """Evaluate tensors; equal tensors are evaluated once.

        Raises:
            InputError: The evaluate function gave something other than a finite number.
        """
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(state):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(state[name]).tobytes())
        key = digest.hexdigest()
        if key not in self._memory:
            self._memory[key] = figure_of_merit(self.evaluate(state))
        accuracy: float = self._memory[key]
        return accuracy

    @property
    def float_accuracy(self) -> float:
        """Accuracy of the network as given."""
        # A copy: whatever the user's function does to its tensors, the network stays as it is.
        return self.accuracy({name: np.array(values) for name, values in self.state.items()})

    def bound(self) -> tuple[ModelBound, dict[str, float]]:
        """Return the least bits of the network's matrices, and the weight of their errors."""
        if "bound" not in self._memory:
            matrices = {
                name: values
                for name, values in self.state.items()
                if values.ndim > 1 and values.dtype.kind == "f" and values.size
            }
            if not matrices:
                raise InputError("the network has no tensor of two dimensions to compare on")
            known = self.sensitivity or {}
            weight = loss_weights(
                {name: float(np.var(v, dtype=np.float64)) for name, v in matrices.items()},
                {n: float(np.mean(known[n], dtype=np.float64)) for n in matrices if n in known},
            )
            sources = [
                tensor_source(v.astype(np.float32), weight[name]) for name, v in matrices.items()
            ]
            self._memory["bound"] = ModelBound(tuple(sources)), weight
        bound: tuple[ModelBound, dict[str, float]] = self._memory["bound"]
        return bound
