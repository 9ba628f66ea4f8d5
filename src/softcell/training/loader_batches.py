"""Batches of a user's own: those of a loader, or inputs that are drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from softcell.errors import InputError
from softcell.streams import Stream
from softcell.training.epoch_order import EpochOrder


class InputBatches:
    """Inputs without labels in batches, in a random order, another in every epoch.

    Args:
        inputs: The inputs, first axis inputs, at least one.
        size: Inputs in a batch, at least 1; the last of an epoch may be smaller.
        seed: Seed of the order, 0 to 2**63 - 1.

    Raises:
        InputError: There are no inputs.
    """

    def __init__(self, inputs: Tensor, *, size: int, seed: int) -> None:
        if inputs.ndim < 2 or not len(inputs):
            raise InputError(
                f"expected inputs along the first axis, got a tensor of shape {tuple(inputs.shape)}"
            )
        self._inputs = _single(inputs.detach().cpu())
        self._order = EpochOrder(len(inputs), size, Stream.of(seed, "input batches"))
        self.epoch = self._order.epoch
        """Batches in an epoch."""

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the inputs of a step, and no labels."""
        return self._inputs[self._order(step)], _NO_LABELS


class LoaderBatches:
    """The batches of a loader, one after the other, epoch after epoch.

    The loader is gone through once for every epoch. What it draws from torch's global generator, as
    a `DataLoader` does for its order and data sets often do for variation, is a function of the
    seed and of the step; the global generator itself is left as it was. So a step has the same
    batch whenever it is asked, which a training that is resumed needs; of a loader that draws from
    another source of randomness it has another.

    Args:
        loader: Gives batches when it is gone through, again and again: inputs and labels, or inputs
            alone; tensors, their first axis inputs.
        labelled: Labels are needed.
        seed: Seed of what it draws, 0 to 2**63 - 1.

    Raises:
        InputError: It cannot be gone through twice, or is empty; or, when it is called, a batch is
            something else, or an epoch has fewer.

    Example:
        >>> batches = LoaderBatches([(torch.ones(2, 3), torch.zeros(2))], labelled=True, seed=0)
        >>> inputs, labels = batches(7)
        >>> batches.epoch, tuple(inputs.shape), labels.tolist()
        (1, (2, 3), [0.0, 0.0])
    """

    def __init__(self, loader: Iterable[Any], *, labelled: bool, seed: int) -> None:
        if not isinstance(loader, Iterable) or isinstance(loader, Iterator):
            raise InputError(
                "a loader gives its batches anew whenever it is gone through, got a "
                f"{type(loader).__name__}; give a torch DataLoader, a list of batches or the like"
            )
        self._loader, self._labelled = loader, labelled
        self._stream = Stream.of(seed, "loader")
        self.epoch = len(loader) if isinstance(loader, Sized) else self._counted()
        """Batches in an epoch."""
        if not self.epoch:
            raise InputError("the loader has no batches; give it some inputs")
        self._left: Iterator[Any] = iter(())
        self._at = -1  # step of the next batch that is left

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of a step; no labels where there are none."""
        epoch, within = divmod(step, self.epoch)
        with torch.random.fork_rng([]):
            if within == 0 or step != self._at:
                self._seed(f"epoch {epoch}")
                self._left = iter(self._loader)
                self._at = epoch * self.epoch
                for _ in range(within):
                    self._next()
            batch = self._next()
        return self._parts(batch)

    def _next(self) -> Any:
        self._seed(f"step {self._at}")
        try:
            batch = next(self._left)
        except StopIteration:
            raise InputError(
                f"the loader had {self._at % self.epoch} batches in an epoch, and {self.epoch} "
                "before; let it have as many each time"
            ) from None
        self._at += 1
        return batch

    def _seed(self, what: str) -> None:
        # Not torch.manual_seed, which would seed the generators of GPUs, too.
        torch.default_generator.manual_seed(int(self._stream.named(what).words(1)[0]))

    def _counted(self) -> int:
        with torch.random.fork_rng([]):
            self._seed("epoch 0")
            return sum(1 for _ in self._loader)

    def _parts(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of a batch.

        Raises:
            InputError: It is something else.
        """
        parts: Any = (batch,) if isinstance(batch, Tensor) else batch
        pair = isinstance(parts, tuple | list) and 1 <= len(parts) <= 2
        if not pair or not all(isinstance(part, Tensor) and part.ndim for part in parts):
            raise InputError(
                f"a batch of the loader is {_shown(batch)}; expected a tensor of inputs, or "
                "inputs and labels"
            )
        if len(parts) > 1:
            return _single(parts[0]), parts[-1]
        if self._labelled:
            raise InputError(
                "the loss takes labels, and the loader gives inputs alone; let it give both, or "
                "leave out the loss"
            )
        return _single(parts[0]), _NO_LABELS


def first_inputs(batches: InputBatches | LoaderBatches, count: int) -> Tensor:
    """Return so many inputs of the first epoch, or all if there are fewer."""
    found: list[Tensor] = []
    for step in range(batches.epoch):
        if sum(len(each) for each in found) >= count:
            break
        found.append(batches(step)[0])
    return torch.cat(found)[:count]


_NO_LABELS = torch.zeros(0)


def _single(inputs: Tensor) -> Tensor:
    """Return inputs as a float32 network takes them; tokens stay whole numbers."""
    return inputs.float() if inputs.is_floating_point() else inputs


def _shown(batch: Any) -> str:
    if isinstance(batch, tuple | list):
        kinds = ", ".join(type(part).__name__ for part in islice(batch, 4))
        return f"a {type(batch).__name__} of {len(batch)} ({kinds})"
    return f"a {type(batch).__name__}"
