"""Trials: a network written to chips, read back and evaluated, scheme by scheme."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from softcell.allocate.plan import Plan, make_plan
from softcell.codes.schemes import SCHEMES, parse_scheme
from softcell.curvature import Calibration
from softcell.errors import InputError
from softcell.evaluate.experiment import Experiment
from softcell.evaluate.measure import measure_chips
from softcell.evaluate.results import Result
from softcell.feedback.memory import SimulatedMemory
from softcell.image.closed_loop import Correct, folded, write_closed_loop
from softcell.image.readings import simulated_chip
from softcell.image.write import write_image
from softcell.progress import Progress
from softcell.version import VERSION
from softcell.weights import Weights


@dataclass(frozen=True, eq=False)
class Loop:
    """How a network goes through the feedback loop.

    Args:
        calibration: Curvature of its layers.
        correct: Corrects biases and normalisations for the drift of activations; None for not.
        feedback: False to write column by column and carry no error on, for comparison.
        verify_reads: Verifying reads of a cell, which are averaged.
    """

    calibration: Calibration = field(repr=False)
    correct: Correct | None = None
    feedback: bool = True
    verify_reads: int = 1

    @property
    def name(self) -> str:
        """Name of this way, as results have it."""
        if self.feedback:
            return "closed, uncorrected" if self.correct is None else "closed"
        return "open" if self.correct is None else "open, corrected"


def ways_through(
    calibration: Calibration, correct: Correct | None, *, verify_reads: int = 1
) -> tuple[Loop, ...]:
    """Return the ways that are compared: open, open with drift correction, and closed.

    Args:
        calibration: Curvature of the network's layers.
        correct: Corrects biases and normalisations; None for two ways without correction.
        verify_reads: Verifying reads of a cell, from 1.
    """
    ways = [(None, False), (correct, False), (correct, True)]
    return tuple(
        Loop(calibration, each, feedback, verify_reads) for each, feedback in dict.fromkeys(ways)
    )


DEFAULT_CELLS = (1.0, 2.0, 4.0)
"""Cells per weight at which schemes are compared."""


def run_trials(
    experiment: Experiment,
    scheme: str,
    *,
    cells_per_weight: float | None = None,
    seeds: int = 10,
    first_seed: int = 0,
    loop: Loop | None = None,
    progress: Progress | None = None,
) -> Result:
    """Store a network by one scheme on several chips and evaluate what they give back.

    Args:
        experiment: The network and its cells.
        scheme: Name of the scheme.
        cells_per_weight: For analog schemes, all cells over all weights.
        seeds: Number of chips, each written and read independently.
        first_seed: Seed of the first chip; the others count on.
        loop: How the network goes through the feedback loop, each chip by itself; None if not.
        progress: Called after each chip.

    Raises:
        InputError: A setting or the network cannot be used.
        InfeasibleError: The device cannot hold error-free bits.
    """
    if seeds < 1:
        raise InputError(f"expected at least 1 seed, got {seeds}")
    with tempfile.TemporaryDirectory(prefix="softcell-") as folder, experiment.weights() as weights:
        path = Path(folder) / "image.cells"
        given = weights if loop is None else folded(weights, loop.calibration)
        plan = make_plan(
            given,
            experiment.device,
            scheme,
            cells_per_weight=cells_per_weight,
            age_seconds=experiment.age_seconds,
            sensitivity=experiment.sensitivity,
            vector_bits=16 if loop is None else None,
            calibration=loop.calibration if loop is not None and loop.feedback else None,
            verify_reads=1 if loop is None else loop.verify_reads,
            progress=progress,
        )
        label = _label(scheme, cells_per_weight)
        counted = _counted(progress, seeds)
        if loop is None:
            write_image(weights, plan, path)
            chips = [(path, first_seed + number) for number in range(seeds)]
            return measure_chips(
                experiment, chips, target=cells_per_weight, label=label, progress=counted
            )
        written = _written(given, plan, loop, path, range(first_seed, first_seed + seeds))
        return measure_chips(
            experiment,
            written,
            target=cells_per_weight,
            label=label,
            progress=counted,
            feedback=loop.feedback,
            loop=loop.name,
            verify_reads=loop.verify_reads if plan.uses_cells else 0,
        )


def _written(
    weights: Weights, plan: Plan, loop: Loop, path: Path, seeds: Sequence[int]
) -> Iterator[tuple[Path, int]]:
    """Yield the image of each chip; one that no cell was verified for serves them all."""
    for seed in seeds:
        if plan.uses_cells or seed == seeds[0]:
            write_closed_loop(
                weights,
                plan,
                loop.calibration,
                path,
                memory=SimulatedMemory(plan.device, seed, loop.verify_reads),
                chip=simulated_chip(seed) if plan.uses_cells else None,
                correct=loop.correct,
                feedback=loop.feedback,
            )
        yield path, seed


def _counted(progress: Progress | None, seeds: int) -> Progress | None:
    if progress is None:
        return None
    return lambda what, done, _: progress(what, done, seeds)


def compare(
    experiment: Experiment,
    *,
    schemes: Sequence[str] = SCHEMES,
    cells_per_weight: Sequence[float] = DEFAULT_CELLS,
    seeds: int = 10,
    first_seed: int = 0,
    known: Sequence[Result] = (),
    loops: Sequence[Loop | None] = (None,),
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Yield the result of every scheme, analog ones at several numbers of cells.

    Args:
        experiment: The network and its cells.
        schemes: Names of schemes.
        cells_per_weight: Numbers of cells for the analog ones.
        seeds: Number of chips for each.
        first_seed: Seed of the first chip, the same for every scheme.
        known: Results of an earlier run; those that match are not measured again.
        loops: Ways through the feedback loop, each a row of its own; None for no loop. Conventional
            formats and codes that the loop cannot write have one row without it.
        progress: Called after each chip.
    """
    done = {result.key: result for result in known}
    for scheme, cells in grid(schemes, cells_per_weight):
        for loop in _loops_of(scheme, loops):
            verified = loop is not None and not parse_scheme(scheme).entropy_coded
            key = (
                *(experiment.task, experiment.model, experiment.device.name),
                *(experiment.age_seconds, scheme, cells, seeds, first_seed, experiment.images),
                *(VERSION, "" if loop is None else loop.name),
                loop.verify_reads if loop is not None and verified else 0,
            )
            if key in done:
                yield done[key]
                continue
            yield run_trials(
                experiment,
                scheme,
                cells_per_weight=cells,
                seeds=seeds,
                first_seed=first_seed,
                loop=loop,
                progress=progress,
            )


