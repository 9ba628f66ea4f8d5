"""Pruning and distillation on MNIST, with and without the noise of cells in training.

    python benchmarks/studies/train_noise.py [--family pruning distillation] [--seeds 3] [--seed 0]
        [--checkpoints FOLDER] [--json FILE]

Pruning: LeNet-300-100 from its trained weights to 5 % of them, gradually or at once, by magnitude
or by Fisher information, trained on without noise or through it. A mask of the zeros is stored
error-free, and each weight that is left has one cell, decoded by look-up.

Distillation: an MLP of 784-60-30-10, from random weights, learns from the labels alone or from
LeNet-5, a teacher nine times as large, without noise or through it. Its weights have half a cell
each, `packed`.

The noise of training is what the code was seen to do to the network that was trained without it,
on a chip of its own. Learning rates are those of the best accuracy without noise on the last 5,000
training images, on which nothing is trained here; accuracies are of 10 chips `pcm-partial-reset`
on all 10,000 test images. The starting weights and the teacher have seen all 60,000 training
images.

With `--checkpoints` an interrupted run goes on where it was; `benchmarks/pages/results.py` makes
the tables.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from softcell.api import read, write
from softcell.devices import parse_device
from softcell.evaluate.datasets import DATASETS, Images
from softcell.evaluate.experiment import Experiment
from softcell.evaluate.inference import batched_outputs
from softcell.evaluate.measure import measure_image
from softcell.evaluate.models import TASKS
from softcell.evaluate.networks import LeNet300, with_weights
from softcell.evaluate.preprocessing import Augmentation
from softcell.evaluate.small_networks import initial_weights
from softcell.evaluate.tasks import load_task
from softcell.streams import Stream
from softcell.training import (
    CrossEntropy,
    Distillation,
    FloatStorage,
    GradualPruning,
    ImageBatches,
    Mixture,
    NoisyStorage,
    Objective,
    Storage,
    StoredTraining,
    StoredWeights,
    train_stored,
)

FILE = Path(__file__).parents[1] / "results/trained-noise.json"
DEVICE = "pcm-partial-reset"
HELD_OUT, BATCH, CHIPS = 5_000, 256, 10
RATES = (1e-3, 3e-3, 6e-3)
EPOCHS, FAMILIES = 4, ("pruning", "distillation")
TEACHING, TEMPERATURE = 0.9, 4.0
"""Weight of the divergence from the teacher, 1 less that of the labels; its temperature."""

State = dict[str, np.ndarray]

SPARSITY = 0.95
MASKED = ("inversion+sparsity", "inversion+sign+adaptive+sparsity")
MASKED_CELLS, PACKED_CELLS = 0.2, 0.5
"""Cells per weight, mask included; with a mask each weight that is left has one in any case."""


class Student(nn.Module):
    """An MLP of 784-60-30-10: 49,270 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 60)
        self.fc2 = nn.Linear(60, 30)
        self.fc3 = nn.Linear(30, 10)

    def forward(self, x: Tensor) -> Any:
        x = functional.relu(self.fc1(x.flatten(1)))
        return self.fc3(functional.relu(self.fc2(x)))


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Args:
        family: "pruning" or "distillation".
        way: "gradual" or "one-shot"; "labels" or "teacher".
        saliency: Of pruning.
    """

    family: str
    way: str
    saliency: str = "magnitude"

    @property
    def label(self) -> str:
        if self.family == "pruning":
            return f"{self.way} pruning by {self.saliency}"
        return "student of the teacher" if self.way == "teacher" else "student of the labels alone"

    @property
    def network(self) -> type[nn.Module]:
        return LeNet300 if self.family == "pruning" else Student

    @property
    def codes(self) -> tuple[tuple[str, float], ...]:
        """Schemes and cells per weight; the first makes the noise of training."""
        if self.family == "pruning":
            return tuple((scheme, MASKED_CELLS) for scheme in MASKED)
        return (("packed", PACKED_CELLS),)

    def pruning(self, steps: int, epoch: int) -> GradualPruning | None:
        """Return when weights go: by the half of the training, or all after half an epoch."""
        if self.family != "pruning":
            return None
        begin, end = (0, steps // 2) if self.way == "gradual" else (epoch // 2, epoch // 2 + 1)
        return GradualPruning(SPARSITY, begin, end, every=20, saliency=self.saliency)


ARMS = (
    *(Arm("pruning", w, s) for w, s in product(("gradual", "one-shot"), ("magnitude", "fisher"))),
    *(Arm("distillation", way) for way in ("labels", "teacher")),
)


class Laboratory:
    """Trains networks and stores them."""

    def __init__(self, epochs: int, checkpoints: Path | None) -> None:
        self.epochs, self._checkpoints = epochs, checkpoints
        self._task = load_task("mnist", "lenet-300-100")
        self._preprocessing = TASKS["mnist"]["lenet-300-100"].preprocessing
        images = DATASETS["mnist"].training()
        self._training = Images(images.pixels[:-HELD_OUT], images.labels[:-HELD_OUT])
        self._held_out = Images(images.pixels[-HELD_OUT:], images.labels[-HELD_OUT:])
        self._test = DATASETS["mnist"].test(np.arange(DATASETS["mnist"].test_images))

    @cached_property
    def _taught(self) -> Objective:
        teacher = load_task("mnist", "lenet5").module()
        divergence = Distillation(teacher, temperature=TEMPERATURE)
        return Mixture([(1 - TEACHING, CrossEntropy()), (TEACHING, divergence)])

    def rate(self, arm: Arm, seed: int) -> float:
        """Return the learning rate that is best on the images held out."""
        found = {
            rate: self._accuracy(arm, self.train(arm, rate, seed), self._held_out) for rate in RATES
        }
        said = ", ".join(f"{rate:g}: {100 * each:.2f} %" for rate, each in found.items())
        print(f"{arm.label}, held out by learning rate: {said}", flush=True)
        return max(found, key=found.__getitem__)

    def train(self, arm: Arm, rate: float, seed: int, clean: State | None = None) -> State:
        """Return a network's float weights, zero where pruned.

        Args:
            arm: How it is trained.
            rate: Learning rate.
            seed: Seed of order, variation, noise and, for students, first weights.
            clean: The network trained without noise, whose storage shows what noise to train
                through; None for none.
        """
        batches = ImageBatches(
            self._training,
            self._preprocessing,
            augmentation=Augmentation(shift=1, mix=0.0),
            size=BATCH,
            seed=seed,
        )
        first = self._task.state_dict()
        if arm.network is Student:
            first = initial_weights(Student, Stream.of(seed, "student"))
        noises = {} if clean is None else _noises(arm, clean, seed)
        stored = StoredWeights(
            with_weights(arm.network, first), lambda name, _: noises.get(name) or FloatStorage()
        )
        steps = self.epochs * batches.epoch
        noise = "clean" if clean is None else "noise"
        file = f"{arm.label.replace(' ', '-')}-{noise}-{rate:g}-{seed}.safetensors"
        train_stored(
            stored,
            self._taught if arm.way == "teacher" else CrossEntropy(),
            batches,
            StoredTraining(
                steps=steps, learning_rate=rate, pruning=arm.pruning(steps, batches.epoch)
            ),
            seed=seed,
            checkpoint=self._checkpoints / file if self._checkpoints else None,
            resume=True,
        )
        state = {name: values.numpy() for name, values in stored.module.state_dict().items()}
        with torch.no_grad():
            wanted = {name: stored.wanted(name).numpy() for name in stored.names}
        return {name: np.array(values) for name, values in {**state, **wanted}.items()}

    def measure(self, arm: Arm, state: State, scheme: str, cells: float) -> dict[str, Any]:
        """Return the result of a network on ten chips."""
        with tempfile.TemporaryDirectory(prefix="softcell-") as folder:
            path = Path(folder) / "image.cells"
            experiment = Experiment(
                state,
                lambda given: self._accuracy(arm, given, self._test),
                parse_device(DEVICE),
                task="mnist",
                model="lenet-300-100" if arm.network is LeNet300 else "mlp-60-30",
                images=len(self._test.labels),
            )
            write(state, path, device=DEVICE, scheme=scheme, cells_per_weight=cells)
            return asdict(measure_image(experiment, path, target=cells, seeds=CHIPS))

    def _accuracy(self, arm: Arm, state: Mapping[str, np.ndarray], images: Images) -> float:
        logits = batched_outputs(
            with_weights(arm.network, state),
            torch.from_numpy(images.pixels),
            self._preprocessing,
            batch=250,
        )
        return float(np.mean(logits.argmax(axis=1) == images.labels))


def _noises(arm: Arm, clean: State, seed: int) -> dict[str, Storage]:
    """Return what the arm's first code does to each matrix of a network, on a chip of its own."""
    scheme, cells = arm.codes[0]
    with tempfile.TemporaryDirectory(prefix="softcell-") as folder:
        path = Path(folder) / "image.cells"
        write(clean, path, device=DEVICE, scheme=scheme, cells_per_weight=cells)
        back = read(path, seed=1_000 + seed)
    noises: dict[str, Storage] = {}
    for name, wanted in clean.items():
        seen = back[name]
        masked = scheme in MASKED and not seen[wanted == 0].any()
        if scheme not in MASKED:
            # Which rows have how many cells is decided anew for every network.
            wanted, seen = wanted.reshape(1, -1), seen.reshape(1, -1)
        if clean[name].ndim > 1:
            noises[name] = NoisyStorage.like(
                wanted, seen, seed=seed, label=name, exact_zeros=masked
            )
    return noises


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", nargs="+", default=FAMILIES, choices=FAMILIES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="first seed of training")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of every training")
    parser.add_argument("--checkpoints", type=Path)
    parser.add_argument("--json", type=Path, default=FILE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    laboratory = Laboratory(args.epochs, args.checkpoints)
    rows: list[dict[str, Any]] = []
    rates: dict[str, float] = {}
    for arm in ARMS:
        if arm.family not in args.family:
            continue
        # All pruning has the rate of its first arm; a student of the teacher has one of its own.
        key = "pruning" if arm.family == "pruning" else arm.label
        if key not in rates:
            rates[key] = laboratory.rate(arm, args.seed)
        # A student of the teacher is also trained at the rate of those of the labels alone.
        students = arm.family == "distillation"
        for rate in dict.fromkeys((rates[key], rates[ARMS[-2].label] if students else rates[key])):
            for seed in range(args.seed, args.seed + args.seeds):
                rows += run(laboratory, arm, rate, seed)
                args.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


def run(laboratory: Laboratory, arm: Arm, rate: float, seed: int) -> list[dict[str, Any]]:
    """Train an arm without noise and through it, and return a row for each code."""
    rows: list[dict[str, Any]] = []
    clean: State | None = None
    for noise in ("without", "through"):
        state = laboratory.train(arm, rate, seed, clean)
        clean = state if clean is None else clean
        for scheme, cells in arm.codes:
            result = laboratory.measure(arm, state, scheme, cells)
            row = {"noise": noise, "training_seed": seed, "learning_rate": rate}
            rows.append(asdict(arm) | row | {"epochs": laboratory.epochs, "result": result})
            said = {k: result[k] for k in ("cells_per_weight", "float_accuracy", "accuracy_mean")}
            print(f"{arm.label}, {row}, {scheme}: {said}", flush=True)
    return rows


if __name__ == "__main__":
    main()
