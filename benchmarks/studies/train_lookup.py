"""Networks trained through noise, stored in cells that are decoded by look-up alone.

    SOFTCELL_DATA=path/to/data python benchmarks/studies/train_lookup.py --checkpoints FOLDER
        [--model resnet20 resnet32] [--only plans ingredients curve]

*plans*: each network is trained through the noise of packed cells in the loop and rounded to eight
bits. It is planned at a few numbers of cells, and each plan is written to ten chips and measured on
the test images. *ingredients*: ResNet-20 in packed cells with one ingredient more after the other,
all trainings of the same number of steps. *curve*: accuracy on the test images against white noise
on every matrix, before and after training.

Test images choose nothing. The folder keeps what was trained and planned, and a second run only
measures; benchmarks/results/trained-lookup.json has the results, of which
`benchmarks/pages/results.py` makes a section of docs/results.md and a figure.
"""

import argparse
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joint_search import command

from softcell.allocate.plan_file import network_digest
from softcell.devices import parse_device
from softcell.evaluate.correction import task_correction
from softcell.evaluate.datasets import DATASETS
from softcell.evaluate.experiment import Experiment
from softcell.evaluate.models import TASKS
from softcell.evaluate.networks import with_weights
from softcell.evaluate.preprocessing import Augmentation
from softcell.evaluate.results import Result
from softcell.evaluate.sensitivity import task_calibration
from softcell.evaluate.tasks import Task, load_task
from softcell.evaluate.trials import compare, ways_through
from softcell.search import Goal, Search
from softcell.search.record import keep_plan
from softcell.search.subjects import task_subject
from softcell.training import (
    CrossEntropy,
    DriftCorrected,
    FloatStorage,
    ImageBatches,
    LoopNoise,
    NoisyStorage,
    StoredTraining,
    StoredWeights,
    noise_in_loop,
    train_stored,
)
from softcell.training.matrix_steps import eight_bits
from softcell.training.stored_weights import MakeStorage
from softcell.weights import StateDictWeights
from softcell.weights.tensor_file import read_tensors, write_tensors

RESULTS = Path(__file__).parents[1] / "results/trained-lookup.json"
DEVICE = parse_device("pcm-partial-reset")
READS = 4
"""Verifying reads of a cell in the loop."""

PLANNED = {"resnet20": (0.6, 0.7, 0.85), "resnet32": (0.8, 0.9)}
"""Cells per weight of the plans."""

CHIPS, FIRST_CHIP = 10, 100
DECIBELS = (3, 4, 5, 6, 8, 10, 12, 14, 20)
NOISE_SEEDS, SEED = 3, 0
BATCH, CORRECTED_ON = 32, 1000
"""Images of a step, small so that there are many draws of the noise; and images on which a trained
network's normalisations get their statistics."""

State = dict[str, np.ndarray]


@dataclass(frozen=True)
class Way:
    """How a network is trained.

    Args:
        steps: Batches of 32 images, at least 1; 1,250 are all training images once.
        cells: Train through the noise that packed cells of so many per weight leave in the loop;
            None for no noise.
        distilled: Aim at the outputs of the clean network; else at the labels.
    """

    steps: int
    cells: float | None = None
    distilled: bool = True

    @property
    def name(self) -> str:
        """Name for files."""
        noise = "without-noise" if self.cells is None else f"{self.cells:g}-cells"
        return f"{noise}-{'distilled' if self.distilled else 'cross-entropy'}-{self.steps}"


CELLS = 0.6
MAIN = {"resnet20": Way(1500, CELLS), "resnet32": Way(500, CELLS)}
OPEN = ("open", "open, corrected", "closed")
INGREDIENTS: dict[str, tuple[Way | None, tuple[str, ...]]] = {
    "float32": (None, OPEN),
    "trained through the loop's noise": (MAIN["resnet20"], OPEN),
    "trained through it at the labels": (replace(MAIN["resnet20"], distilled=False), ("closed",)),
    "trained without noise": (replace(MAIN["resnet20"], cells=None), ("closed",)),
}
"""Training, and the ways through the feedback loop."""


