"""One trial of the search, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from softcell.records import record_of, require_keys, values_of
from softcell.search.judge import SEARCH, Verdict
from softcell.search.recipe import Recipe


@dataclass(frozen=True)
class Trial:
    """A recipe at a number of cells, and what came of it.

    Args:
        recipe: The recipe.
        target: Cells per weight that were asked for.
        cells_per_weight: Those that it took, everything counted.
        verdict: What was measured, on average over the chips.
        predicted: Divergence in nats that the curvature lets one expect; None without.
        score: Part of what is allowed that it takes.
        inputs: Set of inputs that it was measured on.
        chips: Number of chips that it was written to.
        first_seed: Seed of the first of them.
    """

    recipe: Recipe
    target: float
    cells_per_weight: float
    verdict: Verdict
    predicted: float | None
    score: float
    inputs: int = SEARCH
    chips: int = 1
    first_seed: int = 0

    def values(self) -> dict[str, Any]:
        """Return plain values, for a file."""
        values = values_of(self)
        divergence = self.verdict.divergence
        if divergence is not None and not np.isfinite(divergence):
            values["verdict"]["divergence"] = None
        return values | {"score": self.score if np.isfinite(self.score) else None}

    @classmethod
    def of(cls, values: Any, where: str) -> Trial:
        """Return the trial of plain values.

        Raises:
            FormatError: They are those of no trial.
        """
        require_keys(values, ("recipe", "score"), where)
        lost = values["score"] is None
        given = {**values, "score": 0.0} if lost else values
        # A recipe may be of a version that knew more or less.
        trial = record_of(cls, given, where, optional=True, rest=True)
        return replace(trial, score=float("inf")) if lost else trial
