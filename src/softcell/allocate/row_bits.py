"""Bits shared among the rows of all matrices, where they take most from the expected loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.setting import Setting
from softcell.allocate.survey import TensorSurvey
from softcell.codes.bfloat16 import ceiling
from softcell.codes.maps.source import nearest_shape

Code = TypeVar("Code")


def share_bits(
    loss: NDArray[np.float64], weights: NDArray[np.integer], budget: float
) -> NDArray[np.uint8]:
    """Share bits among groups so that sum weights loss[group, bits] is least.

    Each group climbs its own convex curve; bits go where one bit gains most for each weight, until
    the budget is spent. Groups that gain equally come in their order.

    Args:
        loss: Expected loss of one weight of each group by its number of bits, shape
            (groups, choices), convex and falling along the second axis.
        weights: Number of weights in each group, shape (groups,).
        budget: Bits to spend.

    Returns:
        Bits of a weight of each group, shape (groups,).

    Example:
        >>> curve = np.array([1.0, 0.25, 0.0625])
        >>> share_bits(np.outer([1.0, 8.0], curve), np.array([10, 10]), 30).tolist()
        [1, 2]
    """
    groups, choices = loss.shape
    gain = -np.diff(loss, axis=1)
    # A later bit of a group never comes before an earlier one, whatever rounding says.
    gain = np.minimum.accumulate(np.maximum(gain, 0), axis=1)
    group, step = np.divmod(np.argsort(-gain, axis=None, kind="stable"), choices - 1)
    cost = weights[group].astype(np.float64)
    useful = gain[group, step] > 0
    taken = useful & (np.cumsum(np.where(useful, cost, 0)) <= budget)
    bits = np.bincount(group[taken], minlength=groups)
    left = budget - float(cost[taken].sum())
    # What no longer fitted in order may still fit further down, for a smaller group.
    for g, s in zip(group[useful & ~taken], step[useful & ~taken]):
        if weights[g] <= left and bits[g] == s:
            bits[g] += 1
            left -= float(weights[g])
    return bits.astype(np.uint8)


def shared_bits(
    setting: Setting,
    distortions: Callable[[int], list[float]],
    code: Callable[[int, float, NDArray[np.uint8]], Code],
    cost: Callable[[Code, TensorSurvey], tuple[int, int]],
    bits_per_cell: float,
) -> dict[str, Code]:
    """Share bits among the rows of all matrices, where the expected loss falls most.

    Rows that feel alike are served evenly over all tensors.

    Args:
        setting: What has to be stored.
        distortions: Distortion of a weight of unit deviation by bits, for a density's index.
        code: Makes a code of a density, a deviation and the bits of each row.
        cost: Bytes in the store and cells of a code.
        bits_per_cell: Bits that one more cell pays for.
    """
    tensors = setting.matrices
    if not tensors:
        return {}
    forms = {s.info.name: _form(s) for s in tensors}
    loss = np.concatenate(
        [np.outer(s.importance * s.variance, distortions(forms[s.info.name][0])) for s in tensors]
    )
    weights = np.concatenate([np.full(s.rows, s.columns) for s in tensors])
    place = np.concatenate([(np.arange(s.rows) + 0.5) / s.rows for s in tensors])
    order = np.argsort(place, kind="stable")
    ends = np.cumsum([s.rows for s in tensors])[:-1]
    budget = setting.target * bits_per_cell
    while True:
        bits = np.zeros(len(weights), np.uint8)
        bits[order] = share_bits(loss[order], weights[order], max(budget, 0.0))
        codes = {
            s.info.name: code(*forms[s.info.name], part)
            for s, part in zip(tensors, np.split(bits, ends))
        }
        over = setting.cells(cost(codes[s.info.name], s) for s in tensors) - setting.target
        if over <= 0 or not bits.any():
            return codes
        spent = float((weights * bits).sum(dtype=np.int64))
        budget = min(budget, spent) - max(over, 1) * bits_per_cell


def _form(tensor: TensorSurvey) -> tuple[int, float]:
    """Return the shape of a tensor's density and its deviation as it will be stored."""
    sizes = tensor.magnitudes
    mean = float(sizes.values @ sizes.counts) / tensor.info.size
    deviation = float(np.sqrt(tensor.variance))
    return nearest_shape(mean, deviation), ceiling(deviation)
