"""The one factor of all steps at which a coded network fits its cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from softcell.allocate.setting import Setting
from softcell.errors import InfeasibleError

_ROUNDS = 12
_COARSEST = 80.0
"""Logarithm of a factor at which every weight is zero."""

_CLOSE = 0.002
"""A plan may leave this part of its target unused."""

Made = TypeVar("Made")


def bits_to_spend(setting: Setting) -> float:
    """Return the bits that are left for matrices.

    Raises:
        InfeasibleError: What is stored besides them takes the target and more.
    """
    fixed = setting.store.cells(setting.fixed_bytes)
    if fixed >= setting.target:
        least = fixed / setting.target * setting.cells_per_weight
        raise InfeasibleError(
            f"vectors and integers alone take {least:.3f} cells per weight; ask for more than that"
        )
    return (setting.target - fixed) * setting.store.bits_per_cell


def fit_factor(
    made_at: Callable[[float], Made],
    cells_of: Callable[[Made], int],
    setting: Setting,
    *,
    first: float,
    weights: int,
) -> Made:
    """Return the codes at the factor that spends most of the target and no more.

    One more bit of step is about one bit less of each weight, and less where most are zero: the
    search follows this slope, faster as long as it stays on one side, and halves what lies between
    two sides.

    Args:
        made_at: Makes codes with the logarithm of the factor, to base 2.
        cells_of: Counts all cells of a network with these codes.
        setting: Target and store.
        first: Logarithm to begin with.
        weights: Weights that take bits.

    Raises:
        InfeasibleError: No step is coarse enough.
    """
    best: Made | None = None
    unused, same_side, before = np.inf, 0, 0.0
    low, high, at = -np.inf, np.inf, first
    for done in range(_ROUNDS):
        codes = made_at(at)
        over = cells_of(codes) - setting.target
        if setting.progress:
            setting.progress("steps", done + 1, _ROUNDS)
        if over <= 0:
            high = at
            if -over < unused:
                best, unused = codes, -over
            if over > -_CLOSE * setting.target:
                break
        else:
            low = at
        same_side, before = (same_side + 1 if over * before > 0 else 0), over
        move = over * setting.store.bits_per_cell / max(weights, 1) * 1.2 * 1.5**same_side
        at += float(np.clip(move, -2.0, 4.0)) + (1e-3 if over > 0 else 0.0)
        if np.isfinite(low) and (at <= low or at >= high):
            at = (low + high) / 2 if np.isfinite(high) else low + 0.5
    if best is None:
        high, best = first + _COARSEST, made_at(first + _COARSEST)
        least = cells_of(best)
        if least > setting.target:
            per_weight = least / setting.target * setting.cells_per_weight
            raise InfeasibleError(
                f"no step brings the network into so few cells: it takes {per_weight:.3f} a weight "
                "at least; ask for more"
            )
        for _ in range(_ROUNDS):
            at = (max(low, first) + high) / 2
            codes = made_at(at)
            if cells_of(codes) <= setting.target:
                high, best = at, codes
            else:
                low = at
    return best
