"""Batches of training images, each a function of its number."""

from __future__ import annotations

import torch
from torch import Tensor

from softcell.errors import InputError
from softcell.evaluate.datasets import Images
from softcell.evaluate.preprocessing import Augmentation, Preprocessing
from softcell.streams import Stream
from softcell.training.epoch_order import EpochOrder


class ImageBatches:
    """Batch number n of images in a random order, another in every epoch, varied at random.

    Args:
        images: The images, at least one.
        preprocessing: Their normalisation.
        augmentation: How they are varied. Where images are mixed, labels are those of the larger
            share: train by distillation then.
        size: Images in a batch, at least 1; the last of an epoch may be smaller.
        seed: Seed of order and variation, 0 to 2**63 - 1.

    Raises:
        InputError: A value is out of range.
    """

    def __init__(
        self,
        images: Images,
        preprocessing: Preprocessing,
        *,
        augmentation: Augmentation,
        size: int = 128,
        seed: int = 0,
    ) -> None:
        if not len(images.labels) or size < 1:
            raise InputError(
                f"expected images and size >= 1, got {len(images.labels)} images and {size}"
            )
        self._pixels = torch.from_numpy(images.pixels)
        self._labels = torch.from_numpy(images.labels)
        self._preprocessing, self._augmentation = preprocessing, augmentation
        self._stream = Stream.of(seed, "image batches")
        self._order = EpochOrder(len(images.labels), size, self._stream)
        self.epoch = self._order.epoch
        """Batches in an epoch."""

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the images, float32 (batch, channels, height, width), and labels of a step."""
        chosen = self._order(step)
        pixels = self._augmentation(self._pixels[chosen], self._stream.named(f"step {step}"))
        return self._preprocessing(pixels), self._labels[chosen]
