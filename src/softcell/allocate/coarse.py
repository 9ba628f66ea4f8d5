"""Which rows get how many coarse bits: where a bit takes most from the expected loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.scheme import HYBRID
from softcell.allocate.setting import Setting
from softcell.allocate.survey import TensorSurvey
from softcell.channel import Channel
from softcell.codes.analog import CoarseCode, encode_coarse_side, stored_deviation
from softcell.codes.analog.coarse_to_fine import MOST_BITS, design_map, nearest_shape


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


def coarse_codes(setting: Setting) -> dict[str, CoarseCode]:
    """Return the coarse-to-fine code of every matrix.

    Together with all else that is stored they keep to the target, unless one cell for each weight
    is already more: then no weight has a coarse bit. Rows get bits where the expected loss falls
    most; rows that feel alike are served evenly over all tensors.
    """
    tensors = setting.analog
    if not tensors:
        return {}
    forms = {s.info.name: _form(s) for s in tensors}
    loss = np.concatenate([_loss(s, forms[s.info.name][0], setting.channel) for s in tensors])
    weights = np.concatenate([np.full(s.rows, s.columns) for s in tensors])
    place = np.concatenate([(np.arange(s.rows) + 0.5) / s.rows for s in tensors])
    order = np.argsort(place, kind="stable")
    ends = np.cumsum([s.rows for s in tensors])[:-1]
    protected = setting.scheme.name == HYBRID
    store = setting.store
    bits_per_cell = store.bits_per_cell if protected else float(store.bits_per_symbol)
    budget = setting.target * bits_per_cell
    while True:
        bits = np.zeros(len(weights), np.uint8)
        bits[order] = share_bits(loss[order], weights[order], max(budget, 0.0))
        codes = {
            s.info.name: CoarseCode(*forms[s.info.name], part, protected)
            for s, part in zip(tensors, np.split(bits, ends))
        }
        over = _cells(setting, codes) - setting.target
        if over <= 0 or not bits.any():
            return codes
        spent = float((weights * bits).sum(dtype=np.int64))
        budget = min(budget, spent) - max(over, 1) * bits_per_cell


def _form(tensor: TensorSurvey) -> tuple[int, float]:
    """Return the shape of a tensor's density and its deviation as it will be stored."""
    sizes = tensor.magnitudes
    mean = float(sizes.values @ sizes.counts) / tensor.info.size
    deviation = float(np.sqrt(tensor.variance))
    return nearest_shape(mean, deviation), stored_deviation(deviation)


def _loss(tensor: TensorSurvey, shape: int, channel: Channel) -> NDArray[np.float64]:
    """Return the expected loss of one weight by row and number of bits."""
    curve = [design_map(channel, shape, bits).distortion for bits in range(MOST_BITS + 1)]
    return np.outer(tensor.importance * tensor.variance, curve)


def _cells(setting: Setting, codes: dict[str, CoarseCode]) -> int:
    data, cells = setting.fixed_bytes, 0
    for tensor in setting.analog:
        code = codes[tensor.info.name]
        data += len(encode_coarse_side(code))
        if code.protected:
            data += -(-code.coarse_bits(tensor.columns) // 8)
        cells += tensor.info.size + code.coarse_cells(tensor.columns, setting.store)
    return cells + setting.store.cells(data)
