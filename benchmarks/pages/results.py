"""Make docs/results.md and its figure from the kept results.

    python benchmarks/pages/results.py

The page is `results.md` beside this file with every <<name>> filled in: a table made below, or else
the section of a file in benchmarks/results/, where the studies keep what they measure.
"""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.figure import Figure

from softcell.durations import format_age
from softcell.evaluate.results import Result, read_results
from softcell.evaluate.statistics import mean_and_ci95
from softcell.records import record_of
from softcell.report.age import ageing_of
from softcell.report.columns import markdown_columns
from softcell.report.plot import save_figure
from softcell.report.trained_table import by_device, trained_markdown
from softcell.search import Recipe
from softcell.training.trained_network import trained_network, trained_networks

HERE = Path(__file__).parent
RESULTS, PLANS = HERE.parent / "results", HERE.parent / "plans"
DOCS = HERE.parents[1] / "docs"
Row = dict[str, Any]

WEIGHTS = {
    **{"resnet20": 271_098, "resnet56": 857_082, "lenet5": 431_080, "mobilenet_v1_025": 475_544},
    **{"squeezenet1_1": 1_235_496, "mobilenet_v2": 3_487_816},
}
"""Of the networks that are shown with their pulses."""


def page() -> str:
    """Return docs/results.md."""
    text = (HERE / "results.md").read_text(encoding="utf-8")
    return re.sub("<<(.+?)>>", lambda name: made(name[1]), text)


def made(name: str) -> str:
    file = RESULTS / f"{name}.json"
    return MADE[name]().rstrip() if name in MADE else section(read_results(file))


