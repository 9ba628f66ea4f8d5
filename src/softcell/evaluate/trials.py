"""Trials: a network written to chips, read back and evaluated, scheme by scheme."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from softcell.allocate import Procedure
from softcell.codes.schemes import SCHEMES, parse_scheme
from softcell.errors import InputError
from softcell.evaluate.experiment import Experiment
from softcell.evaluate.measure import measure_plan
from softcell.evaluate.results import Result
from softcell.network import plan_network
from softcell.progress import Progress
from softcell.version import VERSION

OPEN = Procedure()
"""Written in one go, without the feedback loop."""

DEFAULT_CELLS = (1.0, 2.0, 4.0)
"""Cells per weight at which schemes are compared."""


def ways_through(*, corrected: bool, verify_reads: int = 1) -> tuple[Procedure, ...]:
    """Return the ways through the feedback loop that are compared.

    Args:
        corrected: Whether the drift of activations can be corrected.
        verify_reads: Verifying reads of a cell, from 1.

    Returns:
        The open loop, the open loop with drift correction, and the closed loop with it; without
        correction the open and the closed loop.
    """
    ways = [(False, False), (corrected, False), (corrected, True)]
    return tuple(
        Procedure(loop=True, feedback=feedback, verify_reads=verify_reads, corrected=each)
        for each, feedback in dict.fromkeys(ways)
    )


def run_trials(
    experiment: Experiment,
    scheme: str,
    *,
    cells_per_weight: float | None = None,
    seeds: int = 10,
    first_seed: int = 0,
    procedure: Procedure | None = None,
    progress: Progress | None = None,
) -> Result:
    """Store a network by one scheme on several chips and evaluate what they give back.

    Args:
        experiment: The network and its cells.
        scheme: Name of the scheme.
        cells_per_weight: For analog schemes, all cells over all weights.
        seeds: Number of chips, each written and read independently.
        first_seed: Seed of the first chip; the others count on.
        procedure: How the network is written; by default without the feedback loop.
        progress: Called after each chip.

    Raises:
        InputError: A setting or the network cannot be used.
        InfeasibleError: The device cannot hold error-free bits.
    """
    if seeds < 1:
        raise InputError(f"expected at least 1 seed, got {seeds}")
    plan = plan_network(
        experiment.network,
        experiment.device,
        scheme,
        cells_per_weight=cells_per_weight,
        ages=experiment.age_seconds,
        procedure=procedure,
        progress=progress,
    )
    return measure_plan(
        experiment,
        experiment.network,
        plan,
        seeds=seeds,
        first_seed=first_seed,
        label=_label(scheme, cells_per_weight),
        progress=progress,
    )


def compare(
    experiment: Experiment,
    *,
    schemes: Iterable[str] | None = None,
    cells_per_weight: Sequence[float] = DEFAULT_CELLS,
    seeds: int = 10,
    first_seed: int = 0,
    known: Sequence[Result] = (),
    procedures: Sequence[Procedure] = (OPEN,),
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Yield the result of every scheme, analog ones at several numbers of cells.

    Args:
        experiment: The network and its cells.
        schemes: Names of schemes; by default all.
        cells_per_weight: Numbers of cells for the analog ones.
        seeds: Number of chips for each.
        first_seed: Seed of the first chip, the same for every scheme.
        known: Results of an earlier run; those that match are not measured again.
        procedures: How the network is written, each a row of its own. Conventional formats and
            codes that the feedback loop cannot write have one row without it.
        progress: Called after each chip.
    """
    done = {result.key: result for result in known}
    for scheme, cells in grid(SCHEMES if schemes is None else schemes, cells_per_weight):
        for procedure in _ways_of(scheme, procedures):
            verified = procedure.loop and not parse_scheme(scheme).digital
            key = (
                *(experiment.task, experiment.model, experiment.device.name),
                *(experiment.age_seconds, scheme, cells, seeds, first_seed, experiment.images),
                *(VERSION, procedure.name, procedure.verify_reads if verified else 0),
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
                procedure=procedure,
                progress=progress,
            )


def count_rows(rows: Sequence[tuple[str, float | None]], procedures: Sequence[Procedure]) -> int:
    """Return how many results `compare` yields for the rows of a grid."""
    return sum(len(_ways_of(scheme, procedures)) for scheme, _ in rows)


def _ways_of(scheme: str, procedures: Sequence[Procedure]) -> Sequence[Procedure]:
    return procedures if parse_scheme(scheme).takes_feedback else (OPEN,)


def grid(
    schemes: Iterable[str], cells_per_weight: Sequence[float]
) -> list[tuple[str, float | None]]:
    """Return every scheme with every number of cells that it takes.

    Raises:
        InputError: A scheme is unknown, or there is none.
    """
    rows: list[tuple[str, float | None]] = []
    for scheme in schemes:
        if parse_scheme(scheme).takes_cells:
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
    "compare",
    "grid",
    "run_trials",
    "ways_through",
]
