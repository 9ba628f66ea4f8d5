"""What the search measures of a stored network: the accuracy that it loses, or its divergence."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from softcell.errors import InputError
from softcell.evaluate.statistics import figure_of_merit

if TYPE_CHECKING:
    from torch import Tensor, nn

State = Mapping[str, NDArray[Any]]
"""Tensors by name."""

SEARCH, CONFIRM, FEW = 0, 1, 2
"""Sets of inputs: one for the search, others that it has not seen, and few of them for groups of
layers."""


_ORDERS = 3
"""Orders of shuffled weights that are asked for at most."""


@dataclass(frozen=True)
class Verdict:
    """How far a stored network is from the float one.

    Args:
        drop: Accuracy that is lost, from -1 to 1; None if it is not known.
        error: Standard error of the drop.
        divergence: Kullback-Leibler divergence of the outputs in nats; None if not known.
        guessing: Drop of a network that knows nothing and guesses; None if it is not known.
    """

    drop: float | None
    error: float = 0.0
    divergence: float | None = None
    guessing: float | None = None

    def __str__(self) -> str:
        parts = []
        if self.drop is not None:
            parts.append(f"drop {100 * self.drop:.2f} points")
            if self.guessing is not None and self.drop >= self.guessing:
                parts.append("no better than guessing")
        if self.divergence is not None:
            parts.append(f"divergence {self.divergence:.4f}")
        return ", ".join(parts)


class Judge(Protocol):
    """Measures stored networks."""

    def __call__(self, state: State, inputs: int = SEARCH) -> Verdict:
        """Compare a stored network with the float one on one of the sets of inputs."""
        ...


@dataclass(eq=False)
class OutputJudge:
    """Compares a network's outputs with the float network's, without labels.

    The divergence is the mean of sum p log(p / q), with p the float network's and q the stored
    one's probabilities. If it is known how accurate the float network is on new inputs, the
    accuracy that is lost is expected to be

    mean of  P(answer of the float network) - P(answer of the stored network),  P = softmax(z / T)

    with z the float network's logits. A network that knows these inputs is too sure of itself: its
    temperature T is raised until the mean of its largest probability is that accuracy. No label and
    no test image is used.

    Args:
        outputs: Gives the outputs of a network of these tensors, as `module_outputs` does: logits,
            shape (inputs, ..., classes).
        state: The float network's tensors.
        inputs: Gives the inputs of each set, by its number.
        accuracy: Accuracy of the float network on new inputs, from 0 to 1; None if not known.

    Raises:
        InputError: When it is called: the float network's outputs are no logits, or not finite.

    Source:
        Guo et al., "On calibration of modern neural networks", ICML 2017, arXiv 1706.04599
        (temperature).
    """

    outputs: Callable[[State, Tensor], Tensor]
    state: State
    inputs: Callable[[int], Tensor]
    accuracy: float | None = None
    _known: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def __call__(self, state: State, inputs: int = SEARCH) -> Verdict:
        """Compare a stored network with the float one."""
        import torch

        if inputs not in self._known:
            given = self.inputs(inputs)
            logits = _logits(self.outputs(self.state, given))
            if not bool(torch.isfinite(logits).all()):
                raise InputError(
                    "the float network's outputs are not finite; check its weights and inputs"
                )
            self._known[inputs] = given, logits
        given, float_ = self._known[inputs]
        stored = _logits(self.outputs(state, given))
        if not bool(torch.isfinite(stored).all()):
            drop = None if self.accuracy is None else 1.0
            return Verdict(drop, 0.0, float("inf"), self._guessing(float_))
        p, q = float_.log_softmax(dim=1), stored.log_softmax(dim=1)
        divergence = float((p.exp() * (p - q)).sum(dim=1).mean())
        if self.accuracy is None:
            return Verdict(None, 0.0, divergence)
        sure = tempered(float_, self.accuracy)
        right = sure.max(dim=1).values
        lost = right - sure.gather(1, stored.argmax(dim=1, keepdim=True))[:, 0]
        error = float(lost.std()) / len(lost) ** 0.5 if len(lost) > 1 else 0.0
        return Verdict(float(lost.mean()), error, divergence, self._guessing(float_))

    def _guessing(self, logits: Tensor) -> float | None:
        return None if self.accuracy is None else self.accuracy - 1 / logits.shape[1]


@dataclass(eq=False)
class OwnJudge:
    """Asks a user's function how good the weights are; the float ones it is asked for once.

    It is asked once more for the float network with the weights of each matrix in another order,
    which knows nothing: its figure is what guessing gives, and has to be the lower one. Where it is
    not, two other orders are asked for.

    Args:
        evaluate: Gives the accuracy of tensors by name, or another figure of merit from 0 to 1 of
            which more is better.
        state: The float network's tensors.
        besides: Tells the divergence, too; or None.

    Raises:
        InputError: When it is called: the function gives something other than a finite number,
            for the float network none from 0 to 1 or one below that of guessing, or for a stored
            one more than 1.

    Example:
        >>> judge = OwnJudge(lambda state: float(state["w"].mean()), {"w": np.ones(2)})
        >>> judge({"w": np.array([1.0, 0.5])}).drop
        0.25
    """

    evaluate: Callable[[State], float]
    state: State
    besides: Judge | None = None
    _float: float | None = field(default=None, repr=False)
    _guessing: float | None = field(default=None, repr=False)

    def __call__(self, state: State, inputs: int = SEARCH) -> Verdict:
        """Compare a stored network with the float one."""
        if self._float is None:
            merit = self._fraction(self._merit(self.state))
            self._guessing = self._lost_by_guessing(merit)
            self._float = merit
        merit = self._merit(state)
        if merit > 1:
            raise InputError(
                f"the figure of merit of a stored network is {merit:g}, that of the float network "
                f"{self._float:g}; give one from 0 to 1 of which more is better"
            )
        divergence = None if self.besides is None else self.besides(state, inputs).divergence
        return Verdict(self._float - merit, 0.0, divergence, self._guessing)

    def _lost_by_guessing(self, merit: float) -> float | None:
        """Return what the float network's merit is above that of shuffled weights, if known."""
        matrices = {n: v for n, v in self.state.items() if v.ndim > 1 and v.dtype.kind == "f"}
        if not any(v.size > 1 for v in matrices.values()):
            return None
        found = []
        for order in range(_ORDERS):
            random = np.random.default_rng(order)
            shuffled = {n: random.permuted(v.ravel()).reshape(v.shape) for n, v in matrices.items()}
            with suppress(Exception):  # such a network may be beyond what can be measured
                found.append(merit - self._merit({**self.state, **shuffled}))
                if found[-1] > 0:
                    return found[-1]
        if min(found, default=0.0) < 0:
            raise InputError(
                f"the figure of merit is {merit:g} for the float network and "
                f"{merit - min(found):g} with its weights shuffled: is less better? Give one of "
                "which more is better, such as 1 - loss; or a network that is better than guessing"
            )
        return None

    @staticmethod
    def _fraction(merit: float) -> float:
        """Return the float network's merit: what is lost of it is told in points of a hundredth."""
        if not 0 <= merit <= 1:
            raise InputError(
                f"the figure of merit of the float network is {merit:g}; the search takes one from "
                "0 to 1 of which more is better: give an accuracy as a fraction, and in place of a "
                "loss or a perplexity p what grows as it falls, such as 1 / (1 + p)"
            )
        return merit

    def _merit(self, state: State) -> float:
        given = {name: np.array(values) for name, values in state.items()}
        return figure_of_merit(self.evaluate(given))


