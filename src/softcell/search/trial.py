"""One trial of the search, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from softcell.errors import FormatError
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
        divergence = self.verdict.divergence
        finite = None if divergence is None or not np.isfinite(divergence) else divergence
        values = asdict(self) | {"recipe": self.recipe.values()}
        values["verdict"]["divergence"] = finite
        return values | {"score": self.score if np.isfinite(self.score) else None}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Trial:
        """Return the trial of plain values.

        Raises:
            FormatError: They are those of no trial.
        """
        try:
            given = dict(values)
            score = given.pop("score")
            return cls(
                recipe=Recipe.of(given.pop("recipe")),
                verdict=Verdict(**given.pop("verdict")),
                score=float("inf") if score is None else float(score),
                **given,
            )
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise FormatError(f"a trial in the plan is not as expected ({error})") from None
