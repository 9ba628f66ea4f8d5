"""How good are these weights? A trained network, its test images and its accuracy on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from softcell.errors import InputError
from softcell.evaluate.datasets import DATASETS, Images, data_file
from softcell.evaluate.models import TASKS, ImageCounts, Model
from softcell.evaluate.preprocessing import Augmentation
from softcell.progress import Progress
from softcell.streams import Stream
from softcell.weights.tensor_file import read_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["SUBSETS", "TASKS", "Task", "load_task"]

SUBSETS = ("all", "held_out")
"""Which test images measure a network: all, or those that calibration never sees."""


@dataclass(frozen=True)
class Task:
    """A trained network and the images that measure it.

    `load_task` makes one from the names alone.

    Args:
        name: Key of `TASKS`.
        model: Key of `TASKS[name]`.
        images: Number of test images, at least 1 and at most those of the subset. Fewer than all
            are taken at even distances, so that every class keeps its share.
        subset: `all` test images, or those `held_out`, which calibration never sees. The two
            differ for ImageNet only: of its 1,000 images, all that there are, every fifth serves
            calibration, and 800 are held out.

    Raises:
        InputError: An unknown name, or a number of images out of range.
    """

    name: str
    model: str
    images: int
    subset: str = field(default="all", kw_only=True)

    def __post_init__(self) -> None:
        _check_names(self.name, self.model, self.subset)
        available = _available(self.name, self.subset)
        if not 1 <= self.images <= len(available):
            raise InputError(
                f"images must be from 1 to {len(available)} for {self.name} ({self.subset}), "
                f"got {self.images}"
            )

    def __getstate__(self) -> dict[str, object]:
        # What is cached is not sent to worker processes; they read it again.
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @property
    def _model(self) -> Model:
        return TASKS[self.name][self.model]

    @cached_property
    def _weights(self) -> dict[str, np.ndarray]:
        if self._model.weights is None:
            from softcell.evaluate.small_networks import trained_weights

            return trained_weights(self.name, self.model)
        return read_tensors(data_file(self._model.weights))[0]

    @cached_property
    def _test(self) -> Images:
        available = _available(self.name, self.subset)
        chosen = np.arange(self.images) * len(available) // self.images
        return DATASETS[self.name].test(available[chosen])

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the weights of the trained network.

        Returns:
            float32 arrays by name, all parameters and buffers, a copy of the caller's own.

        Raises:
            InputError: The data folder is not set or lacks the file.
            FormatError: The file is damaged.
        """
        return {name: array.copy() for name, array in self._weights.items()}

    def module(self) -> nn.Module:
        """Return the trained network in evaluation mode, a copy of the caller's own."""
        from softcell.evaluate.networks import with_weights

        return with_weights(self._model.network, self._weights)

    def evaluate(self, state: Mapping[str, np.ndarray]) -> float:
        """Measure the top-1 accuracy of a network with the given weights.

        An image whose largest logit is not finite counts as wrong, so that weights that a memory
        has spoilt give a bad accuracy and not an error.

        Args:
            state: One array for every tensor of `state_dict()`, of its shape.

        Returns:
            Fraction of the test images that are classified rightly, in [0, 1]; the same to the
            bit on any number of threads.

        Raises:
            InputError: A tensor is missing, unknown or of a wrong shape, or the data are missing.
            FormatError: The file of the images is damaged.
        """
        logits = self.outputs(state)
        winner = logits.argmax(axis=1)
        largest = logits[np.arange(len(logits)), winner]
        return float(np.mean((winner == self._test.labels) & np.isfinite(largest)))

    def outputs(self, state: Mapping[str, np.ndarray]) -> NDArray[np.float32]:
        """Return the logits of a network with the given weights on the test images.

        Args:
            state: As for `evaluate`.

        Returns:
            float32, shape (images, classes), not necessarily finite.

        Raises:
            InputError: As for `evaluate`.
            FormatError: As for `evaluate`.
        """
        import torch

        from softcell.evaluate.inference import batched_outputs
        from softcell.evaluate.networks import with_weights

        return batched_outputs(
            with_weights(self._model.network, state),
            torch.from_numpy(self._test.pixels),
            self._model.preprocessing,
            batch=self._model.batch,
        )

    def calibration(self, count: int, *, seed: int) -> Tensor:
        """Return training images as the network takes them in, varied so that they are new to it.

        Images are drawn without repetition as long as there are any, then cropped or shifted,
        mirrored where that leaves their meaning, and mixed in pairs. They are never test images;
        for ImageNet, never of those held out (see `Task`).

        Args:
            count: Number of images, >= 1.
            seed: Seed of the draw and the variation, 0 to 2**63 - 1.

        Returns:
            float32, shape (count, channels, height, width), normalised.

        Raises:
            InputError: A count below 1, or the data are missing.
            FormatError: A file of the images is damaged.
        """
        return self._varied(count, Stream.of(seed, "calibration"), self._model.augmentation)

    def validation(self, count: int, *, seed: int) -> Tensor:
        """Return training images as they may be met in use: shifted, mirrored, zoomed, not mixed.

        The network may know these images by heart and be too sure of them; see `accuracy`.

        Args:
            count: Number of images, >= 1.
            seed: Seed of the draw and the variation, 0 to 2**63 - 1.

        Returns:
            As for `calibration`, whose images of the same seed are others.

        Raises:
            InputError: As for `calibration`.
            FormatError: As for `calibration`.
        """
        return self._varied(count, Stream.of(seed, "validation"), self._model.variation)

    @property
    def counts(self) -> ImageCounts:
        """How many images serve what is learnt of the network and measured of it."""
        return self._model.counts

    @property
    def accuracy(self) -> float:
        """Accuracy on new images that is published of the network or of others like it, 0 to 1."""
        return self._model.accuracy

    def _varied(self, count: int, stream: Stream, augmentation: Augmentation) -> Tensor:
        import torch

        if count < 1:
            raise InputError(f"count must be at least 1, got {count}")
        pool = DATASETS[self.name].training().pixels
        rounds = -(-count // len(pool))
        order = [
            np.argsort(stream.named(f"order {turn}").uniform(len(pool)), kind="stable")
            for turn in range(rounds)
        ]
        chosen = torch.from_numpy(pool[np.concatenate(order)[:count]])
        varied = augmentation(chosen, stream)
        for part in varied.split(64):
            part.copy_(self._model.preprocessing(part).permute(0, 2, 3, 1))
        return varied.permute(0, 3, 1, 2)


def load_task(
    name: str,
    model: str | None = None,
    *,
    images: int | None = None,
    subset: str = "all",
    progress: Progress | None = None,
) -> Task:
    """Load a task by name.

    A network that is trained here (digits, MNIST) and not yet in the cache is trained first, in
    seconds (digits) or a minute or two (MNIST); the log says so.

    Args:
        name: `digits`, `mnist`, `cifar10` or `imagenet`.
        model: One of `TASKS[name]`; None for its first.
        images: Number of test images; None for all of the subset.
        subset: `all` or `held_out`, see `Task`.
        progress: Called after each step if the network has to be trained.

    Returns:
        The task, its weights loaded; the images are read when they are first needed.

    Raises:
        InputError: An unknown name, a number of images out of range, or missing data.
        FormatError: A data file is damaged.

    Example:
        >>> load_task("cifar100")
        Traceback (most recent call last):
            ...
        softcell.errors.InputError: unknown task 'cifar100'; there are: digits, mnist, cifar10, \
imagenet
    """
    model = next(iter(TASKS[name])) if model is None and name in TASKS else model
    _check_names(name, model, subset)
    available = _available(name, subset)
    task = Task(name, str(model), len(available) if images is None else images, subset=subset)
    if task._model.weights is None:
        from softcell.evaluate.small_networks import trained_weights

        trained_weights(name, task.model, progress=progress)
    _ = task._weights
    return task


def _available(name: str, subset: str) -> NDArray[np.int64]:
    dataset = DATASETS[name]
    return dataset.held_out if subset == "held_out" else np.arange(dataset.test_images)


def _check_names(name: str, model: str | None, subset: str) -> None:
    if name not in TASKS:
        raise InputError(f"unknown task {name!r}; there are: {', '.join(TASKS)}")
    if model not in TASKS[name]:
        raise InputError(f"unknown model {model!r} of {name}; there are: {', '.join(TASKS[name])}")
    if subset not in SUBSETS:
        raise InputError(f"unknown subset {subset!r}; there are: {', '.join(SUBSETS)}")
