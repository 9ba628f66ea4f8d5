"""Results as a table, on a terminal or in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from softcell.errors import InputError
from softcell.evaluate.results import Result
from softcell.report.age import at_age
from softcell.report.columns import markdown_columns, terminal_columns

if TYPE_CHECKING:
    from rich.table import Table

_MISSING = "-"


def grouped(results: Sequence[Result]) -> list[list[Result]]:
    """Return results that belong in one table together: of one task, model, device and age.

    Tables keep the order in which they first appear, and their rows the given order.
    """
    keys = list(dict.fromkeys(_group(result) for result in results))
    ordered = sorted(results, key=lambda result: keys.index(_group(result)))
    return [list(rows) for _, rows in groupby(ordered, _group)]


def headline(results: Sequence[Result]) -> str:
    """Return what the results of one table have in common, in a line.

    Raises:
        InputError: There is none, or they are not of one task, model, device and age.
    """
    _require_one_group(results)
    first = results[0]
    images = f" on {first.images:,} images" if first.images else ""
    chips = sorted({result.seeds for result in results})
    verified = any(result.verify_reads for result in results)
    many = f"{chips[0]}" if len(chips) == 1 else f"{chips[0]} to {chips[-1]}"
    return (
        f"{first.task} {first.model} on {at_age(first)}: "
        f"float {_value(first.float_accuracy, _percent(results))}{images}, {many} "
        f"{'chip' if many == '1' else 'chips'}, {first.capacity_bits:.2f} bits/cell"
        + (f", read noise {first.read_noise_share:.1%} of variance" if verified else "")
    )


def columns(results: Sequence[Result]) -> dict[str, list[str]]:
    """Return the columns of a table as texts, by their names.

    `loop` is there if any network was written column by column; `drop` is float accuracy minus
    accuracy; `limit` the least cells per weight at the distortion reached, R(D) / C; `distance` the
    cells over it. `failed words` is there if any code word was not corrected.
    """
    percent = _percent(results)
    low_high = [[_number(end, percent) for end in r.accuracy_ci95] for r in results]
    table = {"scheme": [r.scheme for r in results]}
    if any(r.loop for r in results):
        table["loop"] = [r.loop or _MISSING for r in results]
    table |= {
        "cells/weight": [f"{r.cells_per_weight:.2f}" for r in results],
        "side": [f"{r.side_cells_per_weight:.2f}" for r in results],
        "accuracy %" if percent else "accuracy": [
            _number(r.accuracy_mean, percent) for r in results
        ],
        "95 % interval": [f"{low} to {high}" for low, high in low_high],
        "drop": [_number(r.float_accuracy - r.accuracy_mean, percent) for r in results],
        "SDR dB": [f"{r.sdr_db:.1f}" for r in results],
        "limit": [f"{r.limit_cells_per_weight:.2f}" for r in results],
        "distance": [_distance(r) for r in results],
    }
    if any(r.failed_code_words for r in results):
        table["failed words"] = [f"{r.failed_code_words} of {r.code_words}" for r in results]
    return table


def results_table(results: Sequence[Result]) -> Table:
    """Return the table of results of one task, model, device and age, without its headline.

    Raises:
        InputError: They are not, or there is none.
    """
    _require_one_group(results)
    return terminal_columns(columns(results), {"scheme": 12, "loop": 6})


def markdown_table(results: Sequence[Result]) -> str:
    """Return the same table in Markdown, its headline above it.

    Raises:
        InputError: As for `results_table`.
    """
    return f"{headline(results)}.\n\n{markdown_columns(columns(results))}"


def _group(result: Result) -> tuple[str, str, str, float]:
    return (result.task, result.model, result.device, result.age_seconds)


def _require_one_group(results: Sequence[Result]) -> None:
    if len(grouped(results)) != 1:
        raise InputError("expected results, all of one task, model, device and age")


def _percent(results: Sequence[Result]) -> bool:
    """Return whether the figures are fractions; a user's own figure of merit need not be."""
    return all(0 <= x <= 1 for r in results for x in (r.float_accuracy, *r.accuracies))


def _number(value: float, percent: bool) -> str:
    # Adding zero turns -0.00 into 0.00.
    return f"{round(100 * value, 2) + 0:.2f}" if percent else f"{value:.5g}"


def _value(value: float, percent: bool) -> str:
    return _number(value, percent) + (" %" if percent else "")


def _distance(result: Result) -> str:
    if not result.limit_cells_per_weight > 0:
        return _MISSING
    return f"x {result.cells_per_weight / result.limit_cells_per_weight:.1f}"
