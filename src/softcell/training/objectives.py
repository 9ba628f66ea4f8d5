"""What training through storage aims at."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from softcell.errors import InputError


class Objective(Protocol):
    """A loss of the outputs of a stored network."""

    def __call__(self, outputs: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss in nats, a scalar.

        Args:
            outputs: Logits, shape (batch, classes).
            inputs: What they were computed from, first axis the batch.
            labels: Classes, int64, shape (batch,).
        """
        ...


class CrossEntropy:
    """The mean of -log q(label), with q the stored network's probabilities.

    Args:
        smoothing: Share of the label's probability that is spread over all classes, from 0 to
            below 1.

    Example:
        >>> CrossEntropy()(torch.zeros(1, 4), torch.zeros(1), torch.tensor([2])).item()
        1.3862943649291992
    """

    def __init__(self, smoothing: float = 0.0) -> None:
        if not 0 <= smoothing < 1:
            raise InputError(f"smoothing must be from 0 to below 1, got {smoothing}")
        self.smoothing = smoothing

    def __call__(self, outputs: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss."""
        return functional.cross_entropy(outputs, labels, label_smoothing=self.smoothing)


class Distillation:
    """The divergence from the mean probabilities of teachers, softened by a temperature T.

    T^2 * mean of sum p log(p / q),  p = mean of softmax(teacher / T),  q = softmax(outputs / T)

    With the clean network itself as the teacher it is self-distillation.

    Args:
        teachers: The teachers, at least one; frozen copies of them are kept.
        temperature: T, above 0.

    Raises:
        InputError: There is no teacher, or the temperature is out of range.

    Source:
        Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", arXiv 1503.02531.
    """

    def __init__(self, *teachers: nn.Module, temperature: float = 1.0) -> None:
        if not teachers:
            raise InputError("there is no teacher to distil from; give one or more")
        if not (math.isfinite(temperature) and temperature > 0):
            raise InputError(f"the temperature must be above 0, got {temperature}")
        self.teachers = [copy.deepcopy(each).eval().requires_grad_(False) for each in teachers]
        self.temperature = temperature

    def __call__(self, outputs: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean divergence."""
        with torch.no_grad():
            logits = torch.stack([each(inputs).float() for each in self.teachers])
            each_p = (logits / self.temperature).log_softmax(dim=2)
            p = each_p.logsumexp(dim=0) - math.log(len(self.teachers))
        q = (outputs.float() / self.temperature).log_softmax(dim=1)
        divergence = functional.kl_div(q, p, reduction="batchmean", log_target=True)
        return self.temperature**2 * divergence


class Mixture:
    """A weighted sum of objectives.

    Args:
        parts: Pairs of a weight, at least 0, and an objective; at least one.

    Raises:
        InputError: There are none, or a weight is negative or not finite.
    """

    def __init__(self, parts: Sequence[tuple[float, Objective]]) -> None:
        if not parts or not all(math.isfinite(w) and w >= 0 for w, _ in parts):
            raise InputError(
                f"expected objectives with weights of at least 0, got {[w for w, _ in parts]}"
            )
        self.parts = tuple(parts)

    def __call__(self, outputs: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss."""
        losses = [weight * part(outputs, inputs, labels) for weight, part in self.parts]
        return torch.stack(losses).sum()
