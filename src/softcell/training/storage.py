"""What training sees of a matrix that is to be stored."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Storage(nn.Module, ABC):
    """A differentiable model of how one matrix comes back from storage.

    What it learns (a step, for example) are its parameters; what it remembers (how often it was
    read) are its buffers, so that a state dict holds all of it.
    """

    @abstractmethod
    def forward(self, weight: Tensor) -> Tensor:
        """Return the matrix as it is read back, of the shape and type of the weights."""

    def bits(self, weight: Tensor) -> Tensor:
        """Return the bits that the matrix takes, a scalar that can be differentiated.

        Zero where the weights do not decide it, as in analog cells.
        """
        return torch.zeros((), device=weight.device)


class FloatStorage(Storage):
    """A matrix as it is: for what is trained before it is stored."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weights."""
        return weight


def rows_of(weight: Tensor) -> Tensor:
    """Return a matrix as the codes see it, shape (rows, columns): a convolution's row is a filter.

    Example:
        >>> tuple(rows_of(torch.zeros(4, 3, 2, 2)).shape)
        (4, 12)
    """
    return weight.reshape(len(weight), -1)


def straight_through(value: Tensor, target: Tensor) -> Tensor:
    """Return the target to the bit, with the gradient of the value.

    Example:
        >>> value = torch.tensor([0.3], requires_grad=True)
        >>> seen = straight_through(value, torch.ones(1))
        >>> seen.backward()
        >>> seen.item(), value.grad.item()
        (1.0, 1.0)

    Source:
        Bengio, Léonard and Courville, arXiv 1308.3432 (2013).
    """
    return target.detach() + (value - value.detach())
