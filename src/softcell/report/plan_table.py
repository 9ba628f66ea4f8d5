"""A plan and how it was found, as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from softcell.report.columns import bare_table
from softcell.search.trial import Trial

if TYPE_CHECKING:
    from rich.table import Table

_MISSING = "-"


def layers_table(layers: Sequence[Mapping[str, Any]]) -> Table:
    """Return what each tensor takes, as `softcell.search.explanation.by_layer` gives it.

    Args:
        layers: Plain values by tensor; vectors are put together in one line.
    """
    table = _table(
        "by tensor", "tensor", "code", "weights", "bits/w", "cells/w", "zeros", "cells", "loss"
    )
    some = [each for each in layers if each["share_of_loss"] is not None]
    others = [each for each in layers if each["share_of_loss"] is None and each["weights"]]
    if not some:
        some, others = [e for e in others if e["weights"] > 1], []
    for each in some:
        table.add_row(
            str(each["tensor"]),
            str(each["code"]),
            f"{each['weights']:,}",
            f"{each['bits_per_weight']:.2f}",
            f"{each['cells_per_weight']:.2f}",
            f"{100 * each['zeros']:.0f} %",
            f"{100 * each['share_of_cells']:.1f} %",
            _percent(each["share_of_loss"]),
        )
    if others:
        weights = sum(each["weights"] for each in others)
        cells = sum(each["cells_per_weight"] * each["weights"] for each in others)
        share = sum(each["share_of_cells"] for each in others)
        codes = ", ".join(sorted({str(each["code"]) for each in others}))
        table.add_row(
            f"{len(others)} others",
            codes,
            f"{weights:,}",
            _MISSING,
            f"{cells / max(weights, 1):.2f}",
            _MISSING,
            f"{100 * share:.1f} %",
            _MISSING,
        )
    return table


def trials_table(trials: Sequence[Mapping[str, Any]]) -> Table:
    """Return what was tried, as `softcell.search.Trial.values` gives it."""
    table = _table(
        "tried", "recipe", "inputs", "cells/w", "drop", "divergence", "predicted", "of the goal"
    )
    for trial in trials:
        verdict = trial["verdict"]
        drop, divergence = verdict["drop"], verdict["divergence"]
        table.add_row(
            str(Trial.of(trial, "trial").recipe),
            "search" if trial["inputs"] == 0 else "others",
            f"{trial['cells_per_weight']:.3f}",
            _MISSING if drop is None else f"{100 * drop:.2f}",
            _number(divergence),
            _number(trial["predicted"]),
            _MISSING if trial["score"] is None else f"{trial['score']:.2f}",
        )
    return table


def groups_table(groups: Sequence[Mapping[str, Any]]) -> Table:
    """Return predicted and measured divergence of groups of layers.

    Args:
        groups: As `softcell.network.corrections.GroupError.values` gives them.
    """
    table = _table("one group of layers stored", "from", "matrices", "predicted", "measured")
    for group in groups:
        table.add_row(
            str(group["tensors"][0]),
            f"{len(group['tensors'])}",
            _number(group["predicted"]),
            _number(group["measured"]),
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = bare_table(title=title, title_justify="left", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number > 0)
    return table


def _number(value: float | None) -> str:
    return _MISSING if value is None else f"{value:.4f}"


def _percent(share: float | None) -> str:
    return _MISSING if share is None else f"{100 * share:.1f} %"
