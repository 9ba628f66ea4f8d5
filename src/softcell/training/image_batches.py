"""Batches of training images, each a function of its number."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from softcell.errors import InputError
from softcell.evaluate.datasets import Images
from softcell.evaluate.preprocessing import Preprocessing, random_offsets, shifted
from softcell.streams import Stream


class ImageBatches:
    """Batch number n of images in a random order, another in every epoch, shifted at random.

    Args:
        images: The images, at least one.
        preprocessing: Their normalisation.
        size: Images in a batch, at least 1; the last of an epoch may be smaller.
        shift: Images are shifted by up to so many pixels either way, at least 0.
        seed: Seed of order and shifts, 0 to 2**63 - 1.

    Raises:
        InputError: A value is out of range.
    """

    def __init__(
        self,
        images: Images,
        preprocessing: Preprocessing,
        *,
        size: int = 128,
        shift: int = 1,
        seed: int = 0,
    ) -> None:
        if not len(images.labels) or size < 1 or shift < 0:
            raise InputError(
                f"expected images, size >= 1 and shift >= 0, got {len(images.labels)} images, "
                f"{size} and {shift}"
            )
        self._pixels = torch.from_numpy(images.pixels)
        self._labels = torch.from_numpy(images.labels)
        self._preprocessing, self._size, self._shift = preprocessing, size, shift
        self._stream = Stream.of(seed, "image batches")
        self.epoch = math.ceil(len(images.labels) / size)
        """Batches in an epoch."""
        self._drawn: tuple[int, Tensor, Tensor] | None = None

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the images, float32 (batch, channels, height, width), and labels of a step."""
        epoch, within = divmod(step, self.epoch)
        if self._drawn is None or self._drawn[0] != epoch:
            turn, count = self._stream.named(f"epoch {epoch}"), len(self._labels)
            order = np.argsort(turn.named("order").uniform(count), kind="stable")
            offsets = random_offsets(turn, count, self._shift)
            self._drawn = epoch, torch.from_numpy(order), offsets
        _, order_, offsets_ = self._drawn
        chosen = order_[within * self._size : (within + 1) * self._size]
        pixels = shifted(self._pixels[chosen], offsets_[:, chosen])
        return self._preprocessing(pixels), self._labels[chosen]
