"""Make docs/results.md: every task, every scheme, ten chips each.

    SOFTCELL_DATA=path/to/data python benchmarks/results.py [--only cifar10/resnet20 ...]

Each network's results are kept in benchmarks/results/ as JSON (softcell.results/1) and measured
again only when asked for (`--fresh`) or when the version changes; an interruption loses one row.
The page is made from those files: `--page` makes it without measuring.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from train_lookup_page import lookup_page
from trained_noise_page import trained_noise
from trained_page import trained

from softcell.codes.schemes import CONVENTIONAL, SCHEMES
from softcell.devices import parse_device
from softcell.durations import format_age, parse_age
from softcell.evaluate.correction import task_loops
from softcell.evaluate.results import Result, read_results, write_results
from softcell.evaluate.sensitivity import task_fisher
from softcell.evaluate.tasks import load_task
from softcell.evaluate.trials import Experiment, Loop, compare
from softcell.search import Recipe

HERE = Path(__file__).parent
FOLDER = HERE / "results"
PAGE = HERE.parent / "docs/results.md"
LARGE = ("combined", "coarse-to-fine", "strong-digital")
CLOSED = ("closed",)
CORRECTED = ("open, corrected", "closed")
WAYS = ("open", *CORRECTED)
QUIET, NOISY = "pcm-partial-reset:read_noise=0", "pcm-partial-reset:read_noise=0.038"


@dataclass(frozen=True)
class Run:
    """One network on one device."""

    task: str
    model: str
    device: str = "pcm-partial-reset"
    age: str = "0"
    schemes: tuple[str, ...] = SCHEMES
    cells: tuple[float, ...] = (1.0, 2.0, 4.0)
    loop: tuple[tuple[str, float, tuple[str, ...]], ...] = ()
    """In place of these: scheme, cells per weight and ways through the feedback loop."""
    reads: int = 1
    """Verifying reads of a cell in the loop."""

    @property
    def name(self) -> str:
        parts = [self.task, self.model, self.device.replace(":", "-").replace("=", "-")]
        age = [self.age] if self.age != "0" else []
        reads = [f"{self.reads}-reads"] if self.reads > 1 else []
        return "-".join([*parts, *age, *(["loop"] if self.loop else []), *reads])

    @property
    def rows(self) -> list[tuple[str, tuple[float, ...], tuple[str, ...]]]:
        """Schemes, each with its cells per weight and its ways through the loop."""
        if self.loop:
            return [(scheme, (cells,), ways) for scheme, cells, ways in self.loop]
        return [(scheme, self.cells, ()) for scheme in self.schemes]


RUNS = (
    Run("digits", "cnn"),
    Run("digits", "cnn", "pcm-sweep"),
    Run("digits", "cnn", "rram-reset"),
    Run("digits", "cnn", "pcm-mushroom", "10y"),
    Run("digits", "cnn", "rram-wan", "10y"),
    Run("mnist", "lenet-300-100"),
    Run("mnist", "lenet5"),
    Run("cifar10", "resnet20"),
    Run(
        "cifar10",
        "resnet20",
        "pcm-mushroom",
        "10y",
        schemes=(*CONVENTIONAL, "naive", *LARGE),
        cells=(2.0, 4.0),
    ),
    Run("cifar10", "resnet32", schemes=(*CONVENTIONAL, *LARGE), cells=(2.0, 4.0)),
    Run("cifar10", "resnet56", schemes=(*CONVENTIONAL, "naive", *LARGE), cells=(1.4, 2.0, 4.0)),
    Run("imagenet", "mobilenet_v1_025", schemes=(*CONVENTIONAL, "naive", *LARGE), cells=(2.0, 4.0)),
    Run("imagenet", "squeezenet1_1", schemes=(*CONVENTIONAL, *LARGE), cells=(3.0,)),
    Run("imagenet", "mobilenet_v2", schemes=(*CONVENTIONAL, *LARGE), cells=(3.0,)),
    Run(
        "cifar10",
        "resnet56",
        loop=(("packed", 0.75, CORRECTED), ("packed", 1.05, WAYS), ("strong-digital", 0.62, WAYS)),
    ),
    Run(
        "cifar10",
        "resnet20",
        loop=(
            *(("packed", 1.05, WAYS), ("packed", 0.85, CLOSED), ("strong-digital", 0.85, WAYS)),
            *(("combined", 2.0, CORRECTED), ("coarse-to-fine", 1.25, CORRECTED)),
            ("joint-map", 1.25, CORRECTED),
        ),
    ),
    Run("cifar10", "resnet56", loop=(("packed", 0.75, CLOSED),), reads=4),
    Run("cifar10", "resnet56", QUIET, loop=(("packed", 0.75, CLOSED),)),
    Run("cifar10", "resnet56", NOISY, loop=(("packed", 0.75, CLOSED),)),
    Run("cifar10", "resnet20", "pcm-mushroom", "1d", loop=(("packed", 1.05, CORRECTED),)),
    Run("cifar10", "resnet20", "pcm-mushroom", "1y", loop=(("packed", 1.05, CORRECTED),)),
    Run("cifar10", "resnet20", "pcm-mushroom", "10y", loop=(("packed", 1.05, CORRECTED),)),
    Run("mnist", "lenet5", loop=(("packed", 0.6, CORRECTED), ("strong-digital", 0.4, CORRECTED))),
    Run(
        "imagenet",
        "mobilenet_v1_025",
        loop=(("strong-digital", 2.0, CORRECTED),),
    ),
    Run(
        "imagenet",
        "squeezenet1_1",
        loop=(
            *(("strong-digital", 1.5, CORRECTED), ("packed", 1.5, CLOSED)),
            ("packed", 2.5, CORRECTED),
        ),
    ),
    Run("imagenet", "mobilenet_v2", loop=(("strong-digital", 2.0, CORRECTED),)),
)


def measure(run: Run, seeds: int, fresh: bool, only: Sequence[str]) -> None:
    path = FOLDER / f"{run.name}.json"
    known = read_results(path) if path.exists() else []
    if fresh:
        known = [row for row in known if only and row.scheme not in only]
    task = load_task(run.task, run.model)
    experiment = Experiment(
        state=task.state_dict(),
        evaluate=task.evaluate,
        device=parse_device(run.device),
        age_seconds=parse_age(run.age),
        sensitivity=task_fisher(task),
        task=task.name,
        model=task.model,
        images=task.images,
    )
    loops: Sequence[Loop | None] = (None,)
    if run.loop:
        loops = task_loops(task, verify_reads=run.reads)
    rows: list[Result] = []
    for scheme, cells, ways in run.rows:
        if only and scheme not in only:
            continue
        for row in compare(
            experiment,
            schemes=(scheme,),
            cells_per_weight=cells,
            seeds=seeds,
            known=known,
            loops=[loop for loop in loops if loop is None or loop.name in ways],
        ):
            rows.append(row)
            FOLDER.mkdir(exist_ok=True)
            others = {row.key for row in rows}
            write_results(path, [*rows, *(row for row in known if row.key not in others)])
            print(
                f"{run.name:40} {row.scheme:34} {row.loop:15} {row.cells_per_weight:7.3f} cells "
                f"{100 * row.accuracy_mean:6.2f} % {row.sdr_db:6.2f} dB",
                flush=True,
            )


WEIGHTS = {
    "resnet20": 271_098,
    "resnet56": 857_082,
    "lenet5": 431_080,
    "mobilenet_v1_025": 475_544,
    "squeezenet1_1": 1_235_496,
    "mobilenet_v2": 3_487_816,
}


def page() -> str:
    """Return docs/results.md from the kept results."""
    parts = [INTRODUCTION]
    for run in RUNS:
        path = FOLDER / f"{run.name}.json"
        if path.exists() and (rows := read_results(path)):
            parts.append(section(rows))
    parts += [trained(), lookup_page(), trained_noise(), searched(), ablations(), peers()]
    return "\n".join(part for part in parts if part)


def searched() -> str:
    """Return the plans of `benchmarks/joint_search.py`, measured on test images."""
    lines = [
        "## The joint search",
        "",
        "Plans of `softcell optimise` (`python benchmarks/joint_search.py`), found without test "
        "images, each written anew to ten chips that the search has not seen (digital ones are "
        "alike), on all test images. *Estimated drop* is what the search confirmed on other "
        "training images.",
        "",
        "| network | asked for | device, age | recipe | cells/weight | accuracy | float32 | drop "
        "| estimated drop |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for path in sorted((HERE / "plans").glob("*.json")):
        measured = FOLDER / f"{path.stem}-plan.json"
        if not measured.exists():
            continue
        plan, row = json.loads(path.read_text()), read_results(measured)[0]
        confirmed = plan["report"]["confirmed"]["verdict"]["drop"]
        settings = plan["settings"]
        goal = settings["goal"].replace("a drop of at most", "drop").replace("at most ", "")
        drop = 100 * (row.float_accuracy - row.accuracy_mean)
        table = ", look-up alone" if row.decoder == "table" else ""
        lines.append(
            f"| {row.model} | {goal}{table} "
            f"| {row.device}, {format_age(row.age_seconds)} | {shown(settings['recipe'])} "
            f"| **{row.cells_per_weight:.3f}** | {100 * row.accuracy_mean:.2f} % "
            f"| {100 * row.float_accuracy:.2f} % | {drop:.2f} | {100 * confirmed:.2f} |"
        )
    return "\n".join(lines) + "\n"


def shown(recipe: dict[str, Any]) -> str:
    """Return a recipe of a plan in words."""
    return str(Recipe.of(recipe))


def ablations() -> str:
    """Return the fewest cells with one ingredient missing after the other."""
    path = FOLDER / "ablations.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    parts = []
    for network in dict.fromkeys(key.rsplit("/", 1)[0] for key in found):
        rows = {k.rsplit("/", 1)[1]: v for k, v in found.items() if k.startswith(network)}
        whole = rows["all"]
        lines = [
            f"### What each ingredient gives: {network}",
            "",
            "Cells per weight for an estimated drop of half a point, and for a divergence of 0.03 "
            "nats, on the search's training images with strong digital storage: lines through four "
            f"numbers of cells each (`python benchmarks/joint_search.py --ablations {network}`). "
            "Each line takes one thing away, or changes it.",
            "",
            "| | for the drop | more than with all | for the divergence | more than with all |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        for name, row in rows.items():
            texts = [name]
            for what in ("cells_for_drop", "cells_for_divergence"):
                texts += [f"{row[what]:.3f}", f"{100 * (row[what] / whole[what] - 1):.0f} %"]
            lines.append("| " + " | ".join(texts) + " |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def peers() -> str:
    """Return the rows of a published codec in the same cells."""
    lines = [
        "## A published codec in the same cells",
        "",
        "Streams of nncodec 2.1.3 (ISO/IEC 15938-17) with the error correction of strong digital "
        "storage, written to simulated cells, read and decoded (`python benchmarks/peer_codec.py`; "
        "`benchmarks/make_codec_environment.sh` makes its environment). *nncodec* are its "
        "defaults, *rdo* with its rate-distortion quantisation and folded normalisations, *ioq* "
        "with its own search for each tensor's steps, on our calibration images; the whole stream "
        "is counted. Which steps stand here was settled with test accuracies in view.",
        "",
        "| network | scheme | cells/weight | accuracy | float32 |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for path in sorted(FOLDER.glob("*-nncodec.json")):
        for row in read_results(path):
            lines.append(
                f"| {row.model} | {row.scheme} | {row.cells_per_weight:.3f} "
                f"| {100 * row.accuracy_mean:.2f} % | {100 * row.float_accuracy:.2f} % |"
            )
    return "\n".join(lines) + "\n"


def section(rows: list[Result]) -> str:
    if any(row.feedback for row in rows):
        return loop_section(rows)
    first = rows[0]
    age = f", read after {format_age(first.age_seconds)}" if first.age_seconds else ""
    lines = [
        f"## {first.task}: {first.model} on {first.device}{age}",
        "",
        f"float32: {100 * first.float_accuracy:.2f} % on {first.images} images; capacity "
        f"{first.capacity_bits:.2f} bits per cell; {first.seeds} chips a row.",
        "",
        "| scheme | cells/weight | of them side | accuracy, 95 % interval | drop | SDR (dB) "
        "| limit | over the limit |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        low, high = (100 * x for x in row.accuracy_ci95)
        drop = round(100 * (row.float_accuracy - row.accuracy_mean), 2) + 0.0  # no minus zero
        limit = row.limit_cells_per_weight
        over = f"x {row.cells_per_weight / limit:.1f}" if limit > 0.005 else "-"
        failed = f" ({row.failed_code_words} code words failed)" if row.failed_code_words else ""
        lines.append(
            f"| {row.scheme}{failed} | {row.cells_per_weight:.2f} "
            f"| {row.side_cells_per_weight:.2f} | {100 * row.accuracy_mean:.2f} % "
            f"({low:.2f} to {high:.2f}) | {drop:.2f} | {row.sdr_db:.1f} | {limit:.2f} | {over} |"
        )
    return "\n".join(lines) + "\n"


def loop_section(rows: list[Result]) -> str:
    first = rows[0]
    age = f", read after {format_age(first.age_seconds)}" if first.age_seconds else ""
    lines = [
        f"## Through the feedback loop: {first.model} ({first.task}) on {first.device}{age}",
        "",
        f"float32: {100 * first.float_accuracy:.2f} % on {first.images} images; {first.seeds} "
        f"chips a row; reading is {100 * first.read_noise_share:.1f} % of a cell's variance.",
        "",
        "| scheme | loop | decoder | cells/weight | accuracy, 95 % interval | drop | SDR (dB) "
        "| pulses and verifying reads a weight |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        low, high = (100 * x for x in row.accuracy_ci95)
        drop = round(100 * (row.float_accuracy - row.accuracy_mean), 2) + 0.0
        pulses = row.programmed_cells / WEIGHTS[first.model]
        lines.append(
            f"| {row.scheme} | {row.loop} | {row.decoder} | {row.cells_per_weight:.2f} "
            f"| {100 * row.accuracy_mean:.2f} % ({low:.2f} to {high:.2f}) | {drop:.2f} "
            f"| {row.sdr_db:.1f} | {pulses:.2f}, {pulses * row.verify_reads:.2f} |"
        )
    return "\n".join(lines) + "\n"


INTRODUCTION = """# Results

