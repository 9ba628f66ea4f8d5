"""Cells shared among rows: step by step, where a cell takes most from the expected loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.curves import Curve


@dataclass(frozen=True, eq=False)
class Steps:
    """Useful steps of all rows of several curves, the steepest first.

    Args:
        rows: Rows of each curve.
        row: Row of each step, counted over all curves, shape (steps,).
        number: Which of its row's steps it is, from 0, same shape.
        cost: Its cells (or bits), same shape.
    """

    rows: tuple[int, ...]
    row: NDArray[np.int64] = field(repr=False)
    number: NDArray[np.int64] = field(repr=False)
    cost: NDArray[np.float64] = field(repr=False)


def steepest_first(curves: Sequence[Curve], *, evenly: bool = False) -> Steps:
    """Return the steps of curves in the order in which they are worth their cells.

    Args:
        curves: The curves.
        evenly: Steps that gain equally come by the place of their rows in their curves, so that all
            curves are served alike; else, and where that is equal too, curve by curve, row by row.
    """
    if not curves:
        none = np.zeros(0, np.int64)
        return Steps((), none, none, np.zeros(0))
    # A later step of a row never comes before an earlier one, whatever rounding says.
    gains = [np.minimum.accumulate(np.maximum(c.gain, 0), axis=1) for c in curves]
    rows = tuple(len(gain) for gain in gains)
    lengths = [gain.shape[1] for gain in gains]
    gain = np.concatenate([g.reshape(-1) for g in gains])
    cost = [np.broadcast_to(c.cost, c.gain.shape).reshape(-1) for c in curves]
    row = np.repeat(np.arange(sum(rows)), np.repeat(lengths, rows))
    number = np.concatenate([np.tile(np.arange(n), r) for n, r in zip(lengths, rows)])
    if evenly:
        place = np.concatenate([(np.arange(r) + 0.5) / r for r in rows])
        order = np.lexsort((place[row], -gain))
    else:
        order = np.argsort(-gain, kind="stable")
    order = order[gain[order] > 0]
    costs = np.concatenate(cost).astype(np.float64)
    return Steps(rows, row[order], number[order], costs[order])


def share(steps: Steps, budget: float, *, fill: bool = True) -> list[NDArray[np.int64]]:
    """Take the steepest steps until the budget is spent.

    Args:
        steps: The steps.
        budget: Cells (or bits) to spend.
        fill: Whether later steps are taken that still fit where an earlier one of another row does
            not; else the first that does not fit is the end.

    Returns:
        Number of steps that each row takes, shape (rows,) for each curve.

    Example:
        >>> curve = Curve(np.outer([1.0, 8.0], [0.75, 0.1875]), np.array([10, 10]))
        >>> [rows.tolist() for rows in share(steepest_first([curve]), 30)]
        [[1, 2]]
    """
    if not steps.rows:
        return []
    if fill:
        # What is left, and not a sum: whether a step fits exactly is a question of rounding.
        left = np.subtract.accumulate(np.append(float(budget), steps.cost))
        first = int((left[1:] >= 0).sum())
    else:
        first = int((np.cumsum(steps.cost) <= budget).sum())
    taken = np.bincount(steps.row[:first], minlength=sum(steps.rows))
    if fill:
        _fill(taken, steps, first, float(left[first]))
    return np.split(taken, np.cumsum(steps.rows)[:-1])


def _fill(taken: NDArray[np.int64], steps: Steps, first: int, left: float) -> None:
    """Take what still fits of the steps from the first that does not, in their order."""
    small = first + np.flatnonzero(steps.cost[first:] <= left)
    if not small.size:
        return
    least = float(steps.cost[small].min())
    for at in small:
        row, cost = steps.row[at], float(steps.cost[at])
        if cost <= left and taken[row] == steps.number[at]:
            taken[row] += 1
            left -= cost
            if left < least:
                return
