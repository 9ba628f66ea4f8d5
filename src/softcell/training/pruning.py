"""How many weights are zero, as training goes on."""

from __future__ import annotations

from dataclasses import dataclass

from softcell.errors import InputError


@dataclass(frozen=True)
class GradualPruning:
    """A sparsity that rises along a cubic, fast at first and then ever slower.

    s(t) = target (1 - (1 - (t - begin) / (end - begin))^3),  begin <= t <= end

    Args:
        target: Part of the matrices' weights that is zero in the end, from 0 to below 1.
        begin: Step of the optimiser at which pruning begins, at least 0.
        end: Step at which the target is reached, above begin.
        every: Steps between two times that weights are pruned, at least 1.

    Raises:
        InputError: A value is out of range.

    Example:
        >>> [GradualPruning(0.8, 0, 100).sparsity(t) for t in (0, 50, 100)]
        [0.0, 0.7000000000000001, 0.8]

    Source:
        Zhu and Gupta, "To prune, or not to prune", ICLR 2018 workshop, arXiv 1710.01878, eq. 1.
    """

    target: float
    begin: int
    end: int
    every: int = 50

    def __post_init__(self) -> None:
        if not (0 <= self.target < 1 and 0 <= self.begin < self.end and self.every >= 1):
            raise InputError(
                "expected a target from 0 to below 1, 0 <= begin < end and every >= 1, got "
                f"{self.target}, {self.begin}, {self.end} and {self.every}"
            )

    def sparsity(self, step: int) -> float:
        """Return the part of the weights that is zero from a step on."""
        left = 1 - (min(max(step, self.begin), self.end) - self.begin) / (self.end - self.begin)
        return self.target * (1 - left**3)

    def due(self, step: int) -> bool:
        """Return whether weights are pruned before a step."""
        within = self.begin <= step <= self.end
        return within and ((step - self.begin) % self.every == 0 or step == self.end)
