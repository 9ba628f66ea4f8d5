"""Search for the plan of every network, measure it on test images, and take ingredients away.

    SOFTCELL_DATA=path/to/data python benchmarks/studies/joint_search.py [--only NAME ...]
        [--ablations [TASK/MODEL ...]]

A plan is searched for without test images, kept in benchmarks/plans/, and then written anew to ten
chips that the search has not seen and measured on the test images (benchmarks/results/*-plan.json).
What is there is kept; `--fresh` searches again, `--measure` measures the kept plans again.

`--ablations` takes ingredients away: each time the network is stored at four numbers of cells, and
a line through the logarithms tells at how many the estimated drop is half a point, and the
divergence 0.03 (benchmarks/results/ablations.json). docs/results.md has the tables.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from softcell.curvature import LayerCurvature
from softcell.devices import parse_device
from softcell.evaluate.tasks import load_task
from softcell.search import Goal, Recipe, Search, Subject
from softcell.search.subjects import task_subject

HERE = Path(__file__).parents[1]
PLANS, RESULTS = HERE / "plans", HERE / "results"


TARGETS = {
    "resnet20": "cifar10/resnet20 --max-drop 0.5",
    "resnet56": "cifar10/resnet56 --max-drop 0.5",
    "mobilenet_v1_025": "imagenet/mobilenet_v1_025 --max-drop 0.5",
    "resnet20-budget": "cifar10/resnet20 --max-cells 0.7",
    "resnet56-budget": "cifar10/resnet56 --max-cells 0.5",
    "mobilenet_v1_025-budget": "imagenet/mobilenet_v1_025 --max-cells 1.8",
    "squeezenet1_1-budget": "imagenet/squeezenet1_1 --max-cells 1.3",
    "mobilenet_v2-budget": "imagenet/mobilenet_v2 --max-cells 1.8",
    "lenet5": "mnist/lenet5 --max-drop 0.5",
    "lenet-300-100": "mnist/lenet-300-100 --max-drop 0.5",
    "resnet20-table": "cifar10/resnet20 --max-drop 0.5 --decoder table",
    "resnet20-mushroom-10y": "cifar10/resnet20 --max-drop 0.5 --device pcm-mushroom --age 10y",
}
"""Plans to search for: task, model and options of `softcell optimise`."""


def command(*arguments: str) -> None:
    """Run softcell, its notes on the terminal."""
    code = "import sys; from softcell.cli import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=sys.stderr)


def search(name: str, *, fresh: bool, measure: bool) -> None:
    """Search for a plan, and measure it."""
    plan, result = PLANS / f"{name}.json", RESULTS / f"{name}-plan.json"
    subject, *options = TARGETS[name].split()
    task, model = subject.split("/")
    network = ("--task", task, "--model", model)
    finished = plan.exists() and "confirmed" in json.loads(plan.read_text())["report"]
    if fresh or not finished:
        resume = () if fresh else ("--resume",)
        begin = time.time()
        command("optimise", *network, *options, "-o", str(plan), *resume)
        print(f"{name}: searched for {time.time() - begin:.0f} s", flush=True)
        measure = True
    if measure or not result.exists():
        chips = ("--seeds", "10", "--seed", "100")
        command("evaluate", *network, "--plan", str(plan), *chips, "--json", str(result))
    row = json.loads(result.read_text())["results"][0]
    drop = 100 * (row["float_accuracy"] - row["accuracy_mean"])
    print(
        f"{name:30} {row['scheme']:15} {row['cells_per_weight']:.3f} cells, "
        f"{100 * row['accuracy_mean']:.2f} %, drop {drop:.2f}",
        flush=True,
    )


def with_curvatures(
    subject: Subject, change: Callable[[str, LayerCurvature], LayerCurvature]
) -> Subject:
    """Return a subject with other curvatures."""
    calibration = subject.calibration
    assert calibration is not None
    layers = {name: change(name, layer) for name, layer in calibration.layers.items()}
    return replace(subject, calibration=replace(calibration, layers=layers, fisher={}))


def by_size(subject: Subject, *, rows: bool) -> Subject:
    """Take an error, relative to the size of a tensor's (or a row's) weights, as equally bad."""
    with subject.source() as weights:
        size = {name: weights.read(name) for name in weights.names}

    def change(name: str, layer: LayerCurvature) -> LayerCurvature:
        matrix = layer.matrix(np.asarray(size[name], np.float64))
        power = np.square(matrix).mean(axis=1)
        power = power if rows else np.full(len(power), power.mean())
        felt = 1 / np.maximum(power, 1e-3 * power.mean())
        mean = np.einsum("gkk->g", layer.covariance, dtype=np.float64) / layer.columns
        by_group = felt.reshape(len(mean), -1).mean(axis=1)
        scale = np.divide(by_group, mean, out=np.zeros_like(mean), where=mean > 0)
        covariance = (layer.covariance * scale[:, None, None]).astype(np.float32)
        return LayerCurvature(covariance, felt.astype(np.float32))

    return with_curvatures(subject, change)


def open_loop(subject: Subject) -> Subject:
    """Carry no error from column to column."""

    def change(_: str, layer: LayerCurvature) -> LayerCurvature:
        mean = np.einsum("gkk->g", layer.covariance) / layer.columns
        unit = np.eye(layer.columns, dtype=np.float32)
        return replace(layer, covariance=mean[:, None, None] * unit, across=None)

    return with_curvatures(subject, change)


def one_step(subject: Subject) -> Subject:
    """Take all rows of a tensor as equally felt."""

    def change(_: str, layer: LayerCurvature) -> LayerCurvature:
        rows = layer.rows.reshape(layer.groups, -1)
        means = np.repeat(rows.mean(axis=1), rows.shape[1])
        return replace(layer, rows=means)

    return with_curvatures(subject, change)


@dataclass(frozen=True)
class Ablation:
    """A search without an ingredient: what it changes, and cells at which it is tried."""

    change: Callable[[Subject], Subject] | None
    recipe: Recipe
    cells: tuple[float, ...] = (0.55, 0.63, 0.72, 0.82)


def uncorrected(subject: Subject) -> Subject:
    """Leave out the drift correction."""
    return replace(subject, correct=None)


MORE, MUCH_MORE = (0.65, 0.78, 0.92, 1.1), (0.9, 1.15, 1.5, 1.9)
BEST = Recipe(sequential=0.5, corrected=True)
ABLATIONS = {
    "all": Ablation(None, BEST),
    "not layer after layer": Ablation(None, Recipe(corrected=True)),
    "nor corrected sensitivity (the base of what follows)": Ablation(None, Recipe()),
    "one sensitivity for all rows of a tensor": Ablation(one_step, Recipe()),
    "sensitivity by magnitude, row by row": Ablation(partial(by_size, rows=True), Recipe(), MORE),
    "uniform: one relative step for all tensors": Ablation(
        partial(by_size, rows=False), Recipe(), MORE
    ),
    "rounding in place of the trellis": Ablation(None, Recipe(states=1, trade_off=0.0)),
    "a bit at the open loop's price (0.08)": Ablation(None, Recipe(trade_off=0.08)),
    "30 % pruned first": Ablation(None, Recipe(sparsity=0.3)),
    "no drift correction": Ablation(uncorrected, Recipe(), MORE),
    "no feedback": Ablation(open_loop, Recipe(), MORE),
    "neither feedback nor drift correction": Ablation(
        lambda subject: uncorrected(open_loop(subject)), Recipe(), MUCH_MORE
    ),
}
DROP, DIVERGENCE = 0.005, 0.03


def cells_for(cells: Sequence[float], damage: Sequence[float], allowed: float) -> float:
    """Return the cells at which a line through the logarithms has the damage that is allowed."""
    x, y = np.log(cells), np.log(np.maximum(damage, 1e-6))
    slope, start = np.polyfit(x, y, 1)
    return float(np.exp((np.log(allowed) - start) / slope))


def ablate(task: str, model: str) -> None:
    """Find the fewest cells with one ingredient missing after the other."""
    path = RESULTS / "ablations.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    subject = task_subject(load_task(task, model))
    device, goal = parse_device("pcm-partial-reset"), Goal(max_drop=DROP)
    for name, ablation in ABLATIONS.items():
        key = f"{task}/{model}/{name}"
        if key in found:
            continue
        changed = subject if ablation.change is None else ablation.change(subject)
        search = Search(changed, device, goal)
        trials = [search.at(ablation.recipe, cells) for cells in ablation.cells]
        cells = [trial.cells_per_weight for trial in trials]
        drops = [float(trial.verdict.drop or 0) for trial in trials]
        divergences = [float(trial.verdict.divergence or 0) for trial in trials]
        found[key] = {
            "cells_per_weight": cells,
            "drop": drops,
            "divergence": divergences,
            "cells_for_drop": cells_for(cells, drops, DROP),
            "cells_for_divergence": cells_for(cells, divergences, DIVERGENCE),
        }
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(key, found[key], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=TARGETS, metavar="NAME", help="names of plans")
    parser.add_argument("--fresh", action="store_true", help="search again")
    parser.add_argument("--measure", action="store_true", help="measure kept plans again")
    parser.add_argument("--ablations", nargs="*", metavar="TASK/MODEL", help="ablations alone")
    args = parser.parse_args()
    if args.ablations is not None:
        for name in args.ablations or ["cifar10/resnet20"]:
            ablate(*name.split("/"))
        return
    for name in args.only or TARGETS:
        search(name, fresh=args.fresh, measure=args.measure)


if __name__ == "__main__":
    main()