def module_outputs(module: nn.Module, *, batch: int = 50) -> Callable[[State, Tensor], Tensor]:
    """Return what gives a module's outputs with other tensors in place of its own.

    A tensor of several names, such as an embedding that is the output matrix too, may come under
    any of them.

    Args:
        module: The network; it is left as it was found.
        batch: Inputs that go through together.

    Raises:
        InputError: When it is called: a tensor is missing, unknown or of another shape.
    """
    from softcell.evaluate.inference import in_batches
    from softcell.feedback.stored_tensors import StoredTensors

    def outputs(state: State, inputs: Tensor) -> Tensor:
        unknown = sorted(set(state) - set(module.state_dict()))
        if unknown:
            raise InputError(f"the module has no tensor {unknown[0]!r}; load its own weights")
        values = StoredTensors(module, state).values
        stored = copy.deepcopy(module).eval()
        stored.load_state_dict(values, strict=False)
        return in_batches(stored, inputs, batch=batch)

    return outputs


def tempered(logits: Tensor, accuracy: float) -> Tensor:
    """Return probabilities that are as sure on average as a network of this accuracy should be.

    Args:
        logits: Shape (inputs, classes).
        accuracy: From above 0 to below 1.

    Example:
        >>> import torch
        >>> sure = tempered(torch.tensor([[9.0, 0.0], [8.0, 0.0]]), 0.75)
        >>> round(float(sure.max(dim=1).values.mean()), 3)
        0.75
    """
    import torch

    low, high = -10.0, 10.0  # logarithm of the temperature, to base 2
    for _ in range(60):
        middle = (low + high) / 2
        sure = (logits / 2.0**middle).softmax(dim=1).max(dim=1).values.mean()
        low, high = (middle, high) if float(sure) > accuracy else (low, middle)
    return torch.softmax(logits / 2.0**high, dim=1)


def _logits(outputs: Tensor) -> Tensor:
    """Return predictions by classes, float64."""
    from torch import Tensor

    from softcell.curvature.gradients import require_classes

    if not isinstance(outputs, Tensor) or outputs.ndim < 2:
        raise InputError("the module must return logits of shape (batch, ..., classes)")
    require_classes(outputs.shape[-1])
    return outputs.flatten(0, -2).double()
