"""Train the MNIST networks for few cells: an entropy penalty, and self-distillation.

    python benchmarks/train_small.py [--model lenet-300-100 lenet5] [--price 1 1.6] [--epochs 30]
        [--fine-epochs 12] [--checkpoints FOLDER] [--test] [--json FILE]

From the task's trained weights each network is trained through entropy-coded quantisation at
several prices of a bit, on the first 55,000 training images; then what is zero stays zero, and
training goes on at a fraction of the price. Then every matrix is coded for real, vectors as
float16, and all bytes are put on the cells of strong digital storage on `pcm-partial-reset`; the
decoded weights are measured on the last 5,000 training images, by which settings are chosen, and
with `--test` on the 10,000 test images. The starting weights have seen all 60,000 training images,
so that what is lost on the last 5,000 is overstated.

With `--checkpoints` an interrupted run goes on where it was, and a finished one is only measured.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from softcell.allocate.lifetime import store_for
from softcell.allocate.scheme import parse_scheme
from softcell.channel import channel_of
from softcell.codes.digital import Store
from softcell.codes.digital.conventional import FORMATS
from softcell.codes.digital.entropy_coded import decode
from softcell.devices import parse_device
from softcell.evaluate.datasets import DATASETS, Images
from softcell.evaluate.inference import batched_outputs
from softcell.evaluate.models import TASKS
from softcell.evaluate.networks import with_weights
from softcell.evaluate.preprocessing import Augmentation
from softcell.evaluate.tasks import Task, load_task
from softcell.training import (
    CrossEntropy,
    Distillation,
    ImageBatches,
    Mixture,
    QuantisedStorage,
    StoredTraining,
    StoredWeights,
    TrainingProgress,
    train_stored,
)

HELD_OUT = 5_000
BATCH = 256


@dataclass(frozen=True)
class Settings:
    """What was chosen on held-out images.

    Args:
        learning_rate: Of the weights.
        step: First step in deviations.
        storage_rate: Learning rate of the steps over the weights'.
        warm_up: Part of the training in which the price rises.
        distillation: Weight of the divergence from the clean network; 1 less it has cross-entropy.
        temperature: Of the distillation.
        by_row: A step for each row.
        fine_price: Price while zeros stay zero, over that before.
        fine_temperature: Temperature of the distillation then.
    """

    learning_rate: float = 1e-3
    step: float = 1.0
    storage_rate: float = 3.0
    warm_up: float = 0.3
    distillation: float = 0.5
    temperature: float = 2.0
    by_row: bool = False
    fine_price: float = 0.18
    fine_temperature: float = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["lenet-300-100", "lenet5"])
    parser.add_argument("--price", type=float, nargs="+", default=[1.0, 1.6])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--fine-epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoints", type=Path)
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--json", type=Path)
    for name, value in vars(Settings()).items():
        kind = type(value) if not isinstance(value, bool) else lambda text: text == "1"
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=value)
    args = parser.parse_args()
    torch.set_num_threads(1)
    device = parse_device("pcm-partial-reset")
    store = store_for(parse_scheme("strong-digital"), channel_of(device))
    settings = Settings(**{name: getattr(args, name) for name in vars(Settings())})
    rows = []
    for model in args.model:
        task = load_task("mnist", model)
        for price in args.price:
            row = measure(task, price, settings, store, args)
            rows.append(row)
            print(json.dumps(row), flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def measure(
    task: Task, price: float, settings: Settings, store: Store, args: argparse.Namespace
) -> dict[str, object]:
    """Train a network at a price, store it, and return what came of it."""
    model = TASKS[task.name][task.model]
    images = DATASETS[task.name].training()
    held_out = _part(images, slice(-HELD_OUT, None))

    def accuracy(state: dict[str, np.ndarray]) -> float:
        network = with_weights(model.network, state)
        pixels = torch.from_numpy(held_out.pixels)
        logits = batched_outputs(network, pixels, model.preprocessing, batch=model.batch)
        return float(np.mean(logits.argmax(axis=1) == held_out.labels))

    clock = time.monotonic()
    stored = train(task, _part(images, slice(0, -HELD_OUT)), price, settings, args)
    state, data = stored_tensors(stored)
    row = {
        "model": task.model,
        "price": price,
        "seed": args.seed,
        "epochs": [args.epochs, args.fine_epochs],
        "cells_per_weight": round(store.cells(data) / stored.weights, 4),
        "bits_per_weight": round(8 * data / stored.weights, 4),
        "expected_bits_per_weight": round(float(stored.bits().detach()) / stored.weights, 4),
        "non_zero": round(_non_zero(stored), 5),
        "held_out": round(100 * accuracy(state), 2),
        "held_out_float32": round(100 * accuracy(task.state_dict()), 2),
        "seconds": round(time.monotonic() - clock),
        "settings": vars(settings),
    }
    if args.test:
        reached, float32 = task.evaluate(state), task.evaluate(task.state_dict())
        row["test"], row["test_float32"] = round(100 * reached, 2), round(100 * float32, 2)
        row["drop"] = round(100 * (float32 - reached), 2)
    return row


def train(
    task: Task, images: Images, price: float, settings: Settings, args: argparse.Namespace
) -> StoredWeights:
    """Train a task's network through entropy-coded quantisation."""
    clean = task.module()
    stored = StoredWeights(
        task.module(),
        lambda _, w: QuantisedStorage(w, step=settings.step, by_row=settings.by_row),
    )
    preprocessing = TASKS[task.name][task.model].preprocessing

    def phase(name: str, epochs: int, paid: float, warm_up: float, temperature: float) -> None:
        distillation = Distillation(clean, temperature=temperature)
        share = settings.distillation
        batches = ImageBatches(
            images,
            preprocessing,
            augmentation=Augmentation(shift=1, mix=0.0),
            size=BATCH,
            seed=args.seed,
        )
        training = StoredTraining(
            steps=epochs * batches.epoch,
            learning_rate=settings.learning_rate,
            price=paid,
            warm_up=warm_up,
            storage_rate=settings.storage_rate,
        )

        def show(at: TrainingProgress) -> None:
            if at.step % (2 * batches.epoch) == 0:
                print(
                    f"  {name}, epoch {at.step // batches.epoch}: loss {at.loss:.4f}, "
                    f"{at.bits_per_weight:.4f} bits a weight",
                    flush=True,
                )

        checkpoint = None
        if args.checkpoints:
            checkpoint = args.checkpoints / f"{task.model}-{price:g}-{args.seed}-{name}.safetensors"
        train_stored(
            stored,
            Mixture([(1 - share, CrossEntropy()), (share, distillation)]),
            batches,
            training,
            seed=args.seed,
            checkpoint=checkpoint,
            resume=True,
            progress=show,
        )

    phase("sparse", args.epochs, price, settings.warm_up, settings.temperature)
    if args.fine_epochs:
        stored.prune_zeros()
        phase("fine", args.fine_epochs, settings.fine_price * price, 0.0, settings.fine_temperature)
    return stored


def stored_tensors(stored: StoredWeights) -> tuple[dict[str, np.ndarray], int]:
    """Return all tensors as decoded from their bytes, and the number of bytes."""
    streams, number_format = stored.encode(), FORMATS["float16"]
    state, count = {}, 0
    for name, values in stored.module.state_dict().items():
        array = values.numpy()
        if name in streams:
            shape = len(array), array.size // len(array)
            state[name] = decode(streams[name], shape).reshape(array.shape)
            count += len(streams[name])
        else:
            data = number_format.encode(array)
            state[name] = number_format.decode(data, array.shape)
            count += len(data)
    return state, count


def _non_zero(stored: StoredWeights) -> float:
    state = stored.state()
    return float(sum(np.count_nonzero(state[n]) for n in stored.names) / stored.weights)


def _part(images: Images, which: slice) -> Images:
    return Images(images.pixels[which], images.labels[which])


if __name__ == "__main__":
    main()
