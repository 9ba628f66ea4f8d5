"""Tables say what results say."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from softcell.errors import InputError
from softcell.evaluate.results import Result
from softcell.report.table import columns, grouped, headline, markdown_table, results_table

ROW = Result(
    task="digits",
    model="cnn",
    device="ideal",
    age_seconds=3600.0,
    scheme="combined",
    target_cells_per_weight=2.0,
    cells_per_weight=1.98,
    side_cells_per_weight=0.9412,
    accuracy_mean=0.9512,
    accuracy_ci95=(0.9401, 0.9623),
    float_accuracy=0.98,
    seeds=10,
    images=500,
    sdr_db=17.04,
    limit_cells_per_weight=0.66,
    capacity_bits=2.65,
    code_words=700,
    accuracies=(0.94, 0.96),
)


def test_a_row():
    assert {name: texts[0] for name, texts in columns([ROW]).items()} == {
        "scheme": "combined",
        "cells/weight": "1.98",
        "side": "0.94",
        "accuracy %": "95.12",
        "95 % interval": "94.01 to 96.23",
        "drop": "2.88",
        "SDR dB": "17.0",
        "limit": "0.66",
        "distance": "x 3.0",
    }


def test_failed_code_words_have_a_column_if_there_are_any():
    assert columns([ROW, replace(ROW, failed_code_words=3)])["failed words"] == [
        "0 of 700",
        "3 of 700",
    ]


def test_no_limit_has_no_distance():
    assert columns([replace(ROW, limit_cells_per_weight=0.0)])["distance"] == ["-"]


def test_a_gain_is_a_negative_drop_and_none_is_zero():
    better = replace(ROW, accuracy_mean=0.99)
    same = replace(ROW, accuracy_mean=0.98 + 1e-9)
    assert columns([better, same])["drop"] == ["-1.00", "0.00"]


def test_other_figures_than_fractions_are_no_percent():
    table = columns([replace(ROW, accuracy_mean=-31.25, float_accuracy=-30.0)])
    assert table["accuracy"] == ["-31.25"]
    assert table["drop"] == ["1.25"]


def test_headline():
    assert headline([ROW]) == (
        "digits cnn on ideal at 1h: float 98.00 % on 500 images, 10 chips, 2.65 bits/cell"
    )


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("pcm-partial-reset", " (ageing not measured)"),
        ("rram-wan+stuck:low=0.001", ""),
        ("pcm-mushroom:nonsense=1", ""),
        ("module_that_is_not_there:Cell", ""),
    ],
)
def test_a_headline_says_if_its_age_was_not_measured(device, said):
    assert f" on {device} at 1h{said}: float" in headline([replace(ROW, device=device)])


def test_tables_hold_what_belongs_together():
    other = replace(ROW, device="gaussian")
    assert grouped([ROW, other, ROW]) == [[ROW, ROW], [other]]
    for rows in ([], [ROW, other]):
        with pytest.raises(InputError):
            results_table(rows)


def test_markdown_and_terminal_tables_have_the_same_cells():
    rows = [ROW, replace(ROW, scheme="int8", target_cells_per_weight=None)]
    table = results_table(rows)
    lines = markdown_table(rows).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    headers = [column.header.replace("/\n", "/").replace("\n", " ") for column in table.columns]
    assert cells[0] == headers
    assert len({len(row) for row in cells}) == 1
    shown = [[str(cell) for cell in column.cells] for column in table.columns]
    assert cells[2:] == [list(row) for row in zip(*shown)]


def test_a_table_fits_a_terminal():
    worst = replace(
        ROW,
        scheme="inversion+sign+adaptive+sparsity",
        cells_per_weight=16.31,
        accuracy_ci95=(0.8951, 1.0151),
        float_accuracy=1.0,
        sdr_db=-12.5,
    )
    text = io.StringIO()
    Console(file=text, width=80).print(results_table([worst]))
    shown = text.getvalue()
    assert "…" not in shown
    for texts in columns([worst]).values():
        assert texts[0] in shown or texts[0].startswith("inversion")
