"""How many weights are zero, as training goes on, and which."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from softcell.errors import InputError
from softcell.training.stored_weights import StoredWeights

SALIENCIES = ("magnitude", "fisher")


@dataclass(frozen=True)
class GradualPruning:
    """A sparsity that rises along a cubic, fast at first and then ever slower.

    s(t) = target (1 - (1 - (t - begin) / (end - begin))^3),  begin <= t <= end

    One-shot pruning in the middle of a training has its end one step after its beginning; before a
    training it is `stored.prune(target)`.

    By Fisher information those weights go whose loss is felt least, F w^2 / 2, with F the diagonal
    of the empirical Fisher information: the running mean of squared gradients of the whole loss
    that Adam keeps. Gradients are of batches, which does to all weights alike but for the part of
    the mean gradient.

    Args:
        target: Part of the matrices' weights that is zero in the end, from 0 to below 1.
        begin: Step of the optimiser at which pruning begins, at least 0.
        end: Step at which the target is reached, above begin.
        every: Steps between two times that weights are pruned, at least 1.
        saliency: Which weights go: the smallest by "magnitude", or by "fisher" as above.

    Raises:
        InputError: A value is out of range.

    Example:
        >>> [GradualPruning(0.8, 0, 100).sparsity(t) for t in (0, 50, 100)]
        [0.0, 0.7000000000000001, 0.8]
        >>> one_shot = GradualPruning(0.8, 30, 31)
        >>> [one_shot.sparsity(t) for t in (0, 30, 31)]
        [0.0, 0.0, 0.8]

    Source:
        Zhu and Gupta, "To prune, or not to prune", ICLR 2018 workshop, arXiv 1710.01878, eq. 1
        (the schedule). Theis et al., "Faster gaze prediction with dense networks and Fisher
        pruning", arXiv 1801.05787 (squared gradients as the curvature of optimal brain damage).
    """

    target: float
    begin: int
    end: int
    every: int = 50
    saliency: str = "magnitude"

    def __post_init__(self) -> None:
        if not (0 <= self.target < 1 and 0 <= self.begin < self.end and self.every >= 1):
            raise InputError(
                "expected a target from 0 to below 1, 0 <= begin < end and every >= 1, got "
                f"{self.target}, {self.begin}, {self.end} and {self.every}"
            )
        if self.saliency not in SALIENCIES:
            raise InputError(
                f"saliency must be one of {', '.join(SALIENCIES)}, got {self.saliency!r}"
            )

    def sparsity(self, step: int) -> float:
        """Return the part of the weights that is zero from a step on."""
        left = 1 - (min(max(step, self.begin), self.end) - self.begin) / (self.end - self.begin)
        return self.target * (1 - left**3)

    def due(self, step: int) -> bool:
        """Return whether weights are pruned before a step."""
        within = self.begin <= step <= self.end
        return within and ((step - self.begin) % self.every == 0 or step == self.end)

    def prune(self, stored: StoredWeights, optimiser: torch.optim.Optimizer, step: int) -> None:
        """Prune a network to the sparsity of a step.

        Args:
            stored: The network.
            optimiser: Adam, or another that keeps a mean of squared gradients as `exp_avg_sq`, of
                the network's parameters.
            step: Steps done.

        Raises:
            InputError: By Fisher information, and the optimiser has none of a matrix yet.
        """
        fraction = self.sparsity(step)
        if self.saliency == "magnitude" or not fraction:
            stored.prune(fraction)
            return
        kept = {name: optimiser.state[stored.module.get_parameter(name)] for name in stored.names}
        unseen = [name for name, state in kept.items() if "exp_avg_sq" not in state]
        if unseen:
            raise InputError(
                f"the optimiser has no squared gradients of {unseen[0]!r} after {step} steps; let "
                'it train with Adam for a step before, or prune by saliency="magnitude"'
            )
        stored.prune(fraction, {name: state["exp_avg_sq"] for name, state in kept.items()})
