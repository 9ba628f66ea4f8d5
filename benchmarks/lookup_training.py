"""Networks trained through white noise for look-up cells: what `train_lookup.py` measures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from loop_noise import LoopNoise, loop_noise
from torch import Tensor, nn
from torch.nn import functional

from softcell.curvature.tensor_file import read_tensors, write_tensors
from softcell.devices import parse_device
from softcell.evaluate.correction import task_correction
from softcell.evaluate.datasets import DATASETS
from softcell.evaluate.models import TASKS
from softcell.evaluate.networks import BatchNorm
from softcell.evaluate.preprocessing import Augmentation
from softcell.evaluate.sensitivity import task_calibration
from softcell.evaluate.tasks import Task
from softcell.training import (
    CrossEntropy,
    ImageBatches,
    NoisyStorage,
    Objective,
    StoredTraining,
    StoredWeights,
    TrainingProgress,
    train_stored,
)
from softcell.training.stored_weights import MakeStorage

DEVICE = parse_device("pcm-partial-reset")
READS = 4
"""Verifying reads of a cell in the loop."""

State = dict[str, np.ndarray]

_BATCH = 32

_CORRECTED_ON = 1000
"""Images on which a trained network's normalisations get their statistics."""


@dataclass(frozen=True)
class Way:
    """How a network is trained.

    Args:
        steps: Batches of 32 images, at least 1; 1,250 are all training images once. Small ones, so
            that there are many draws of the noise.
        sdr_db: Signal over white noise on every matrix in dB; None for none.
        cells: Instead, the noise that packed cells of so many per weight leave in the loop.
        distilled: Aim at the outputs of the clean network; else at the labels.
        learning_rate: Of Adam at the start.
        temperature: Of the distillation.
    """

    steps: int
    sdr_db: float | None = None
    cells: float | None = None
    distilled: bool = True
    learning_rate: float = 1e-3
    temperature: float = 2.0

    @property
    def name(self) -> str:
        """Name for files."""
        noise = "without-noise" if self.sdr_db is None else f"{self.sdr_db:g}dB"
        noise = noise if self.cells is None else f"{self.cells:g}-cells"
        aim = "distilled" if self.distilled else "cross-entropy"
        return f"{noise}-{aim}-{self.steps}"


def trained(task: Task, way: Way, folder: Path, *, seed: int = 0) -> State:
    """Train a task's network, or read the one that an earlier run has left.

    In training, normalisations are corrected for the drift of every draw of the noise (`Corrected`)
    as they are on a chip; afterwards for that of the trained network without noise.

    Args:
        task: The task.
        way: How.
        folder: Keeps the checkpoint and the trained tensors.
        seed: Seed of noise, order and variation of the images.
    """
    kept = folder / f"{task.model}-{way.name}.safetensors"
    if kept.exists():
        return read_tensors(kept)[0]
    model, clean = TASKS[task.name][task.model], task.module()
    batches = ImageBatches(
        DATASETS[task.name].training(),
        model.preprocessing,
        # A mixed image has two labels, of which cross-entropy knows one.
        augmentation=Augmentation(shift=4, flip=True, mix=0.5 if way.distilled else 0.0),
        size=_BATCH,
        seed=seed,
    )
    stored = StoredWeights(task.module(), _storage(task, way, folder, seed))
    corrected = Corrected(stored.module, clean)
    aim = corrected.distillation(way.temperature) if way.distilled else CrossEntropy()
    train_stored(
        stored,
        aim,
        batches,
        StoredTraining(
            steps=way.steps,
            learning_rate=way.learning_rate,
            frozen_statistics=False,
            bfloat16=True,
            checkpoint_every=500,
        ),
        seed=seed,
        checkpoint=folder / f"{task.model}-{way.name}-checkpoint.safetensors",
        resume=True,
        progress=_shown(f"{task.model} {way.name}"),
    )
    corrected.remove()
    state = {name: v.detach().numpy().copy() for name, v in stored.module.state_dict().items()}
    # The batches have moved the statistics, of mixed images: begin with the float network's.
    own = task.state_dict()
    state |= {name: own[name] for name in own if "running_" in name}
    state |= task_correction(task, count=_CORRECTED_ON)(state)
    write_tensors(kept, state, {})
    return state


def _storage(task: Task, way: Way, folder: Path, seed: int) -> MakeStorage:
    if way.cells is None:
        noise = np.inf if way.sdr_db is None else way.sdr_db
        return lambda name, _: NoisyStorage.at(noise, seed=seed, label=name)
    kept = folder / f"{task.model}-noise-{way.cells:g}.safetensors"
    noises = loop_noise(task, DEVICE, way.cells, READS, kept)
    layers = task_calibration(task).layers
    return lambda name, _: LoopNoise(layers[name], noises[name], seed=seed, label=name)


class Corrected:
    """Drift correction in the training loop: a network's normalisations follow the float network's.

    n = (x - m') / sqrt(v' + eps),  y = weight (sqrt((v + eps) / (V + eps)) n + (m - M) / sqrt(V +
    eps)) + bias

    with m', v' the moments of the batch at the input of a normalisation in the noisy network, m, v
    those in the float network on the same batch, and M, V its stored statistics: what
    `feedback.correct_drift` does to a stored network, for every batch and draw of the noise.

    Args:
        module: The network that is trained; its normalisations are to be in training mode.
        clean: The float network, of the same modules by name.
    """

    def __init__(self, module: nn.Module, clean: nn.Module) -> None:
        self._clean = clean
        self._shift: dict[str, tuple[Tensor, Tensor]] = {}
        self._logits = torch.zeros(0)
        theirs = dict(clean.named_modules())
        self._hooks = [module.register_forward_pre_hook(self._look)]
        for name, part in module.named_modules():
            if isinstance(part, BatchNorm):
                self._hooks.append(theirs[name].register_forward_pre_hook(self._seen(name)))
                self._hooks.append(part.register_forward_hook(self._moved(name)))

    def distillation(self, temperature: float) -> Objective:
        """Return the divergence from the float network, whose outputs are known already."""

        def divergence(outputs: Tensor, *_: Tensor) -> Tensor:
            p = (self._logits.float() / temperature).log_softmax(dim=1)
            q = (outputs.float() / temperature).log_softmax(dim=1)
            return temperature**2 * functional.kl_div(q, p, reduction="batchmean", log_target=True)

        return divergence

    def remove(self) -> None:
        """Leave both networks as they were found."""
        for hook in self._hooks:
            hook.remove()

    def _look(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        with torch.no_grad():
            self._logits = self._clean(*inputs)

    def _seen(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def see(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            variance, mean = torch.var_mean(inputs[0].float(), dim=(0, 2, 3), correction=0)
            size = (part.running_var + part.eps).sqrt()
            self._shift[name] = (
                (variance + part.eps).sqrt() / size,
                (mean - part.running_mean) / size,
            )

        return see

    def _moved(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def move(part: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
            scale, shift = self._shift[name]
            constant = part.bias * (1 - scale) + part.weight * shift
            return output * scale[:, None, None] + constant[:, None, None]

        return move


def _shown(name: str) -> Callable[[TrainingProgress], None]:
    clock = time.monotonic()

    def show(at: TrainingProgress) -> None:
        if at.step % 200 == 0:
            seconds = time.monotonic() - clock
            print(f"{name}: {at.step}/{at.steps}, {at.loss:.4f}, {seconds:.0f} s", flush=True)

    return show
