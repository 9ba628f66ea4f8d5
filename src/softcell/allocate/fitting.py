"""A budget for rows, corrected until all that is stored keeps to the target."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")


def fit(
    made_at: Callable[[float], tuple[Made, float, float]], budget: float, *, of_cell: float = 1.0
) -> Made:
    """Return what a budget makes, the budget lowered until that is not too much.

    What rows cost besides, such as their side information, is known only when they are there.

    Args:
        made_at: Makes something of a budget; returns it, the cells it takes beyond the target, and
            how much of the budget it spent, 0 if it can spend no less.
        budget: To begin with.
        of_cell: What a cell is worth in units of the budget.
    """
    while True:
        made, over, spent = made_at(budget)
        if over <= 0 or not spent:
            return made
        budget = min(budget, spent) - max(over, 1) * of_cell
