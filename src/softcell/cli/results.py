"""softcell results: what the trained networks that come with softcell give, measured anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from softcell.cli.options import FirstSeedOption, JsonFile, SeedsOption
from softcell.cli.output import print_table
from softcell.cli.progress import progress_bars
from softcell.cli.result_file import ResultFile, print_results_json
from softcell.errors import InputError

if TYPE_CHECKING:
    from softcell.evaluate.results import Result


def results(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Trained networks, by name or as .safetensors files; by default all that come "
            "with softcell.",
        ),
    ] = None,
    trained: Annotated[
        bool, typer.Option("--trained", help="Measure networks that were trained for their cells.")
    ] = False,
    seeds: SeedsOption = 10,
    seed: FirstSeedOption = 0,
    json_file: JsonFile = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Do not measure again what the JSON file has already.")
    ] = False,
) -> None:
    """Measure the trained networks, written to cells anew.

    Each network is written by its plan to several simulated chips, read back and evaluated on all
    test images of its task, beside the task's own network in float32 and int8 on conventional
    cells. Everything a decoder needs is counted.

    The JSON file is written anew after every row, so that an interruption loses at most one;
    with --resume the rows that it holds are not measured again.

    Example:
      softcell results --trained --json trained.json
      softcell results --trained lenet5 --seeds 3
    """
    from softcell.training.trained_network import trained_network, trained_networks

    if not trained:
        raise InputError("results of what? Give --trained, for the networks that were trained")
    file = ResultFile(json_file, resume=resume)
    chosen = dict.fromkeys(names or trained_networks())
    if not chosen:
        raise InputError(
            "no trained networks came with this softcell: name the .safetensors file of one, or "
            "install it anew"
        )
    networks = [trained_network(name) for name in chosen]
    from softcell.training.trained_results import BESIDE, measure_trained, place_of

    rows: list[Result] = []
    in_all = len(networks) + len(BESIDE) * len({place_of(each) for each in networks})
    with progress_bars() as progress:
        progress("results", 0, in_all)
        for row in measure_trained(
            networks, seeds=seeds, first_seed=seed, known=file.known, progress=progress
        ):
            rows.append(row)
            file.write(rows)
            progress("results", len(rows), in_all)
    _print(rows, file)


def _print(rows: Sequence[Result], file: ResultFile) -> None:
    """Print results as JSON where that was asked for, otherwise as tables."""
    from softcell.report.trained_table import by_device, trained_headline, trained_table

    if file.prints:
        print_results_json(rows)
        return
    for part in by_device(rows):
        print(trained_headline(part))
        print_table(trained_table(part))
