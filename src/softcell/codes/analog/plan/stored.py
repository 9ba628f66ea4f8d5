"""What of a network goes to the cells of the analog code, and what the mask keeps out of them."""

from __future__ import annotations

import numpy as np

from softcell.allocate.setting import Setting
from softcell.allocate.survey import TensorSurvey
from softcell.codes.analog.plan.ranges import binary_entropy
from softcell.codes.analog.value_range import Histogram
from softcell.errors import InfeasibleError


def masks_zeros(setting: Setting, tensor: TensorSurvey) -> bool:
    """Return whether a mask of a tensor's zeros costs less than to store them, each in a cell."""
    share = tensor.zeros / tensor.info.size
    saved = share * (max(setting.cells_per_weight, 1.0) + 1 / setting.store.bits_per_cell)
    cost = binary_entropy(share) / setting.store.bits_per_cell
    return setting.scheme.has("sparsity") and tensor.zeros > 0 and saved >= cost


def stored_magnitudes(setting: Setting, tensor: TensorSurvey) -> Histogram:
    """Return the sizes of the weights of a tensor that go to cells."""
    return tensor.magnitudes.with_zeros(0 if masks_zeros(setting, tensor) else tensor.zeros)


def require_a_cell_each(setting: Setting) -> None:
    """Find out whether there is a cell for each weight that the mask leaves.

    With one for every weight of the network there is, whatever the side information takes.

    Raises:
        InfeasibleError: There are fewer.
    """
    stored, weights = _stored(setting), sum(s.info.size for s in setting.surveys)
    if setting.cells_per_weight < min(stored / max(weights, 1), 1.0):
        raise InfeasibleError(
            f"scheme {setting.scheme.name!r} takes a cell for each weight that is not masked, "
            f"{stored:,} of {weights:,}; got {setting.cells_per_weight:g} cells per weight"
        )


def mean_cells(setting: Setting) -> float:
    """Return about how many cells a weight gets, of those that go to cells; at least 0."""
    masked = [s for s in setting.matrices if masks_zeros(setting, s)]
    stored = _stored(setting)
    bits = 8.0 * setting.fixed_bytes + (stored if setting.scheme.has("sign") else 0)
    for s in masked:
        bits += s.info.size * binary_entropy(s.zeros / s.info.size)
    return max(setting.target - bits / setting.store.bits_per_cell, 0.0) / max(stored, 1)


def pooled_magnitudes(setting: Setting) -> Histogram:
    """Return the sizes of all weights that go to cells, in units of their tensor's own."""
    parts = []
    for s in setting.matrices:
        scale = np.sqrt(s.variance * s.info.size / max(s.info.size - s.zeros, 1))
        histogram = stored_magnitudes(setting, s)
        if scale > 0:
            parts.append(Histogram(histogram.values / scale, histogram.counts))
    return Histogram.pooled(parts)


def _stored(setting: Setting) -> int:
    """Return how many weights go to cells."""
    return sum(s.info.size - (s.zeros if masks_zeros(setting, s) else 0) for s in setting.matrices)
