"""How well the curvature predicts, measured on groups of layers: the sensitivities' correction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.curvature import Calibration
from softcell.image.closed_loop import Correct, WrittenNetwork, losses
from softcell.progress import Progress
from softcell.records import values_of

Divergence = Callable[[Mapping[str, NDArray[Any]]], float | None]
"""Gives the divergence in nats of a network of these tensors from the float one; None if it is not
known."""

GROUPS = 12
"""Groups of layers, each of which is measured once."""

_MOST = 8.0
"""A sensitivity is corrected by this factor at most, either way."""


@dataclass(frozen=True)
class GroupError:
    """Divergence of a network in which one group of layers alone is as it was stored.

    Args:
        tensors: The group's matrices.
        predicted: Divergence in nats that the curvature lets one expect.
        measured: The one measured.
    """

    tensors: tuple[str, ...]
    predicted: float
    measured: float

    @property
    def factor(self) -> float:
        """What the sensitivities of the group are to be multiplied by."""
        if self.predicted <= 0 or not np.isfinite(self.measured) or self.measured <= 0:
            return 1.0
        return float(np.clip(self.measured / self.predicted, 1 / _MOST, _MOST))

    def values(self) -> dict[str, Any]:
        """Return plain values, for a file."""
        return values_of(self) | ({} if np.isfinite(self.measured) else {"measured": None})


def group_errors(
    state: Mapping[str, NDArray[Any]],
    written: WrittenNetwork,
    calibration: Calibration,
    divergence: Divergence,
    correct: Correct | None,
    *,
    progress: Progress | None = None,
) -> list[GroupError]:
    """Measure groups of layers one at a time, in the order of the network.

    Args:
        state: The float network, as it was to be written.
        written: What became of it.
        calibration: Curvature of its layers.
        divergence: Measures it.
        correct: Corrects the drift of activations, as it is corrected in the whole network.
        progress: Called after each group.
    """
    expected = losses(written, calibration)
    names = [name for name in written.seen if name in expected]
    groups = [list(part) for part in np.array_split(names, min(GROUPS, len(names))) if len(part)]
    found = []
    for done, group in enumerate(groups, start=1):
        mixed = {**state, **{str(name): written.seen[str(name)] for name in group}}
        if correct is not None:
            mixed |= correct(mixed)
        measured = divergence(mixed)
        if measured is None:
            return []
        tensors = tuple(str(name) for name in group)
        found.append(GroupError(tensors, sum(expected[n] for n in tensors), measured))
        if progress:
            progress("groups of layers", done, len(groups))
    return found


def factors(errors: list[GroupError]) -> dict[str, float]:
    """Return what the sensitivity of each matrix is to be multiplied by.

    Only ratios between groups matter; their mean, weighted by the predicted loss, is 1.
    """
    total = sum(e.predicted for e in errors)
    if total <= 0:
        return {}
    mean = sum(e.predicted * e.factor for e in errors) / total
    return {name: e.factor / mean for e in errors for name in e.tensors}
