"""Mean and variance of every channel of activations, pooled over batches and uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

_RUN = 1 << 22
"""Values that are held in float64 at a time."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and variance of the values of each channel.

    Args:
        count: Values of a channel, >= 0.
        mean: Their mean, float64, shape (channels,).
        variance: Their mean squared distance from it, float64, shape (channels,).
    """

    count: int
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, x: Tensor, axis: int) -> Moments:
        """Return the moments of a tensor whose channels lie along `axis`.

        Example:
            >>> Moments.of(torch.tensor([[1.0, 2.0], [3.0, 6.0]]), 1).variance.tolist()
            [1.0, 4.0]
        """
        rows = x.detach().movedim(axis, 0)
        if rows.ndim == 1:
            rows = rows[:, None]
        channels, runs = len(rows), max(-(-rows.numel() // _RUN), 1)
        parts = []
        # In float64, because activations of a large mean and a small variance are usual.
        for part in rows.split(-(-rows.shape[1] // runs), dim=1):
            values = part.reshape(channels, -1).double()
            variance, mean = torch.var_mean(values, dim=1, correction=0)
            parts.append(cls(values.shape[1], mean, variance))
        return cls.pooled(parts)

    @classmethod
    def pooled(cls, parts: Iterable[Moments]) -> Moments:
        """Return the moments of all values together, of at least one part.

        v = sum_i n_i (v_i + (m_i - m)^2) / sum_i n_i
        """
        parts = list(parts)
        counts = parts[0].mean.new_tensor([part.count for part in parts])[:, None]
        shares = counts / counts.sum()
        means = torch.stack([part.mean for part in parts])
        mean = (shares * means).sum(dim=0)
        variances = torch.stack([part.variance for part in parts])
        variance = (shares * (variances + (means - mean) ** 2)).sum(dim=0)
        return cls(int(counts.sum()), mean, variance)

    @property
    def finite(self) -> bool:
        """Whether every mean and variance is finite."""
        return bool(self.mean.isfinite().all() and self.variance.isfinite().all())