def kept(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def table(rows: Iterable[Sequence[str]], *names: str, left: int = 1) -> str:
    """Return a table of rows of texts."""
    return markdown_columns(dict(zip(names, zip(*rows), strict=True)), left=left)


def percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def interval(mean: float, ends: Sequence[float]) -> str:
    return f"{percent(mean)} ({100 * ends[0]:.2f} to {100 * ends[1]:.2f})"


def points(value: float) -> str:
    """Return a difference in points, without a minus before zero."""
    return f"{round(100 * value, 2) + 0.0:.2f}"


def recipe(values: Row) -> str:
    return str(record_of(Recipe, values, "recipe", optional=True, rest=True))


def section(rows: Sequence[Result]) -> str:
    """Return the section of a network, written at once or through the feedback loop."""
    first, loop = rows[0], any(row.feedback for row in rows)
    title = f"{first.task}: {first.model}"
    said = f"capacity {first.capacity_bits:.2f} bits per cell; {first.seeds} chips a row."
    if loop:
        title = f"Through the feedback loop: {first.model} ({first.task})"
        share = f"{100 * first.read_noise_share:.1f} % of a cell's variance"
        said = f"{first.seeds} chips a row; reading is {share}."
    if rests_on := ageing_of(first):
        said += f" A{rests_on[1:]}."
    age = f", read after {format_age(first.age_seconds)}" if first.age_seconds else ""
    return (
        f"## {title} on {first.device}{age}\n\n"
        f"float32: {percent(first.float_accuracy)} on {first.images} images; {said}\n\n"
        f"{markdown_columns(columns(rows, loop), left=3 if loop else 1)}"
    )


def columns(rows: Sequence[Result], loop: bool) -> dict[str, list[str]]:
    failed = {
        r.key: f" ({r.failed_code_words} code words failed)" for r in rows if r.failed_code_words
    }
    found = {"scheme": [row.scheme + failed.get(row.key, "") for row in rows]}
    if loop:
        found |= {"loop": [row.loop for row in rows], "decoder": [row.decoder for row in rows]}
    found["cells/weight"] = [f"{row.cells_per_weight:.2f}" for row in rows]
    if not loop:
        found["of them side"] = [f"{row.side_cells_per_weight:.2f}" for row in rows]
    found |= {
        "accuracy, 95 % interval": [interval(r.accuracy_mean, r.accuracy_ci95) for r in rows],
        "drop": [points(row.float_accuracy - row.accuracy_mean) for row in rows],
        "SDR (dB)": [f"{row.sdr_db:.1f}" for row in rows],
    }
    if loop:
        pulses = [(row.programmed_cells / WEIGHTS[row.model], row.verify_reads) for row in rows]
        said = [f"{each:.2f}, {each * reads:.2f}" for each, reads in pulses]
        return found | {"pulses and verifying reads a weight": said}
    limits = [(row.limit_cells_per_weight, row.cells_per_weight) for row in rows]
    over = [f"x {cells / limit:.1f}" if limit > 0.005 else "-" for limit, cells in limits]
    return found | {"limit": [f"{limit:.2f}" for limit, _ in limits], "over the limit": over}


def trained() -> str:
    return "\n".join(map(trained_markdown, by_device(read_results(RESULTS / "trained.json"))))


def commands() -> str:
    names = dict.fromkeys(row["trained"].partition("@")[0] for row in kept("trained")["results"])
    networks = {name: trained_network(name) for name in names if name in trained_networks()}
    rows = ((name, f"`{each.command}`", str(each.seed)) for name, each in networks.items())
    return table(rows, "network", "command", "seed", left=2)


def lookup_plans() -> str:
    def texts(row: Row) -> Sequence[str]:
        result = row["result"]
        return (
            *(recipe(row["recipe"]), f"**{result['cells_per_weight']:.3f}**"),
            interval(result["accuracy_mean"], result["accuracy_ci95"]),
            percent(row["float_accuracy"]),
            points(row["float_accuracy"] - result["accuracy_mean"]),
            *(points(row["estimated_drop"]), percent(row["trained_accuracy"])),
            *(f"{result['sdr_db']:.1f}", percent(row["untrained_stored"])),
        )

    found = []
    for model, rows in kept("trained-lookup")["plans"].items():
        found += sorted(([model, *texts(row)] for row in rows), key=lambda texts: texts[2])
    names = ("network", "recipe", "cells/weight", "accuracy, 95 % interval", "float32", "drop")
    more = ("estimated drop", "trained, before storing", "SDR (dB)", "untrained, as many cells")
    return table(found, *names, *more, left=2)


def lookup_ingredients() -> str:
    def texts(row: Row) -> Sequence[str]:
        cells, before = f"{row['cells_per_weight']:.3f}", percent(row["before_storing"])
        accuracy = interval(row["accuracy"], row["accuracy_ci95"])
        return row["network"], row["loop"], cells, accuracy, before, f"{row['sdr_db']:.1f}"

    names = ("network", "loop", "cells/weight", "accuracy, 95 % interval", "before storing")
    rows = map(texts, kept("trained-lookup")["ingredients"]["resnet20"])
    return table(rows, *names, "SDR (dB)", left=2)


def curves(rows: Sequence[Row]) -> dict[str, dict[float, float]]:
    """Return accuracies in % by dB, of each network with and without drift correction."""
    return {
        network + word: {r["sdr_db"]: 100 * mean(r[what]) for r in rows if r["network"] == network}
        for network in dict.fromkeys(row["network"] for row in rows)
        for what, word in (("accuracies", ""), ("corrected", ", corrected"))
    }


def white_noise() -> str:
    parts = []
    for model, rows in kept("trained-lookup")["curve"].items():
        before = {row["network"]: f"{100 * row['before']:.1f}" for row in rows}
        found = [
            [name, *(f"{each:.1f}" for each in curve.values()), before[name.split(",")[0]]]
            for name, curve in curves(rows).items()
        ]
        decibels = dict.fromkeys(f"{row['sdr_db']:g}" for row in rows)
        parts.append(table(found, f"{model}, dB", *decibels, "none"))
    return "\n".join(parts)


def draw_white_noise() -> Figure:
    """Draw accuracy against white noise on the weights, before and after training."""
    models = kept("trained-lookup")["curve"]
    figure = Figure(figsize=(4.4 * len(models), 3.4), layout="constrained")
    axes = figure.subplots(1, len(models), squeeze=False)[0]
    for axis, (model, rows) in zip(axes, models.items(), strict=True):
        for name, curve in curves(rows).items():
            colour = "#D55E00" if name.startswith("trained") else "#777777"
            style = "o-" if "corrected" in name else ".--"
            axis.plot(*zip(*curve.items()), style, color=colour, markersize=4, label=name)
        before = next(row["before"] for row in rows if row["network"] == "float32")
        axis.axhline(100 * before, color="black", linewidth=0.8)
        axis.set(title=model, xlabel="signal over noise on weights (dB)", ylabel="accuracy (%)")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure


def noisy(**values: str | float) -> list[Row]:
    """Return the rows of trainings with and without noise that have these values."""
    rows = kept("trained-noise")["rows"]
    return [row | row["result"] for row in rows if values.items() <= (row | row["result"]).items()]


def over_trainings(rows: Sequence[Row], what: str) -> str:
    middle, (low, high) = mean_and_ci95([row[what] for row in rows])
    return interval(middle, (low, min(high, 1)))


def difference(rows: Sequence[Row], what: str, key: str, more: str, less: str) -> str:
    """Return by how many points one value of a key is better, all else being equal.

    The interval is over seeds: rows of one seed are averaged first.
    """

    def average(value: str, seed: int) -> float:
        chosen = (r for r in rows if r[key] == value and r["training_seed"] == seed)
        return mean(100 * float(row[what]) for row in chosen)

    seeds = dict.fromkeys(row["training_seed"] for row in rows)
    middle, (low, high) = mean_and_ci95([average(more, s) - average(less, s) for s in seeds])
    return f"{middle:+.2f} ({low:+.2f} to {high:+.2f})"


FLOAT, STORED = "float_accuracy", "accuracy_mean"
MASKED = ("inversion+sparsity", "inversion+sign+adaptive+sparsity")


def pruning() -> str:
    rows = []
    ways = product(("one-shot", "gradual"), ("magnitude", "fisher"), ("without", "through"))
    for way, saliency, noise in ways:
        found = [
            noisy(family="pruning", way=way, saliency=saliency, noise=noise, scheme=scheme)
            for scheme in MASKED
        ]
        cells = f"{mean(row['cells_per_weight'] for row in found[0]):.3f}"
        stored = [over_trainings(each, STORED) for each in found]
        rows.append([way, saliency, noise, over_trainings(found[0], FLOAT), cells, *stored])
    names = ("pruning", "saliency", "noise in training", "float32", "cells/weight")
    return table(rows, *names, *(f"`{scheme}`" for scheme in MASKED), left=3)


def pruning_differences() -> str:
    rows = noisy(family="pruning", scheme=MASKED[0])
    found = (
        (what, *(difference(rows, figure, *of) for figure in (FLOAT, STORED)))
        for what, *of in (
            ("gradual over one-shot", "way", "gradual", "one-shot"),
            ("Fisher information over magnitude", "saliency", "fisher", "magnitude"),
            ("training through noise over training without", "noise", "through", "without"),
        )
    )
    return table(found, "", "as float32", f"stored in `{MASKED[0]}`")


def distillation() -> str:
    rows = []
    ways = dict.fromkeys((r["way"], r["learning_rate"]) for r in noisy(family="distillation"))
    for (way, rate), noise in product(ways, ("without", "through")):
        found = noisy(family="distillation", way=way, learning_rate=rate, noise=noise)
        cells = mean(row["cells_per_weight"] for row in found)
        learns = "labels alone" if way == "labels" else "teacher and labels"
        shares = f"{cells:.3f}", f"{cells * 49270 / WEIGHTS['lenet5']:.3f}"
        sdr = f"{mean(row['sdr_db'] for row in found):.1f}"
        accuracies = over_trainings(found, FLOAT), over_trainings(found, STORED)
        rows.append((learns, f"{rate:g}", noise, accuracies[0], *shares, sdr, accuracies[1]))
    names = ("learns from", "learning rate", "noise in training", "float32", "cells/weight")
    return table(rows, *names, "of the teacher's", "SDR (dB)", "stored", left=3)


def distillation_differences() -> str:
    labels = noisy(family="distillation", way="labels")
    rows = []
    for rate in dict.fromkeys(r["learning_rate"] for r in noisy(way="teacher")):
        pair = labels + noisy(way="teacher", learning_rate=rate)
        found = [f"{rate:g}"]
        for noise, what in (("without", FLOAT), ("without", STORED), ("through", STORED)):
            of = [row for row in pair if row["noise"] == noise]
            found.append(difference(of, what, "way", "teacher", "labels"))
        rows.append(found)
    names = ("learning rate", "as float32", "stored, trained without noise")
    return table(rows, *names, "stored, trained through noise")


def noise_in_training() -> str:
    labels = noisy(family="distillation", way="labels")
    return difference(labels, STORED, "noise", "through", "without")


def search() -> str:
    def texts(path: Path) -> Sequence[str]:
        plan, row = (
            json.loads(path.read_text()),
            read_results(RESULTS / f"{path.stem}-plan.json")[0],
        )
        settings = plan["settings"]
        goal = settings["goal"].replace("a drop of at most", "drop").replace("at most ", "")
        return (
            *(row.model, goal + (", look-up alone" if row.decoder == "table" else "")),
            f"{row.device}, {format_age(row.age_seconds)}",
            *(recipe(settings["recipe"]), f"**{row.cells_per_weight:.3f}**"),
            *(percent(row.accuracy_mean), percent(row.float_accuracy)),
            points(row.float_accuracy - row.accuracy_mean),
            points(plan["report"]["confirmed"]["verdict"]["drop"]),
        )

    names = ("network", "asked for", "device, age", "recipe", "cells/weight", "accuracy", "float32")
    found = map(texts, sorted(PLANS.glob("*.json")))
    return table(found, *names, "drop", "estimated drop", left=4)


def ablations() -> str:
    rows = {key.removeprefix("cifar10/resnet20/"): row for key, row in kept("ablations").items()}

    def cells(name: str, what: str) -> str:
        found = rows[name][what]
        return f"{found:.3f} ({100 * (found / rows['all'][what] - 1):+.0f} %)"

    kinds = ("cells_for_drop", "cells_for_divergence")
    found = ([name, *(cells(name, what) for what in kinds)] for name in rows)
    return table(found, "", "for the drop", "for the divergence")


def codec() -> str:
    def texts(row: Result) -> Sequence[str]:
        accuracies = percent(row.accuracy_mean), percent(row.float_accuracy)
        return row.model, row.scheme, f"{row.cells_per_weight:.3f}", *accuracies

    files = sorted(RESULTS.glob("*-nncodec.json"))
    rows = (texts(row) for path in files for row in read_results(path))
    return table(rows, "network", "scheme", "cells/weight", "accuracy", "float32", left=2)


TABLES = (
    *(trained, commands, lookup_plans, lookup_ingredients, white_noise, pruning, distillation),
    *(pruning_differences, distillation_differences, noise_in_training, search, ablations, codec),
)
MADE = {make.__name__.replace("_", " "): make for make in TABLES}


def main() -> None:
    (DOCS / "results.md").write_text(page(), encoding="utf-8")
    save_figure(draw_white_noise(), DOCS / "figures/training_noise.svg")


if __name__ == "__main__":
    main()