Made by `python benchmarks/results.py` from the results in `benchmarks/results/`. Every row is a
network written to ten chips (seeds 0 to 9), read back and evaluated on the same images. *Cells per
weight* is everything a decoder needs over all weights. *Over the limit* is that number over R(D)/C
at the distortion reached ([how it is counted](codes.md)).

No network was trained for its cells or tuned, apart from those of the sections that say so. Labels
of test images were used for nothing but the accuracies. Fisher information comes from training
images on digits, MNIST and CIFAR-10. On ImageNet there are only the 1,000 images: there it comes,
without labels, from augmented copies of every fifth of them, and the accuracies are over all 1,000,
those included.

The sections *through the feedback loop* are networks that were written column by column
([the closed loop](feedback.md)): *open* without carrying errors on, *open, corrected* with biases
and normalisations corrected for the drift of activations, *closed* with both. Everything is
counted, normalisations folded and stored at 12 or 16 bits a number. A verified cell costs one
pulse and the stated number of verifying reads. Digital rows serve any chip: their ten chips are
alike.

Rows were measured while the codes were still being mended; those of MNIST and part of ResNet-20's
are older than the last changes to ranges and cell counts, and closed-loop rows of `strong-digital`
on ImageNet are older than the trellis in the loop. `--fresh` measures them again.

The 1,000 CIFAR-10 images have a standard error of about 0.8 points and the 1,000 ImageNet images of
1.0 to 1.6, but rows share images and chips, so that differences between them are finer. The
ImageNet images seem to be from the training pool: use those figures for differences only.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="task/model, or names, of what to measure")
    parser.add_argument("--schemes", nargs="*", help="measure these alone, keep the others")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--fresh", action="store_true", help="measure everything again")
    parser.add_argument("--page", action="store_true", help="make the page without measuring")
    args = parser.parse_args()
    for run in RUNS:
        wanted = not args.only or {f"{run.task}/{run.model}", run.name} & set(args.only)
        if args.page or not wanted:
            continue
        measure(run, args.seeds, args.fresh, args.schemes or ())
    PAGE.write_text(page(), encoding="utf-8")
    Console().print(f"wrote {PAGE.name}")


if __name__ == "__main__":
    main()
