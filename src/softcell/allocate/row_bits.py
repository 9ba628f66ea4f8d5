"""Bits shared among the rows of all matrices, where they take most from the expected loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.curves import Curve
from softcell.allocate.fitting import fit
from softcell.allocate.setting import Setting
from softcell.allocate.sharing import share, steepest_first
from softcell.allocate.survey import TensorSurvey
from softcell.bfloat16 import ceiling
from softcell.codes.maps.source import nearest_shape

Code = TypeVar("Code")


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
    steps = steepest_first(
        [
            Curve(
                -np.diff(np.outer(s.importance * s.variance, distortions(forms[s.info.name][0]))),
                np.array(s.columns),
            )
            for s in tensors
        ],
        evenly=True,
    )

    def made_at(budget: float) -> tuple[dict[str, Code], float, float]:
        bits = share(steps, budget)
        codes = {
            s.info.name: code(*forms[s.info.name], part.astype(np.uint8))
            for s, part in zip(tensors, bits)
        }
        over = setting.cells(cost(codes[s.info.name], s) for s in tensors) - setting.target
        return (
            codes,
            over,
            float(sum(s.columns * int(part.sum()) for s, part in zip(tensors, bits))),
        )

    return fit(made_at, setting.target * bits_per_cell, of_cell=bits_per_cell)


def _form(tensor: TensorSurvey) -> tuple[int, float]:
    """Return the shape of a tensor's density and its deviation as it will be stored."""
    sizes = tensor.magnitudes
    mean = float((sizes.values * sizes.counts).sum()) / tensor.info.size
    deviation = float(np.sqrt(tensor.variance))
    return nearest_shape(mean, deviation), ceiling(deviation)
