"""Figures show what results say."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from softcell.errors import InputError
from softcell.evaluate.results import Result
from softcell.report.plot import accuracy_figure, write_plot

ROW = Result(
    task="digits",
    model="cnn",
    device="ideal",
    age_seconds=0.0,
    scheme="naive",
    target_cells_per_weight=1.0,
    cells_per_weight=1.1,
    side_cells_per_weight=0.1,
    accuracy_mean=0.5,
    accuracy_ci95=(0.45, 0.55),
    float_accuracy=0.98,
    seeds=10,
    images=500,
    sdr_db=3.0,
    limit_cells_per_weight=0.2,
    capacity_bits=2.65,
)
ROWS = [
    replace(ROW, scheme="int8", target_cells_per_weight=None, cells_per_weight=4.2),
    replace(ROW, cells_per_weight=3.9, target_cells_per_weight=4.0, accuracy_mean=0.8),
    ROW,
]


def test_lines_are_the_results():
    (axes,) = accuracy_figure(ROWS).axes
    int8, naive = axes.containers
    line, _, (bars,) = naive.lines
    np.testing.assert_allclose(line.get_xydata(), [[1.1, 50], [3.9, 80]])
    np.testing.assert_allclose(bars.get_segments()[0], [[1.1, 45], [1.1, 55]])
    np.testing.assert_allclose(int8.lines[0].get_xydata(), [[4.2, 50]])
    assert axes.get_xscale() == "log"
    assert axes.lines[0].get_ydata()[0] == pytest.approx(98)
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == [
        "float",
        "int8",
        "naive",
    ]


def test_all_points_are_within_the_axes():
    (axes,) = accuracy_figure(ROWS).axes
    low, high = axes.get_xlim()
    assert low < 1 < 4.2 < high


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_same_results_give_the_same_bytes(tmp_path, suffix):
    one, two = tmp_path / f"1{suffix}", tmp_path / f"2{suffix}"
    write_plot(ROWS, one)
    write_plot(ROWS, two)
    assert one.read_bytes() == two.read_bytes()
    assert one.stat().st_size > 5000


def test_no_figure_of_what_does_not_belong_together(tmp_path):
    for rows, name in (([], "a.svg"), ([ROW, replace(ROW, model="other")], "a.svg"), (ROWS, "a.x")):
        with pytest.raises(InputError):
            write_plot(rows, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_pyplot_stays_away(tmp_path):
    write_plot(ROWS, tmp_path / "a.png")
    assert "matplotlib.pyplot" not in sys.modules
