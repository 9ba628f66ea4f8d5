"""What a plan has to keep to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from softcell.durations import Ages
from softcell.errors import InputError
from softcell.search.recipe import DECODERS

if TYPE_CHECKING:
    from softcell.search.judge import Verdict

NOW = Ages(0.0, 0.0)


@dataclass(frozen=True)
class Goal:
    """What must hold of a stored network, at the ages that it is read at.

    Args:
        max_drop: Accuracy that it may lose, such as 0.005 for half a point; or None.
        max_divergence: Divergence of its outputs in nats that it may have; or None.
        max_cells: Cells per weight that it may take; or None.
        decoder: "any", or "table": weights are decoded by look-up alone.
        ages: Ages at which the cells are read.
        verify: Whether cells may be read while they are written.

    Raises:
        InputError: Nothing is asked for, or something that cannot be.
    """

    max_drop: float | None = None
    max_divergence: float | None = None
    max_cells: float | None = None
    decoder: str = "any"
    ages: Ages = NOW
    verify: bool = True

    def __post_init__(self) -> None:
        asked = [self.max_drop, self.max_divergence, self.max_cells]
        if all(each is None for each in asked):
            raise InputError("ask for a largest drop, divergence or number of cells")
        if any(each is not None and not 0 < each < float("inf") for each in asked):
            raise InputError(
                "largest drop, divergence and number of cells must be above 0, got "
                f"{self.max_drop}, {self.max_divergence} and {self.max_cells}"
            )
        if self.max_drop is not None and self.max_drop >= 1:
            raise InputError(f"the largest drop is a part of 1 such as 0.005, got {self.max_drop}")
        if self.decoder not in DECODERS:
            raise InputError(f"the decoder is one of {', '.join(DECODERS)}, got {self.decoder!r}")

    @property
    def measured(self) -> bool:
        """Whether a plan has to keep to something that is measured."""
        return self.max_drop is not None or self.max_divergence is not None

    def score(self, verdict: Verdict) -> float:
        """Return how much of what is allowed a network takes: up to 1 is good enough.

        Where only cells are limited it is the drop itself, or the divergence.

        Raises:
            InputError: What is asked for was not measured, or is no more than guessing gives.
        """
        scores = []
        if self.max_drop is not None:
            if verdict.drop is None:
                raise InputError(
                    "a largest drop needs an evaluate function or a task; ask for a divergence"
                )
            if verdict.guessing is not None and self.max_drop >= verdict.guessing:
                raise InputError(
                    f"the float network is only {100 * verdict.guessing:.2f} points better than "
                    f"guessing, and a drop of {100 * self.max_drop:g} would leave nothing of "
                    "that; allow less"
                )
            scores.append(verdict.drop / self.max_drop)
        if self.max_divergence is not None:
            if verdict.divergence is None:
                raise InputError("a largest divergence needs the network's module and inputs")
            scores.append(verdict.divergence / self.max_divergence)
        if not scores:
            found = verdict.divergence if verdict.drop is None else verdict.drop
            scores.append(float("inf") if found is None else found)
        return max(scores)

    def __str__(self) -> str:
        parts = []
        if self.max_drop is not None:
            parts.append(f"a drop of at most {100 * self.max_drop:g} points")
        if self.max_divergence is not None:
            parts.append(f"a divergence of at most {self.max_divergence:g}")
        if self.max_cells is not None:
            parts.append(f"at most {self.max_cells:g} cells per weight")
        return " and ".join(parts)
