"""Train a network through the storage that it will live in."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from softcell.errors import FormatError, InputError, SoftcellError
from softcell.streams import Stream
from softcell.training.checkpoint import read_checkpoint, write_checkpoint
from softcell.training.objectives import Objective
from softcell.training.price import SteeredPrice
from softcell.training.pruning import GradualPruning
from softcell.training.stored_weights import StoredWeights

Batches = Callable[[int], tuple[Tensor, Tensor]]
"""Gives inputs and labels of a step by its number, the same whenever it is asked."""


@dataclass(frozen=True)
class TrainingProgress:
    """What a progress callback is told after each step.

    Args:
        step: Steps done.
        steps: Steps in all.
        loss: Objective in nats, without the price of bits.
        bits_per_weight: Bits of the matrices over all weights of the network.
    """

    step: int
    steps: int
    loss: float
    bits_per_weight: float


@dataclass(frozen=True)
class StoredTraining:
    """How a network is trained: Adam, its rate falling along a cosine to zero.

    loss = objective + price * bits of the matrices / weights of the network

    With a target the price is only the first one: it then rises and falls such that bits go along
    a line from what they are at the start to the target, and stay there.

    Args:
        steps: Steps of the optimiser, at least 1.
        learning_rate: Of the network's parameters at the start, above 0.
        price: Nats that a bit for every weight is worth, at least 0.
        warm_up: Part of the steps over which the price rises from zero, or bits go to their target;
            from 0 to 1.
        target_bits: Bits of the matrices, over all weights of the network, above 0; None for a
            price that stays as it is.
        settle: Part of the steps after which what is read back as zero stays zero, from 0 to 1.
        frozen_statistics: Normalisations keep the means and variances that they have; otherwise
            they take those of each batch, and their running ones follow.
        bfloat16: Do the network's arithmetic in bfloat16; weights, steps and bits stay float32.
        storage_rate: Learning rate of what storages learn, over the network's, at least 0.
        pruning: When weights are pruned; None for never.
        checkpoint_every: Steps between checkpoints, at least 1.

    Raises:
        InputError: A value is out of range.
    """

    steps: int
    learning_rate: float = 1e-3
    price: float = 0.0
    warm_up: float = 0.0
    target_bits: float | None = None
    settle: float = 1.0
    frozen_statistics: bool = True
    bfloat16: bool = False
    storage_rate: float = 1.0
    pruning: GradualPruning | None = None
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        if self.steps < 1 or self.checkpoint_every < 1:
            raise InputError(
                "expected steps >= 1 and checkpoint_every >= 1, got "
                f"{self.steps} and {self.checkpoint_every}"
            )
        rates = self.learning_rate, self.price, self.storage_rate
        if not (all(math.isfinite(v) and v >= 0 for v in rates) and self.learning_rate > 0):
            raise InputError(
                "expected learning_rate > 0, price >= 0 and storage_rate >= 0, got "
                f"{self.learning_rate}, {self.price} and {self.storage_rate}"
            )
        if not (0 <= self.warm_up <= 1 and 0 <= self.settle <= 1):
            raise InputError(
                f"warm_up and settle must be from 0 to 1, got {self.warm_up} and {self.settle}"
            )
        steered = self.target_bits is not None
        if steered and not (0 < (self.target_bits or 0) < math.inf and self.price > 0):
            raise InputError(
                "a target of bits is above 0 and begins with a price above 0, got "
                f"{self.target_bits} and {self.price}"
            )

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: learning_rate (1 + cos(pi t)) / 2, t from 0 to 1.

        Where zeros settle on the way it begins anew, for the others to move once more.
        """
        settled = round(self.settle * self.steps)
        begin, end = 0, self.steps
        if 0 < settled < self.steps:
            begin, end = (settled, self.steps) if step >= settled else (0, settled)
        return self.learning_rate * (1 + math.cos(math.pi * (step - begin) / (end - begin))) / 2

    def price_at(self, step: int) -> float:
        """Return the price of a step."""
        return self.price * self._risen(step)

    def bits_at(self, step: int, start: float) -> float:
        """Return the bits that a step is to have, given those at the start."""
        target = start if self.target_bits is None else self.target_bits
        return start + (target - start) * self._risen(step)

    def settles(self, step: int) -> bool:
        """Return whether zeros are to stay zero from this step on."""
        return step == round(self.settle * self.steps)

    def _risen(self, step: int) -> float:
        rising = self.warm_up * self.steps
        return min(1.0, (step + 1) / rising) if rising >= 1 else 1.0