def trained(task: Task, way: Way, folder: Path) -> State:
    """Train a task's network, or read the one that an earlier run has left in the folder.

    In training, normalisations are corrected for the drift of every draw of the noise, as they are
    on a chip; afterwards for that of the trained network without noise.
    """
    kept = folder / f"{task.model}-{way.name}.safetensors"
    if kept.exists():
        return read_tensors(kept)[0]
    batches = ImageBatches(
        DATASETS[task.name].training(),
        TASKS[task.name][task.model].preprocessing,
        # A mixed image has two labels, of which cross-entropy knows one.
        augmentation=Augmentation(shift=4, flip=True, mix=0.5 if way.distilled else 0.0),
        size=BATCH,
        seed=SEED,
    )
    stored = StoredWeights(task.module(), storage(task, way, folder))
    corrected = DriftCorrected(stored.module, task.module())
    train_stored(
        stored,
        corrected.distillation(2.0) if way.distilled else CrossEntropy(),
        batches,
        StoredTraining(
            steps=way.steps,
            learning_rate=1e-3,
            frozen_statistics=False,
            bfloat16=True,
            checkpoint_every=500,
        ),
        seed=SEED,
        checkpoint=folder / f"{task.model}-{way.name}-checkpoint.safetensors",
        resume=True,
        progress=lambda at: print(at, flush=True) if at.step % 200 == 0 else None,
    )
    corrected.remove()
    state = {name: v.detach().numpy().copy() for name, v in stored.module.state_dict().items()}
    # The batches have moved the statistics, of mixed images: begin with the float network's.
    own = task.state_dict()
    state |= {name: own[name] for name in own if "running_" in name}
    state |= task_correction(task, count=CORRECTED_ON)(state)
    write_tensors(kept, state, {})
    return state


def storage(task: Task, way: Way, folder: Path) -> MakeStorage:
    """Return the noise of a training; the folder keeps what the loop's is."""
    if way.cells is None:
        return lambda *_: FloatStorage()
    kept = folder / f"{task.model}-noise-{way.cells:g}.safetensors"
    if not kept.exists():
        subject = task_subject(task)
        write_tensors(kept, noise_in_loop(subject, DEVICE, way.cells, verify_reads=READS), {})
    noises, layers = read_tensors(kept)[0], task_calibration(task).layers
    return lambda name, _: LoopNoise(layers[name], noises[name], seed=SEED, label=name)


def network(task: Task, way: Way | None, folder: Path) -> State:
    """Return a network as it is to be stored: trained, its matrices rounded to eight bits."""
    return task.state_dict() if way is None else eight_bits(trained(task, way, folder))


def plans(task: Task, folder: Path) -> Iterator[dict[str, Any]]:
    """Plan and measure the trained network at several numbers of cells."""
    way = MAIN[task.model]
    state, name = network(task, way, folder), f"{task.model}-{way.name}"
    weights = folder / f"{name}-eight-bits.safetensors"
    write_tensors(weights, state, {})
    before, trained_accuracy = task.evaluate(task.state_dict()), task.evaluate(state)
    for cells in PLANNED[task.model]:
        path, result = (folder / f"{name}-{cells:g}-{what}.json" for what in ("plan", "result"))
        if not path.exists():
            plan(task, state, cells, path)
        chips = ("--seeds", str(CHIPS), "--seed", str(FIRST_CHIP), "--json", str(result))
        named = ("--task", task.name, "--model", task.model, "--plan", str(path))
        command("evaluate", str(weights), *named, *chips)
        planned = json.loads(path.read_text(encoding="utf-8"))
        (untrained,) = packed(task, task.state_dict(), cells, ("closed",))
        yield {
            "training": vars(way),
            "float_accuracy": before,
            "trained_accuracy": trained_accuracy,
            "untrained_stored": untrained.accuracy_mean,
            "recipe": planned["settings"]["recipe"],
            "estimated_drop": planned["report"]["confirmed"]["verdict"]["drop"],
            "result": json.loads(result.read_text(encoding="utf-8"))["results"][0],
        }