def count_rows(rows: Sequence[tuple[str, float | None]], loops: Sequence[Loop | None]) -> int:
    """Return how many results `compare` yields for the rows of a grid."""
    return sum(len(_loops_of(scheme, loops)) for scheme, _ in rows)


def _loops_of(scheme: str, loops: Sequence[Loop | None]) -> Sequence[Loop | None]:
    return loops if parse_scheme(scheme).takes_feedback else (None,)


def grid(
    schemes: Sequence[str], cells_per_weight: Sequence[float]
) -> list[tuple[str, float | None]]:
    """Return every scheme with every number of cells that it takes.

    Raises:
        InputError: A scheme is unknown, or there is none.
    """
    rows: list[tuple[str, float | None]] = []
    for scheme in schemes:
        if parse_scheme(scheme).number_format is None:
            rows += [(scheme, float(cells)) for cells in cells_per_weight]
        else:
            rows.append((scheme, None))
    if not rows:
        raise InputError("nothing to compare: name at least one scheme and number of cells")
    return rows


def _label(scheme: str, cells: float | None) -> str:
    return scheme if cells is None else f"{scheme} at {cells:g} cells"


__all__ = [
    "DEFAULT_CELLS",
    "Loop",
    "compare",
    "grid",
    "run_trials",
    "ways_through",
]
