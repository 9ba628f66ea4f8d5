"""What training through storage aims at."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
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
            outputs: Logits, shape (batch, ..., classes).
            inputs: What they were computed from, first axis the batch.
            labels: Classes, int64, shape (batch,); or what else a loss of the user's own takes.
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


class LabelLoss:
    """A loss of outputs and labels alone, such as those of torch.

    Args:
        loss: Gives the mean loss of outputs and labels, a scalar.

    Example:
        >>> LabelLoss(functional.mse_loss)(torch.ones(2, 1), torch.zeros(2), torch.zeros(2, 1))
        tensor(1.)
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.loss = loss

    def __call__(self, outputs: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss.

        Raises:
            InputError: The loss gives something other than a scalar.
        """
        found = self.loss(outputs, labels)
        if not isinstance(found, Tensor) or found.ndim:
            shown = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"the loss gave {shown}; let it give the mean over a batch, a scalar")
        return found


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
            logits = torch.stack([_predictions(each(inputs)) for each in self.teachers])
            each_p = (logits / self.temperature).log_softmax(dim=2)
            p = each_p.logsumexp(dim=0) - math.log(len(self.teachers))
        return divergence_from(p, outputs, self.temperature)


def divergence_from(log_p: Tensor, outputs: Tensor, temperature: float) -> Tensor:
    """Return the mean divergence of softened outputs from given probabilities, times T^2.

    Args:
        log_p: Logarithms of the probabilities, at the temperature, shape (predictions, classes).
        outputs: Logits of so many predictions, shape (batch, ..., classes).
        temperature: T, above 0.
    """
    log_q = (_predictions(outputs) / temperature).log_softmax(dim=1)
    divergence = functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


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


def _predictions(outputs: Tensor) -> Tensor:
    """Return logits by predictions, float32: those of every token, for example, count alike.

    Raises:
        InputError: They are no logits.
    """
    if not isinstance(outputs, Tensor) or outputs.ndim < 2:
        raise InputError(
            "what is distilled are logits of shape (batch, ..., classes); let the network return "
            "such, or give a loss"
        )
    return outputs.flatten(0, -2).float()
