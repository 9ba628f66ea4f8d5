"""The section of docs/results.md on networks trained for look-up cells, and its figure.

    python benchmarks/train_lookup_page.py

reads benchmarks/results/trained-lookup.json, which `train_lookup.py` has made, prints the section
and draws docs/figures/training_noise.svg.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from softcell.report.plot import save_figure
from softcell.search import Recipe

HERE = Path(__file__).parent
RESULTS = HERE / "results/trained-lookup.json"
FIGURE = HERE.parent / "docs/figures/training_noise.svg"

_INTRODUCTION = """## Trained through noise, decoded by look-up alone

Networks that were trained through the noise of packed cells in the loop, aiming at the outputs of
the float network (`python benchmarks/train_lookup.py --checkpoints FOLDER`), rounded to eight bits
and stored in such cells on `pcm-partial-reset`. Noise in training: the float network is planned at
0.6 cells per weight and written once; every row has the noise that its columns had then, carried on
to later columns by the curvature as the loop does, rows that are not stored are zero, and
normalisations are corrected for drift in every step. Which numbers of cells stand here was settled
with the accuracies of some of them in view. *Estimated drop* is what the search's judge makes of it
on training images: it counts every answer that training has changed as a worse one and so errs on
the high side. Ten chips, the 1,000 test images, everything counted. *Untrained* is the float
network in the same cells, through the same loop: training for an epoch gains little there, since
the loop puts errors where the loss feels them least."""

_INGREDIENTS = """### What training gives, and what the rest

ResNet-20, all in the same cells, each trained for the same number of steps, ten chips a row.
*Before storing* is the accuracy of the network as it was trained, without any noise."""

_CURVE = """### Against white noise

Gaussian noise on every matrix, relative to each row; the mean of three draws, test images in %.
*Corrected* with normalisations and biases corrected for the drift of activations.

![Accuracy against white noise before and after training](figures/training_noise.svg)"""


def lookup_page() -> str:
    """Return the section of docs/results.md."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    parts = []
    if "plans" in results:
        parts += [_INTRODUCTION, _plans(results["plans"])]
    for rows in results.get("ingredients", {}).values():
        parts += [_INGREDIENTS, _ingredients(rows)]
    if "curve" in results:
        parts += [_CURVE, *(_curve(model, rows) for model, rows in results["curve"].items())]
    return "\n\n".join(parts) + "\n"


def _plans(plans: dict[str, list[dict[str, Any]]]) -> str:
    lines = [
        "| network | recipe | cells/weight | accuracy, 95 % interval | float32 | drop "
        "| estimated drop | trained, before storing | SDR (dB) | untrained, as many cells |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for model, rows in plans.items():
        for row in sorted(rows, key=lambda row: row["result"]["cells_per_weight"]):
            result = row["result"]
            low, high = (100 * bound for bound in result["accuracy_ci95"])
            drop = row["float_accuracy"] - result["accuracy_mean"]
            lines.append(
                f"| {model} | {Recipe.of(row['recipe'])} | **{result['cells_per_weight']:.3f}** "
                f"| {100 * result['accuracy_mean']:.2f} % ({low:.2f} to {high:.2f}) "
                f"| {100 * row['float_accuracy']:.2f} % | {100 * drop:.2f} "
                f"| {100 * row['estimated_drop']:.2f} | {100 * row['trained_accuracy']:.2f} % "
                f"| {result['sdr_db']:.1f} | {100 * row['untrained_stored']:.2f} % |"
            )
    return "\n".join(lines)


def _ingredients(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| network | loop | cells/weight | accuracy, 95 % interval | before storing | SDR (dB) |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        low, high = (100 * bound for bound in row["accuracy_ci95"])
        lines.append(
            f"| {row['network']} | {row['loop']} | {row['cells_per_weight']:.3f} "
            f"| {100 * row['accuracy']:.2f} % ({low:.2f} to {high:.2f}) "
            f"| {100 * row['before_storing']:.2f} % | {row['sdr_db']:.1f} |"
        )
    return "\n".join(lines)


def _curve(model: str, rows: list[dict[str, Any]]) -> str:
    decibels = sorted({row["sdr_db"] for row in rows})
    lines = [
        f"| {model}, dB | " + " | ".join(f"{db:g}" for db in decibels) + " | none |",
        "| --- |" + " ---: |" * (len(decibels) + 1),
    ]
    for network in dict.fromkeys(row["network"] for row in rows):
        for what, word in (("accuracies", ""), ("corrected", ", corrected")):
            own = {row["sdr_db"]: row for row in rows if row["network"] == network}
            cells = [f"{100 * np.mean(own[db][what]):.1f}" for db in decibels]
            cells.append(f"{100 * own[decibels[0]]['before']:.1f}")
            lines.append(f"| {network}{word} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw accuracy against white noise; the same results give the same bytes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(curves), 3.4), layout="constrained")
    for axis, (model, rows) in zip(
        figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
    ):
        for network, colour in (("float32", "#777777"), ("trained", "#D55E00")):
            own = [row for row in rows if row["network"] == network]
            decibels = [row["sdr_db"] for row in own]
            for what, style, word in (
                ("accuracies", "--", ""),
                ("corrected", "-", ", corrected"),
            ):
                means = [100 * np.mean(row[what]) for row in own]
                axis.plot(
                    *(decibels, means),
                    style,
                    color=colour,
                    marker="." if what == "accuracies" else "o",
                    markersize=4,
                    label=f"{network}{word}",
                )
        before = next(row["before"] for row in rows if row["network"] == "float32")
        axis.axhline(100 * before, color="black", linewidth=0.8)
        axis.set(title=model, xlabel="signal over noise on weights (dB)", ylabel="accuracy (%)")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    save_figure(figure, path)


def main() -> None:
    print(lookup_page())
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    if "curve" in results:
        plot(results["curve"], FIGURE)


if __name__ == "__main__":
    main()
