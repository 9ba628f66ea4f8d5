"""The tables of `train_noise.py`: what pruning, a teacher and noise in training give.

python benchmarks/trained_noise_page.py
"""

import json
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from softcell.evaluate.statistics import mean_and_ci95

FILE = Path(__file__).parent / "results/trained-noise.json"
Row = dict[str, Any]
Figure = Callable[[Row], float]


def trained_noise() -> str:
    """Return the section, or nothing where nothing was measured."""
    if not FILE.exists():
        return ""
    rows = json.loads(FILE.read_text(encoding="utf-8"))["rows"]
    seeds = len({row["training_seed"] for row in rows})
    first = rows[0]["result"]
    lines = [
        "## Pruning and distillation, with and without noise in training",
        "",
        f"MNIST on `{first['device']}`, {first['seeds']} chips of each network, all "
        f"{first['images']:,} test images; means and 95 % intervals over {seeds} trainings "
        "(`python benchmarks/train_noise.py` trains and measures). *Noise* is what the code was "
        "seen to do to the network trained without it, on a chip of its own; *float32* are the "
        "trained weights before they are stored. Learning rates are those of the best float32 "
        "accuracy without noise on the last 5,000 training images.",
        "",
        "A larger teacher did not make a better stored student here. Noise in training is worth "
        "tens of points where cells are few and unprotected, and little behind a mask and signs "
        "that are error-free. (The rows of the teacher at the rate of the labels were added after "
        "the results of those at its own rate were seen.)",
        "",
        *_pruning([row for row in rows if row["family"] == "pruning"]),
        *_distillation([row for row in rows if row["family"] == "distillation"]),
    ]
    return "\n".join(lines)


def _pruning(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    codes = list(dict.fromkeys(row["result"]["scheme"] for row in rows))
    by_code = [[row for row in rows if row["result"]["scheme"] == code] for code in codes]
    lines = [
        "### Pruning: LeNet-300-100 to 5 % of its weights",
        "",
        f"{rows[0]['epochs']} epochs from the trained weights; a mask of the zeros and signs are "
        "error-free, and every weight that is left has one cell, decoded by look-up. *Gradual* "
        "pruning goes on for half of the training, *one-shot* is after half an epoch. Training "
        f"noise is that of `{codes[0]}`.",
        "",
        "| pruning | saliency | noise in training | float32 | cells/weight | "
        + " | ".join(f"`{code}`" for code in codes)
        + " |",
        "| --- | --- | --- | ---: | ---: |" + " ---: |" * len(codes),
    ]
    for way in ("one-shot", "gradual"):
        for saliency in ("magnitude", "fisher"):
            for noise in ("without", "through"):
                chosen = {"way": way, "saliency": saliency, "noise": noise}
                found = [_chosen(each, **chosen) for each in by_code]
                cells = mean_and_ci95([_cells(row) for row in found[0]])[0]
                stored = [_percent(each, _stored) for each in found]
                texts = [way, saliency, noise, _percent(found[0], _float), f"{cells:.3f}", *stored]
                lines.append("| " + " | ".join(texts) + " |")
    plain = by_code[0]
    lines += [
        "",
        "Differences in points, means over trainings that are equal otherwise: "
        + "; ".join(
            f"{what} {_difference(plain, key, more, less, _float)} in float32 and "
            f"{_difference(plain, key, more, less, _stored)} stored in `{codes[0]}`"
            for what, key, more, less in (
                ("gradual over one-shot", "way", "gradual", "one-shot"),
                ("Fisher information over magnitude", "saliency", "fisher", "magnitude"),
                ("training through noise over training without", "noise", "through", "without"),
            )
        )
        + ".",
        "",
    ]
    return lines


def _distillation(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    scheme = rows[0]["result"]["scheme"]
    lines = [
        "### Distillation: an MLP of 784-60-30-10 learns from LeNet-5",
        "",
        f"{rows[0]['epochs']} epochs from random weights, 49,270 of them where the teacher has "
        f"431,080; stored by `{scheme}`, decoded by look-up.",
        "",
        "| learns from | learning rate | noise in training | float32 | cells/weight "
        "| of the teacher's | SDR (dB) | stored |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    ways = list(dict.fromkeys((row["way"], row["learning_rate"]) for row in rows))
    for (way, rate), noise in product(ways, ("without", "through")):
        found = _chosen(rows, way=way, learning_rate=rate, noise=noise)
        cells = mean_and_ci95([_cells(row) for row in found])[0]
        sdr = mean_and_ci95([row["result"]["sdr_db"] for row in found])[0]
        texts = [
            *("labels alone" if way == "labels" else "teacher and labels", f"{rate:g}"),
            *(noise, _percent(found, _float), f"{cells:.3f}", f"{cells * 49270 / 431080:.3f}"),
            *(f"{sdr:.1f}", _percent(found, _stored)),
        ]
        lines.append("| " + " | ".join(texts) + " |")
    alone = [row for row in rows if row["way"] == "labels"]
    for rate in dict.fromkeys(r["learning_rate"] for r in rows if r["way"] == "teacher"):
        pair = [*alone, *_chosen(rows, way="teacher", learning_rate=rate)]
        said = [
            f"{what} {_difference(_chosen(pair, noise=noise), 'way', 'teacher', 'labels', figure)}"
            for noise, what, figure in (
                ("without", "as float32", _float),
                ("without", "stored, trained without noise,", _stored),
                ("through", "stored, trained through noise,", _stored),
            )
        ]
        lines += [
            "",
            f"Students of the teacher at a rate of {rate:g} over those of the labels alone, in "
            f"points: {'; '.join(said)}.",
        ]
    gain = _difference(alone, "noise", "through", "without", _stored)
    lines += ["", f"Noise in training changes what is stored, labels alone, by {gain}.", ""]
    return lines


def _float(row: Row) -> float:
    return float(row["result"]["float_accuracy"])


def _stored(row: Row) -> float:
    return float(row["result"]["accuracy_mean"])


def _cells(row: Row) -> float:
    return float(row["result"]["cells_per_weight"])


def _chosen(rows: Sequence[Row], **values: str | float) -> list[Row]:
    return [row for row in rows if all(row[key] == value for key, value in values.items())]


def _percent(rows: Sequence[Row], figure: Figure) -> str:
    mean, (low, high) = mean_and_ci95([100 * figure(row) for row in rows])
    return f"{mean:.2f} % ({low:.2f} to {min(high, 100):.2f})"


def _difference(rows: Sequence[Row], key: str, more: str, less: str, figure: Figure) -> str:
    """Return by how many points one value of a key is better, all else being equal.

    The interval is over seeds: rows of one seed are averaged first.
    """
    means = []
    for seed in dict.fromkeys(row["training_seed"] for row in rows):
        values = [
            [100 * figure(row) for row in _chosen(rows, training_seed=seed) if row[key] == value]
            for value in (more, less)
        ]
        means.append(sum(values[0]) / len(values[0]) - sum(values[1]) / len(values[1]))
    mean, (low, high) = mean_and_ci95(means)
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


if __name__ == "__main__":
    print(trained_noise())
