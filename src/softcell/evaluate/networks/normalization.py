"""Batch normalisation whose state is exactly its four tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class BatchNorm(nn.Module):
    """Normalise every channel, then scale and shift it.

    y = (x - running_mean) / sqrt(running_var + eps) * weight + bias

    In training mode the mean and variance of the batch take the place of the running ones, which
    follow them with a momentum of 0.1. Unlike `torch.nn.BatchNorm2d` it counts no batches, so that
    its state dict holds nothing that evaluation does not need.

    Args:
        channels: Number of channels, the size of dimension 1 of the input.
        eps: Added to the variance, > 0.

    Example:
        >>> sorted(BatchNorm(8).state_dict())
        ['bias', 'running_mean', 'running_var', 'weight']

    Source:
        Ioffe and Szegedy, ICML 2015, arXiv 1502.03167, Algorithms 1 and 2.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `x`, shape (images, channels, ...)."""
        return functional.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training,
            momentum=0.1,
            eps=self.eps,
        )
