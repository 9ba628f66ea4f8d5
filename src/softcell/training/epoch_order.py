"""The order in which inputs are gone through, another in every epoch."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from softcell.streams import Stream


class EpochOrder:
    """Which inputs a step takes: all of them once in an epoch, in a random order.

    Args:
        count: Number of inputs, at least 1.
        size: Inputs in a batch, at least 1; the last of an epoch may be smaller.
        stream: Source of the randomness.

    Example:
        >>> order = EpochOrder(3, 2, Stream.of(0, "order"))
        >>> order.epoch, sorted([*order(0).tolist(), *order(1).tolist()])
        (2, [0, 1, 2])
    """

    def __init__(self, count: int, size: int, stream: Stream) -> None:
        self._count, self._size, self._stream = count, size, stream
        self.epoch = math.ceil(count / size)
        """Batches in an epoch."""
        self._drawn: tuple[int, Tensor] | None = None

    def __call__(self, step: int) -> Tensor:
        """Return the indices of a step's inputs, int64, shape (batch,)."""
        epoch, within = divmod(step, self.epoch)
        if self._drawn is None or self._drawn[0] != epoch:
            drawn = self._stream.named(f"epoch {epoch}").named("order").uniform(self._count)
            self._drawn = epoch, torch.from_numpy(np.argsort(drawn, kind="stable"))
        return self._drawn[1][within * self._size : (within + 1) * self._size]
