"""Trained networks beside the conventional ones, as a table on a terminal or in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from softcell.errors import InputError
from softcell.evaluate.results import Result
from softcell.report.age import at_age
from softcell.report.columns import markdown_columns, terminal_columns
from softcell.training.trained_results import BESIDE, times_fewer

if TYPE_CHECKING:
    from rich.table import Table

_MISSING = "-"


def by_device(results: Sequence[Result]) -> list[list[Result]]:
    """Return results that belong in one table together: of one device and age, in their order."""
    places = list(dict.fromkeys((each.device, each.age_seconds) for each in results))
    ordered = sorted(results, key=lambda each: places.index((each.device, each.age_seconds)))
    return [list(rows) for _, rows in groupby(ordered, lambda e: (e.device, e.age_seconds))]


def trained_headline(results: Sequence[Result]) -> str:
    """Return what the results of one table have in common, in a line.

    Raises:
        InputError: There is none, or they are not of one device and age.
    """
    _require_one_device(results)
    first, chips = results[0], sorted({each.seeds for each in results})
    many = f"{chips[0]}" if len(chips) == 1 else f"{chips[0]} to {chips[-1]}"
    return (
        f"{at_age(first)}, {first.capacity_bits:.2f} bits/cell, "
        f"{many} {'chip' if many == '1' else 'chips'}"
    )


def trained_columns(results: Sequence[Result]) -> dict[str, list[str]]:
    """Return the columns of a table as texts, by their names.

    `float32` is the accuracy of the task's own network and `drop` what is lost against it, in
    points; `x under` how many times fewer cells than that network takes conventionally.
    """
    table = {
        "network": [_name(each) for each in results],
        "cells/weight": [f"{each.cells_per_weight:.3f}" for each in results],
        "accuracy %": [f"{100 * each.accuracy_mean:.2f}" for each in results],
        "95 % interval": [
            " to ".join(f"{100 * end:.2f}" for end in each.accuracy_ci95) for each in results
        ],
        "float32 %": [f"{100 * each.float_accuracy:.2f}" for each in results],
        # Adding zero turns -0.00 into 0.00.
        "drop": [
            f"{round(100 * (each.float_accuracy - each.accuracy_mean), 2) + 0:.2f}"
            for each in results
        ],
    }
    for scheme in BESIDE:
        ratios = [times_fewer(each, results, scheme) for each in results]
        table[f"x under {scheme}"] = [_MISSING if r is None else f"{r:.1f}" for r in ratios]
    table["decoder"] = [each.decoder or _MISSING for each in results]
    if any(each.failed_code_words for each in results):
        table["failed words"] = [f"{r.failed_code_words} of {r.code_words}" for r in results]
    return table


def trained_table(results: Sequence[Result]) -> Table:
    """Return the table of results of one device and age, without its headline.

    Raises:
        InputError: They are not, or there is none.
    """
    _require_one_device(results)
    return terminal_columns(trained_columns(results), {"network": 10})


def trained_markdown(results: Sequence[Result]) -> str:
    """Return the same table in Markdown, its headline above it.

    Raises:
        InputError: As for `trained_table`.
    """
    return f"{trained_headline(results)}.\n\n{markdown_columns(trained_columns(results))}"


def _name(result: Result) -> str:
    """Return the name of a trained network, or the task's own network with its scheme."""
    name, _, _ = result.trained.partition("@")
    return name or f"{result.model}, {result.scheme}"


def _require_one_device(results: Sequence[Result]) -> None:
    if len(by_device(results)) != 1:
        raise InputError("expected results, all of one device and age")
