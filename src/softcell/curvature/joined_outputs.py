"""Curvature across the outputs of a layer, where each has too few weights of its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from softcell.curvature.layer import LayerCurvature, mean_curvature

_SHORT = 32  # weights of an output up to which outputs are joined,
_SMALL = 1 << 14  # in matrices of so many weights at most,
_LONGEST = 1152  # to rows of so many at most: 5 MB each


class JoinedSum:
    """Running sums of G^T G, with G the gradient of several outputs' weights as one row.

    A row has as many weights as there are batches, or more: what two outputs seem to have to do
    with each other is partly chance. Entries between outputs are therefore shrunk by the share of
    their energy that is more than chance,

    1 - V / E,  E = sum S_ij^2,  V = (sum_n sum (g_ni g_nj)^2 - E / N) N / (N - 1),

    S = sum_n g_n^T g_n over N batches, and i, j over all weights of different outputs.

    Source:
        Ledoit and Wolf, Journal of Multivariate Analysis 88, 365 (2004), sections 2 and 3: the
        share that minimises the expected square error, here towards independent outputs.
    """

    def __init__(self, weight: Tensor, joined: int) -> None:
        """Start with nothing seen of a parameter of which so many outputs are joined."""
        stacks, width = len(weight) // joined, weight.numel() // len(weight) * joined
        self._joined = joined
        self._total = torch.zeros((stacks, width, width), dtype=torch.float32, device=weight.device)
        self._fourth = torch.zeros(stacks, dtype=torch.float64, device=weight.device)
        self._batches = 0

    def add(self, gradient: Tensor) -> None:
        """Add the gradient of one batch."""
        rows = gradient.float().reshape(len(self._total), 1, -1)
        self._total.baddbmm_(rows.mT, rows)
        powers = rows.double().square().reshape(len(rows), self._joined, -1).sum(dim=2)
        self._fourth += powers.sum(dim=1).square() - powers.square().sum(dim=1)
        self._batches += 1

    def curvature(self, diagonal: np.ndarray, predictions: int) -> LayerCurvature:
        """Return the mean, given the mean squared gradients of the same batches."""
        columns = self._total.shape[1] // self._joined
        output = torch.arange(self._total.shape[1], device=self._total.device) // columns
        own = output[:, None] == output
        energy = self._total.masked_fill(own, 0).double().square().sum(dim=(1, 2))
        chance = self._fourth - energy / self._batches
        chance *= self._batches / max(self._batches - 1, 1)
        share = (1 - chance / energy).nan_to_num(0).clamp(0, 1) if self._batches > 1 else energy * 0
        shrunk = torch.where(own, self._total, share.float()[:, None, None] * self._total)
        rows = diagonal.reshape(len(shrunk), -1).mean(axis=1)
        return mean_curvature(shrunk, predictions, rows, joined=True)


def joined_outputs(weight: Tensor) -> int:
    """Return how many outputs of a layer are joined in one row; 1 where there is no need.

    Example:
        >>> joined_outputs(torch.empty(256, 1, 3, 3)), joined_outputs(torch.empty(64, 64, 3, 3))
        (128, 1)
    """
    outputs, columns = len(weight), weight.numel() // len(weight)
    if columns > _SHORT or weight.numel() > _SMALL:
        return 1
    return max(n for n in range(1, _LONGEST // columns + 1) if outputs % n == 0)