def plan(task: Task, state: State, cells: float, path: Path) -> None:
    """Make a plan of so many cells, and keep it.

    What is told of it is counted from the float network before training, whose judge this is. It
    takes every changed answer for a worse one, which overstates what a trained network loses.
    """
    subject = task_subject(task, source=partial(StateDictWeights, state))
    judged = replace(subject, judge=task_subject(task).judge)
    goal = Goal(max_cells=cells, decoder="table")
    search = Search(judged, DEVICE, goal, verify_reads=READS, vary=False, told=print)
    outcome = search.run()
    keep_plan(
        path,
        search,
        outcome.best,
        outcome.plan,
        network=network_digest(StateDictWeights(state)),
        task=task.name,
        model=task.model,
        report={"confirmed": outcome.confirmed.values()},
    )


def ingredients(task: Task, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the accuracy in packed cells with one ingredient more after the other."""
    for name, (way, loops) in INGREDIENTS.items():
        state = network(task, way, folder)
        before = task.evaluate(state)
        for row in packed(task, state, CELLS, loops):
            yield {
                "network": name,
                "loop": row.loop,
                "cells_per_weight": row.cells_per_weight,
                "accuracy": row.accuracy_mean,
                "accuracy_ci95": row.accuracy_ci95,
                "sdr_db": row.sdr_db,
                "before_storing": before,
            }


def packed(task: Task, state: State, cells: float, loops: Collection[str]) -> Iterator[Result]:
    """Yield what chips give back of a network in packed cells, for ways through the loop."""
    experiment = Experiment(
        state=state,
        evaluate=task.evaluate,
        device=DEVICE,
        task=task.name,
        model=task.model,
        images=task.images,
        calibration=task_calibration(task, state=state),
        correct=task_correction(task, state=state),
    )
    ways = ways_through(corrected=True, verify_reads=READS)
    yield from compare(
        experiment,
        schemes=("packed",),
        cells_per_weight=(cells,),
        seeds=CHIPS,
        first_seed=FIRST_CHIP,
        procedures=[way for way in ways if way.name in loops],
    )


def curve(task: Task, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield accuracies against white noise on every matrix, before and after training."""
    for name, way in (("float32", None), ("trained", MAIN[task.model])):
        state = network(task, way, folder)
        correct, before = task_correction(task, state=state), task.evaluate(state)
        for db in DECIBELS:
            noisy = [white(task, state, db, seed) for seed in range(NOISE_SEEDS)]
            yield {
                "network": name,
                "sdr_db": db,
                "accuracies": [task.evaluate(each) for each in noisy],
                "corrected": [task.evaluate(each | dict(correct(each))) for each in noisy],
                "before": before,
            }


def white(task: Task, state: State, db: float, seed: int) -> State:
    """Return a network with noise on every matrix, relative to each row."""
    module = with_weights(TASKS[task.name][task.model].network, state)
    stored = StoredWeights(module, lambda name, _: NoisyStorage.at(db, seed=seed, label=name))
    return stored.eval().state()


def record(what: str, model: str, rows: list[dict[str, Any]]) -> None:
    """Put something into the results."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results.setdefault(what, {})[model] = rows
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


PARTS = {"plans": plans, "ingredients": ingredients, "curve": curve}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder of what is kept")
    parser.add_argument("--model", nargs="+", default=["resnet20", "resnet32"])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    for part in args.only:
        for model in args.model if part != "ingredients" else ["resnet20"]:
            rows = []
            for row in PARTS[part](load_task("cifar10", model), args.checkpoints):
                print(json.dumps(row), flush=True)
                rows.append(row)
                record(part, model, rows)


if __name__ == "__main__":
    main()