def train_stored(
    stored: StoredWeights,
    objective: Objective,
    batches: Batches,
    training: StoredTraining,
    *,
    seed: int,
    checkpoint: Path | None = None,
    resume: bool = False,
    about: str = "",
    progress: Callable[[TrainingProgress], None] | None = None,
) -> None:
    """Train a stored network in place, and leave it in evaluation mode.

    On the CPU the result depends on the arguments alone, to the bit: one thread does the work, and
    a step's randomness is a function of the seed and its number. It runs where the network is.

    Args:
        stored: The network and its storages.
        objective: What to aim at.
        batches: Inputs and labels of every step.
        training: The settings.
        seed: Seed of what is random within the module (dropout), 0 to 2**63 - 1.
        checkpoint: File that keeps the state, every so many steps and at the end.
        resume: Go on from the checkpoint if there is one, to the result that an uninterrupted
            training has. It must have been written with the same settings, seed and objective;
            settings, seed and `about` are compared.
        about: What else tells this training from others, such as its objective.
        progress: Called after each step.

    Raises:
        InputError: The checkpoint is of another training, or cannot be written.
        FormatError: The checkpoint is damaged.
        SoftcellError: The training diverged. The network is as it then was; the last checkpoint
            is of a step before.
    """
    identity = {"training": repr(training), "seed": str(seed), "about": about}
    optimiser = _optimiser(stored, training)
    stream = Stream.of(seed, "stored training")
    rate = _Rate(training)
    done = 0
    if resume and checkpoint is not None and os.path.exists(checkpoint):
        done, numbers = read_checkpoint(checkpoint, stored, optimiser, identity)
        if done > training.steps or not rate.resume(numbers):
            raise FormatError(f"{checkpoint} is damaged: no training of these steps leaves it so")
    device = next(stored.parameters()).device
    threads = torch.get_num_threads()
    stored.train()
    if training.frozen_statistics:
        _freeze_statistics(stored)
    try:
        torch.set_num_threads(1)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            for step in range(done, training.steps):
                torch.manual_seed(int(stream.words(1, draw=step)[0]))
                if training.pruning is not None and training.pruning.due(step):
                    training.pruning.prune(stored, optimiser, step)
                if training.settles(step):
                    stored.prune_zeros()
                report = _step(
                    stored, objective, batches(step), training, optimiser, step, device, rate
                )
                due = report.step % training.checkpoint_every == 0 or report.step == training.steps
                _require_finite(stored if due else None, report, training, checkpoint)
                if checkpoint is not None and due:
                    write_checkpoint(
                        *(checkpoint, stored, optimiser, report.step, identity),
                        numbers=rate.numbers(),
                    )
                if progress is not None:
                    progress(report)
    finally:
        torch.set_num_threads(threads)
        stored.eval()


def _freeze_statistics(stored: StoredWeights) -> None:
    """Have every module with running statistics go by them."""
    for module in stored.modules():
        if isinstance(getattr(module, "running_var", None), Tensor):
            module.eval()


def _optimiser(stored: StoredWeights, training: StoredTraining) -> torch.optim.Optimizer:
    groups = [
        {"params": list(stored.module.parameters()), "scale": 1.0},
        {"params": list(stored.storages.parameters()), "scale": training.storage_rate},
    ]
    return torch.optim.Adam(
        [g for g in groups if g["params"]], lr=training.learning_rate, fused=True
    )


class _Rate:
    """What a bit costs in the steps of a training."""

    def __init__(self, training: StoredTraining) -> None:
        self._training = training
        self._steered = SteeredPrice(training.price)
        self._start: float | None = None

    def price(self, step: int) -> float:
        """Return the price of a step."""
        if self._training.target_bits is None:
            return self._training.price_at(step)
        return self._steered.value

    def see(self, step: int, bits: float) -> None:
        """Learn how many bits a step had."""
        if self._training.target_bits is not None:
            self._start = bits if self._start is None else self._start
            self._steered.see(bits, self._training.bits_at(step, self._start))

    def numbers(self) -> dict[str, float]:
        """Return what goes on from step to step."""
        if self._start is None:
            return {}
        steered = self._steered
        return {"start": self._start, "lasting": steered.lasting, "price": steered.value}

    def resume(self, numbers: Mapping[str, float]) -> bool:
        """Go on from there; say whether they are such numbers."""
        if numbers:
            if self._training.target_bits is None or set(numbers) != {"start", "lasting", "price"}:
                return False
            self._start = numbers["start"]
            self._steered.lasting, self._steered.value = numbers["lasting"], numbers["price"]
        return True


def _step(
    stored: StoredWeights,
    objective: Objective,
    batch: tuple[Tensor, Tensor],
    training: StoredTraining,
    optimiser: torch.optim.Optimizer,
    step: int,
    device: torch.device,
    rate: _Rate,
) -> TrainingProgress:
    for group in optimiser.param_groups:
        group["lr"] = training.rate(step) * group["scale"]
    inputs, labels = (part.to(device) for part in batch)
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=training.bfloat16):
        loss = objective(stored(inputs), inputs, labels)
    bits = stored.bits() / stored.weights
    (loss + rate.price(step) * bits).backward()
    optimiser.step()
    report = TrainingProgress(step + 1, training.steps, float(loss.detach()), float(bits.detach()))
    rate.see(step, report.bits_per_weight)
    return report


def _require_finite(
    stored: StoredWeights | None,
    report: TrainingProgress,
    training: StoredTraining,
    checkpoint: Path | None,
) -> None:
    """Stop a training that has diverged; where its state is to be kept, look at that, too."""
    finite = math.isfinite(report.loss) and math.isfinite(report.bits_per_weight)
    parameters = () if stored is None else stored.parameters()
    if finite and all(bool(torch.isfinite(each).all()) for each in parameters):
        return
    kept = "no checkpoint was kept"
    if checkpoint is not None and os.path.exists(checkpoint):
        kept = f"the last good state is in {checkpoint}"
    raise SoftcellError(
        f"training diverged at step {report.step} of {report.steps} (loss {report.loss}); {kept}; "
        f"lower the learning rate, now {training.learning_rate}"
    )
