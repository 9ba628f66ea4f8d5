"""Matrices that are in their cells already: training sees what is read of them."""

from __future__ import annotations

import torch
from torch import Tensor

from softcell.errors import InputError
from softcell.training.storage import Storage


class WrittenStorage(Storage):
    """A matrix that was written, by whatever code and device: it comes back as it was read.

    It takes no part in training; what does are vectors, biases and normalisations, and other
    matrices.

    Args:
        seen: What was read of the matrix, finite.

    Raises:
        InputError: A weight is not finite.

    Example:
        >>> storage = WrittenStorage(torch.tensor([[1.0, 0.0]]))
        >>> storage(torch.tensor([[0.9, 0.2]], requires_grad=True)).tolist()
        [[1.0, 0.0]]
    """

    seen: Tensor

    def __init__(self, seen: Tensor) -> None:
        super().__init__()
        if not bool(torch.isfinite(seen).all()):
            raise InputError("a matrix that was read holds NaN or infinities; read it again")
        self.register_buffer("seen", seen.detach().clone())

    def forward(self, weight: Tensor) -> Tensor:
        """Return the matrix as it was read.

        Raises:
            InputError: It is of another shape than the weights.
        """
        if weight.shape != self.seen.shape:
            raise InputError(
                f"a matrix of shape {tuple(self.seen.shape)} was read, expected "
                f"{tuple(weight.shape)}; give that of these weights"
            )
        return self.seen.to(weight.dtype)
