"""Results as a figure: accuracy against cells per weight."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from softcell.atomic_file import AtomicFile
from softcell.errors import InputError
from softcell.evaluate.results import Result
from softcell.extras import require_extra
from softcell.report.table import headline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".svg", ".png")

# Colours that are told apart with any kind of colour vision (Okabe and Ito, 2008); markers tell
# the lines apart without colour.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "v", "D", "P", "X")
_CONVENTIONAL = "#777777"


def require_figure_name(path: Path | str) -> None:
    """Find out whether a figure can be written there.

    Raises:
        InputError: Another suffix than .svg and .png, a folder that cannot be written, or no
            matplotlib.
    """
    if Path(path).suffix not in FORMATS:
        raise InputError(f"{path}: figures are written as {' or '.join(FORMATS)}")
    require_extra("plot")
    AtomicFile(path).discard()


def write_plot(results: Sequence[Result], path: Path | str) -> None:
    """Draw accuracy against cells per weight, a line for each scheme, and write the figure.

    The same results give the same bytes.

    Args:
        results: Results of one task, model, device and age.
        path: Figure to write, .svg or .png.

    Raises:
        InputError: The results do not belong together, or the figure cannot be written.
    """
    require_figure_name(path)
    save_figure(accuracy_figure(results), path)


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write a figure, whole or not at all; the same figure gives the same bytes.

    Args:
        figure: The figure.
        path: File to write, .svg or .png.

    Raises:
        InputError: The file cannot be written.
    """
    from matplotlib import rc_context

    kind = Path(path).suffix[1:]
    drawn = io.BytesIO()
    with rc_context({"svg.hashsalt": "softcell"}):
        # A date in the file would make every figure another one.
        undated = {"Date": None} if kind == "svg" else None
        figure.savefig(drawn, format=kind, dpi=160, metadata=undated)
    file = AtomicFile(path)
    try:
        file.write(drawn.getvalue())
        file.commit()
    finally:
        file.discard()


def accuracy_figure(results: Sequence[Result]) -> Figure:
    """Return the figure of results of one task, model, device and age.

    Raises:
        InputError: They are not, or there is none.
    """
    from matplotlib.figure import Figure

    title = headline(results)
    percent = all(0 <= x <= 1 for r in results for x in (r.float_accuracy, *r.accuracies))
    scale = 100.0 if percent else 1.0
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    exact = scale * results[0].float_accuracy
    axes.axhline(exact, color="black", linestyle="--", linewidth=1, label="float")
    number = 0
    for line in dict.fromkeys((result.scheme, result.loop) for result in results):
        own = [result for result in results if (result.scheme, result.loop) == line]
        rows = sorted(own, key=lambda r: r.cells_per_weight)
        analog = rows[0].target_cells_per_weight is not None
        _draw(axes, rows, scale, _COLOURS[number % len(_COLOURS)] if analog else _CONVENTIONAL)
        number += analog
    _label(axes, title, percent)
    cells = [result.cells_per_weight for result in results]
    axes.set_xlim(0.9 * min(1.0, *cells), 1.15 * max(cells))
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return figure


def _draw(axes: Axes, rows: Sequence[Result], scale: float, colour: str) -> None:
    mean = [scale * r.accuracy_mean for r in rows]
    below = [max(m - scale * r.accuracy_ci95[0], 0.0) for m, r in zip(mean, rows)]
    above = [max(scale * r.accuracy_ci95[1] - m, 0.0) for m, r in zip(mean, rows)]
    place = len(axes.containers)
    axes.errorbar(
        [r.cells_per_weight for r in rows],
        mean,
        yerr=[below, above],
        color=colour,
        marker=_MARKERS[place % len(_MARKERS)],
        markersize=7,
        markeredgecolor="white",
        linestyle="-" if len(rows) > 1 else "none",
        linewidth=1.5,
        capsize=3,
        label=rows[0].scheme + (f" ({rows[0].loop})" if rows[0].loop else ""),
    )


def _label(axes: Axes, title: str, percent: bool) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_title(title, fontsize="small", loc="left")
    axes.set_xscale("log")
    axes.set_xlabel("cells per weight, side information included")
    axes.set_ylabel("accuracy in %" if percent else "accuracy")
    if percent:
        axes.set_ylim(0, 103)  # an interval of few chips may reach beyond 100 %, accuracy does not
    axes.xaxis.set_major_locator(FixedLocator([2.0**k for k in range(-3, 8)]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
