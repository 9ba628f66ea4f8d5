"""Accuracy against white write noise, open and closed loop: the figure of docs/feedback.md.

    SOFTCELL_DATA=path/to/data python benchmarks/studies/feedback.py [--model resnet20]
        [--db 3 6 10 14] [--seeds 3] [--json FILE] [--plot FILE]

Every weight of a convolution or a linear layer is written with Gaussian noise whose deviation is
relative to its tensor's, column by column, and read back exactly. Four ways are compared: the open
loop, the same with drift correction, the closed loop, and that with drift correction. The chips of
the four ways have the same noise. Nothing is stored in cells here: that is `compare --feedback`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from softcell.curvature import LayerCurvature
from softcell.evaluate.correction import task_correction
from softcell.evaluate.sensitivity import task_calibration
from softcell.evaluate.tasks import load_task
from softcell.feedback.factor import factorise
from softcell.feedback.loop import StoreColumn, feedback_loop
from softcell.report.plot import save_figure
from softcell.streams import Stream

WAYS = ("open", "open, corrected", "closed", "closed, corrected")


def noisy(rows: np.ndarray, db: float, stream: Stream) -> StoreColumn:
    """Store a column with noise of its tensor's deviation times 10^(-db / 20)."""
    deviation = np.float32(np.sqrt(np.mean(rows**2)) * 10 ** (-db / 20))

    def store(column: int, targets: np.ndarray) -> np.ndarray:
        noise = stream.at(column * len(targets)).normal(len(targets))
        return np.asarray(targets + deviation * noise, np.float32)

    return store


def written(
    state: dict[str, np.ndarray],
    layers: dict[str, LayerCurvature],
    db: float,
    seed: int,
    *,
    closed: bool,
) -> dict[str, np.ndarray]:
    """Return the network as the decoder sees it."""
    seen = dict(state)
    for name, layer in layers.items():
        rows = np.ascontiguousarray(layer.matrix(state[name]), np.float32)
        store = noisy(rows, db, Stream.of(seed, f"write/{name}"))
        if closed:
            back = feedback_loop(rows, factorise(layer.covariance), store)[1]
        else:
            back = np.stack([store(k, rows[:, k]) for k in range(rows.shape[1])], axis=1)
        seen[name] = layer.tensor(back, state[name].shape)
    return seen


def measure(model: str, decibels: list[float], seeds: int) -> list[dict[str, Any]]:
    task = load_task("cifar10", model)
    state, layers = task.state_dict(), dict(task_calibration(task).layers)
    correct = task_correction(task)
    felt = np.array([np.einsum("gkk->", layer.covariance) for layer in layers.values()])
    left = np.array([factorise(layer.covariance).pivots.sum() for layer in layers.values()])
    sizes = [layer.rows.size * layer.columns for layer in layers.values()]
    gain = np.average(10 * np.log10(felt / left), weights=sizes)
    print(f"{model}: pivots are {gain:.2f} dB below the diagonal, averaged over the weights")
    rows = []
    for db in decibels:
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for seed in range(seeds):
            for loop in ("open", "closed"):
                seen = written(state, layers, db, seed, closed=loop == "closed")
                found[loop].append(task.evaluate(seen))
                found[f"{loop}, corrected"].append(task.evaluate(seen | dict(correct(seen))))
        for way, accuracies in found.items():
            row = {"model": model, "write_sdr_db": db, "way": way, "accuracies": accuracies}
            rows.append(row | {"accuracy": float(np.mean(accuracies))})
            print(rows[-1], flush=True)
    float_accuracy = task.evaluate(state)
    return [row | {"float_accuracy": float_accuracy} for row in rows]


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure = Figure(figsize=(4.2 * len(models), 3.4), layout="tight")
    for model, axis in zip(models, figure.subplots(1, len(models), squeeze=False)[0]):
        own = [row for row in rows if row["model"] == model]
        for way, style in zip(WAYS, ("C7--", "C0--", "C7-", "C3-")):
            points = [(r["write_sdr_db"], 100 * r["accuracy"]) for r in own if r["way"] == way]
            axis.plot(*zip(*points), style, marker=".", label=way)
        axis.axhline(100 * own[0]["float_accuracy"], color="black", linewidth=0.8, label="float32")
        axis.set(title=model, xlabel="signal over write noise (dB)", ylabel="accuracy (%)")
        axis.set_ylim(15, 95)
        axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["resnet20"])
    parser.add_argument("--db", type=float, nargs="+", default=[3, 6, 10, 14])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    rows = [row for model in args.model for row in measure(model, args.db, args.seeds)]
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
