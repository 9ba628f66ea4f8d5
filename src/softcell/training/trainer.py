"""Train a network through the storage that it will live in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from softcell.errors import InputError, SoftcellError
from softcell.streams import Stream
from softcell.training.checkpoint import read_checkpoint, write_checkpoint
from softcell.training.objectives import Objective
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

    Args:
        steps: Steps of the optimiser, at least 1.
        learning_rate: Of the network's parameters at the start, above 0.
        price: Nats that a bit for every weight is worth, at least 0.
        warm_up: Part of the steps over which the price rises from zero, from 0 to 1.
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
        if not 0 <= self.warm_up <= 1:
            raise InputError(f"warm_up must be from 0 to 1, got {self.warm_up}")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: learning_rate (1 + cos(pi step / steps)) / 2."""
        return self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2

    def price_at(self, step: int) -> float:
        """Return the price of a step."""
        rising = self.warm_up * self.steps
        return self.price * min(1.0, (step + 1) / rising) if rising >= 1 else self.price


def train_stored(
    stored: StoredWeights,
    objective: Objective,
    batches: Batches,
    training: StoredTraining,
    *,
    seed: int,
    checkpoint: Path | None = None,
    resume: bool = False,
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
            settings and seed are compared.
        progress: Called after each step.

    Raises:
        InputError: The checkpoint is of another training, or cannot be written.
        FormatError: The checkpoint is damaged.
        SoftcellError: The training diverged. The network is as it then was; the last checkpoint
            is of a step before.
    """
    identity = {"training": repr(training), "seed": str(seed)}
    optimiser = _optimiser(stored, training)
    stream = Stream.of(seed, "stored training")
    done = 0
    if resume and checkpoint is not None and checkpoint.exists():
        done = read_checkpoint(checkpoint, stored, optimiser, identity)
    device = next(stored.parameters()).device
    threads = torch.get_num_threads()
    stored.train()
    try:
        torch.set_num_threads(1)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            for step in range(done, training.steps):
                torch.manual_seed(int(stream.words(1, draw=step)[0]))
                if training.pruning is not None and training.pruning.due(step):
                    stored.prune(training.pruning.sparsity(step))
                report = _step(stored, objective, batches, training, optimiser, step, device)
                due = report.step % training.checkpoint_every == 0 or report.step == training.steps
                _require_finite(stored if due else None, report, training, checkpoint)
                if checkpoint is not None and due:
                    write_checkpoint(checkpoint, stored, optimiser, report.step, identity)
                if progress is not None:
                    progress(report)
    finally:
        torch.set_num_threads(threads)
        stored.eval()


def _optimiser(stored: StoredWeights, training: StoredTraining) -> torch.optim.Optimizer:
    groups = [
        {"params": list(stored.module.parameters()), "scale": 1.0},
        {"params": list(stored.storages.parameters()), "scale": training.storage_rate},
    ]
    return torch.optim.Adam(
        [g for g in groups if g["params"]], lr=training.learning_rate, fused=True
    )


def _step(
    stored: StoredWeights,
    objective: Objective,
    batches: Batches,
    training: StoredTraining,
    optimiser: torch.optim.Optimizer,
    step: int,
    device: torch.device,
) -> TrainingProgress:
    for group in optimiser.param_groups:
        group["lr"] = training.rate(step) * group["scale"]
    inputs, labels = (part.to(device) for part in batches(step))
    optimiser.zero_grad(set_to_none=True)
    loss = objective(stored(inputs), inputs, labels)
    bits = stored.bits() / stored.weights
    (loss + training.price_at(step) * bits).backward()
    optimiser.step()
    return TrainingProgress(step + 1, training.steps, float(loss.detach()), float(bits.detach()))


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
    if checkpoint is not None and checkpoint.exists():
        kept = f"the last good state is in {checkpoint}"
    raise SoftcellError(
        f"training diverged at step {report.step} of {report.steps} (loss {report.loss}); {kept}; "
        f"lower the learning rate, now {training.learning_rate}"
    )
