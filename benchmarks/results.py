"""Make docs/results.md: every task, every scheme, ten chips each.

    SOFTCELL_DATA=path/to/data python benchmarks/results.py [--only cifar10/resnet20 ...]

Each network's results are kept in benchmarks/results/ as JSON (softcell.results/1) and measured
again only when asked for (`--fresh`) or when the version changes; an interruption loses one row.
The page is made from those files: `--page` makes it without measuring.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from softcell.allocate import CONVENTIONAL, SCHEMES
from softcell.devices import parse_device
from softcell.durations import format_age, parse_age
from softcell.evaluate.results import Result, read_results, write_results
from softcell.evaluate.sensitivity import task_fisher
from softcell.evaluate.tasks import load_task
from softcell.evaluate.trials import Experiment, compare

HERE = Path(__file__).parent
FOLDER = HERE / "results"
PAGE = HERE.parent / "docs/results.md"
LARGE = ("combined", "coarse-to-fine", "strong-digital")


@dataclass(frozen=True)
class Run:
    """One network on one device."""

    task: str
    model: str
    device: str = "pcm-partial-reset"
    age: str = "0"
    schemes: tuple[str, ...] = SCHEMES
    cells: tuple[float, ...] = (1.0, 2.0, 4.0)

    @property
    def name(self) -> str:
        parts = [self.task, self.model, self.device]
        return "-".join([*parts, self.age] if self.age != "0" else parts)


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
)


def measure(run: Run, seeds: int, fresh: bool) -> list[Result]:
    path = FOLDER / f"{run.name}.json"
    known = read_results(path) if path.exists() and not fresh else []
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
    rows: list[Result] = []
    for row in compare(
        experiment, schemes=run.schemes, cells_per_weight=run.cells, seeds=seeds, known=known
    ):
        rows.append(row)
        FOLDER.mkdir(exist_ok=True)
        write_results(path, rows)
        print(
            f"{run.name:40} {row.scheme:34} {row.cells_per_weight:7.3f} cells "
            f"{100 * row.accuracy_mean:6.2f} % {row.sdr_db:6.2f} dB",
            flush=True,
        )
    return rows


def page() -> str:
    """Return docs/results.md from the kept results."""
    parts = [INTRODUCTION]
    for run in RUNS:
        path = FOLDER / f"{run.name}.json"
        if path.exists():
            parts.append(section(read_results(path)))
    return "\n".join(parts)


def section(rows: list[Result]) -> str:
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


INTRODUCTION = """# Results

Made by `python benchmarks/results.py` from the results in `benchmarks/results/`. Every row is a
network written to ten chips (seeds 0 to 9), read back and evaluated on the same images. *Cells per
weight* is everything a decoder needs over all weights. *Over the limit* is that number over R(D)/C
at the distortion reached ([how it is counted](codes.md)).

No network was trained for noise, pruned or tuned. Labels of test images were used for nothing but
the accuracies. Fisher information comes from training images on digits, MNIST and CIFAR-10. On
ImageNet there are only the 1,000 images: there it comes, without labels, from augmented copies of
every fifth of them, and the accuracies are over all 1,000, those included.

Rows were measured while the codes were still being mended; those of MNIST and part of ResNet-20's
are older than the last changes to ranges and cell counts. `--fresh` measures them again.

The 1,000 CIFAR-10 images have a standard error of about 0.8 points and the 1,000 ImageNet images of
1.0 to 1.6, but rows share images and chips, so that differences between them are finer. The
ImageNet images seem to be from the training pool: use those figures for differences only.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="task/model of the networks to measure")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--fresh", action="store_true", help="measure everything again")
    parser.add_argument("--page", action="store_true", help="make the page without measuring")
    args = parser.parse_args()
    for run in RUNS:
        if args.page or (args.only and f"{run.task}/{run.model}" not in args.only):
            continue
        measure(run, args.seeds, args.fresh)
    PAGE.write_text(page(), encoding="utf-8")
    Console().print(f"wrote {PAGE.name}")


if __name__ == "__main__":
    main()
