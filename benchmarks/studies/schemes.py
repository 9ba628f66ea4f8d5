"""Measure every task's networks by every scheme, ten chips each.

    SOFTCELL_DATA=path/to/data python benchmarks/studies/schemes.py [--only cifar10/resnet20 ...]

Each network's results are kept in benchmarks/results/ as JSON (softcell.results/1) and measured
again only when asked for (`--fresh`) or when the version changes; an interruption loses one row.
`benchmarks/pages/results.py` makes docs/results.md of them.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from softcell.codes.schemes import CONVENTIONAL, SCHEMES
from softcell.devices import parse_device
from softcell.durations import parse_age
from softcell.evaluate.correction import in_loop
from softcell.evaluate.experiment import Experiment
from softcell.evaluate.results import Result, read_results, write_results
from softcell.evaluate.sensitivity import task_fisher
from softcell.evaluate.tasks import load_task
from softcell.evaluate.trials import OPEN, compare, ways_through

FOLDER = Path(__file__).parents[1] / "results"
LARGE = (*CONVENTIONAL, "combined", "coarse-to-fine", "strong-digital")
WITH_NAIVE = (*LARGE, "naive")
CLOSED = ("closed",)
CORRECTED = ("open, corrected", "closed")
WAYS = ("open", *CORRECTED)
PACKED, STRONG = "packed", "strong-digital"
QUIET, NOISY = "pcm-partial-reset:read_noise=0", "pcm-partial-reset:read_noise=0.038"


@dataclass(frozen=True)
class Run:
    """One network, given by task and model, on one device."""

    network: str
    device: str = "pcm-partial-reset"
    age: str = "0"
    schemes: tuple[str, ...] = tuple(SCHEMES)
    cells: tuple[float, ...] = (1.0, 2.0, 4.0)
    loop: tuple[tuple[str, float, tuple[str, ...]], ...] = ()
    """In place of these: scheme, cells per weight and ways through the feedback loop."""
    reads: int = 1
    """Verifying reads of a cell in the loop."""

    @property
    def name(self) -> str:
        parts = [self.network, self.device, *([self.age] if self.age != "0" else [])]
        parts += ["loop"] if self.loop else []
        parts += [f"{self.reads}-reads"] if self.reads > 1 else []
        return re.sub("[/:=]", "-", "-".join(parts))

    @property
    def rows(self) -> list[tuple[str, tuple[float, ...], tuple[str, ...]]]:
        """Schemes, each with its cells per weight and its ways through the loop."""
        if self.loop:
            return [(scheme, (cells,), ways) for scheme, cells, ways in self.loop]
        return [(scheme, self.cells, ()) for scheme in SCHEMES if scheme in self.schemes]


RUNS = (
    Run("digits/cnn"),
    Run("digits/cnn", "pcm-sweep"),
    Run("digits/cnn", "rram-reset"),
    Run("digits/cnn", "pcm-mushroom", "10y"),
    Run("digits/cnn", "rram-wan", "10y"),
    Run("mnist/lenet-300-100"),
    Run("mnist/lenet5"),
    Run("cifar10/resnet20"),
    Run("cifar10/resnet20", "pcm-mushroom", "10y", schemes=WITH_NAIVE, cells=(2.0, 4.0)),
    Run("cifar10/resnet32", schemes=LARGE, cells=(2.0, 4.0)),
    Run("cifar10/resnet56", schemes=WITH_NAIVE, cells=(1.4, 2.0, 4.0)),
    Run("imagenet/mobilenet_v1_025", schemes=WITH_NAIVE, cells=(2.0, 4.0)),
    Run("imagenet/squeezenet1_1", schemes=LARGE, cells=(3.0,)),
    Run("imagenet/mobilenet_v2", schemes=LARGE, cells=(3.0,)),
    Run(
        "cifar10/resnet56",
        loop=((PACKED, 0.75, CORRECTED), (PACKED, 1.05, WAYS), (STRONG, 0.62, WAYS)),
    ),
    Run(
        "cifar10/resnet20",
        loop=(
            *((PACKED, 1.05, WAYS), (PACKED, 0.85, CLOSED), (STRONG, 0.85, WAYS)),
            *(("combined", 2.0, CORRECTED), ("coarse-to-fine", 1.25, CORRECTED)),
            ("joint-map", 1.25, CORRECTED),
        ),
    ),
    Run("cifar10/resnet56", loop=((PACKED, 0.75, CLOSED),), reads=4),
    Run("cifar10/resnet56", QUIET, loop=((PACKED, 0.75, CLOSED),)),
    Run("cifar10/resnet56", NOISY, loop=((PACKED, 0.75, CLOSED),)),
    Run("cifar10/resnet20", "pcm-mushroom", "1d", loop=((PACKED, 1.05, CORRECTED),)),
    Run("cifar10/resnet20", "pcm-mushroom", "1y", loop=((PACKED, 1.05, CORRECTED),)),
    Run("cifar10/resnet20", "pcm-mushroom", "10y", loop=((PACKED, 1.05, CORRECTED),)),
    Run("mnist/lenet5", loop=((PACKED, 0.6, CORRECTED), (STRONG, 0.4, CORRECTED))),
    Run("imagenet/mobilenet_v1_025", loop=((STRONG, 2.0, CORRECTED),)),
    Run(
        "imagenet/squeezenet1_1",
        loop=((STRONG, 1.5, CORRECTED), (PACKED, 1.5, CLOSED), (PACKED, 2.5, CORRECTED)),
    ),
    Run("imagenet/mobilenet_v2", loop=((STRONG, 2.0, CORRECTED),)),
)


def measure(run: Run, seeds: int, fresh: bool, only: Sequence[str]) -> None:
    path = FOLDER / f"{run.name}.json"
    known = read_results(path) if path.exists() else []
    if fresh:
        known = [row for row in known if only and row.scheme not in only]
    task = load_task(*run.network.split("/"))
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
    through = ways_through(corrected=True, verify_reads=run.reads)
    if run.loop:
        experiment = in_loop(experiment, task)
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
            procedures=[each for each in through if each.name in ways] or (OPEN,),
        ):
            rows.append(row)
            others = {row.key for row in rows}
            write_results(path, [*rows, *(row for row in known if row.key not in others)])
            print(
                f"{run.name:40} {row.scheme:34} {row.loop:15} {row.cells_per_weight:7.3f} cells "
                f"{100 * row.accuracy_mean:6.2f} % {row.sdr_db:6.2f} dB",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="task/model, or names, of what to measure")
    parser.add_argument("--schemes", nargs="*", help="measure these alone, keep the others")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--fresh", action="store_true", help="measure everything again")
    args = parser.parse_args()
    for run in RUNS:
        if not args.only or {run.network, run.name} & set(args.only):
            measure(run, args.seeds, args.fresh, args.schemes or ())


if __name__ == "__main__":
    main()
