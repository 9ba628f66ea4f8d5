"""Networks trained through white noise for look-up cells: what `train_lookup.py` measures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from softcell.curvature.tensor_file import read_tensors, write_tensors
from softcell.devices import parse_device
from softcell.evaluate.correction import task_correction
from softcell.evaluate.datasets import DATASETS
from softcell.evaluate.models import TASKS
from softcell.evaluate.preprocessing import Augmentation
from softcell.evaluate.sensitivity import task_calibration
from softcell.evaluate.tasks import Task
from softcell.search.subjects import task_subject
from softcell.training import (
    CrossEntropy,
    DriftCorrected,
    ImageBatches,
    LoopNoise,
    NoisyStorage,
    StoredTraining,
    StoredWeights,
    TrainingProgress,
    noise_in_loop,
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

    In training, normalisations are corrected for the drift of every draw of the noise, as they are
    on a chip; afterwards for that of the trained network without noise.

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
    corrected = DriftCorrected(stored.module, clean)
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
    if not kept.exists():
        subject = task_subject(task)
        write_tensors(kept, noise_in_loop(subject, DEVICE, way.cells, verify_reads=READS), {})
    noises, layers = read_tensors(kept)[0], task_calibration(task).layers
    return lambda name, _: LoopNoise(layers[name], noises[name], seed=seed, label=name)


def _shown(name: str) -> Callable[[TrainingProgress], None]:
    clock = time.monotonic()

    def show(at: TrainingProgress) -> None:
        if at.step % 200 == 0:
            seconds = time.monotonic() - clock
            print(f"{name}: {at.step}/{at.steps}, {at.loss:.4f}, {seconds:.0f} s", flush=True)

    return show
