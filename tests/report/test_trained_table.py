"""The table of trained networks says what their results say."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from softcell.errors import InputError
from softcell.evaluate.results import Result
from softcell.report.trained_table import (
    by_device,
    trained_columns,
    trained_headline,
    trained_markdown,
    trained_table,
)

FLOAT32 = Result(
    task="mnist",
    model="lenet5",
    device="pcm-partial-reset",
    age_seconds=0.0,
    scheme="float32",
    target_cells_per_weight=None,
    cells_per_weight=16.0,
    side_cells_per_weight=0.0,
    accuracy_mean=0.9921,
    accuracy_ci95=(0.9921, 0.9921),
    float_accuracy=0.9921,
    seeds=10,
    images=10_000,
    sdr_db=150.0,
    limit_cells_per_weight=9.0,
    capacity_bits=2.64,
    decoder="full",
)
INT8 = replace(FLOAT32, scheme="int8", cells_per_weight=4.0, accuracy_mean=0.9922)
TRAINED = replace(
    FLOAT32,
    scheme="packed",
    target_cells_per_weight=0.05,
    cells_per_weight=0.05,
    accuracy_mean=0.9911,
    accuracy_ci95=(0.9901, 0.9921),
    decoder="table",
    trained="small@12345678",
)
ROWS = [FLOAT32, INT8, TRAINED]


def test_a_row():
    assert {name: texts[2] for name, texts in trained_columns(ROWS).items()} == {
        "network": "small",
        "cells/weight": "0.050",
        "accuracy %": "99.11",
        "95 % interval": "99.01 to 99.21",
        "float32 %": "99.21",
        "drop": "0.10",
        "x under float32": "320.0",
        "x under int8": "80.0",
        "decoder": "table",
    }


def test_conventional_rows_stand_for_the_tasks_own_network():
    texts = trained_columns(ROWS)
    assert texts["network"][:2] == ["lenet5, float32", "lenet5, int8"]
    assert texts["x under float32"][:2] == ["1.0", "4.0"]
    assert texts["drop"][1] == "-0.01"


def test_what_is_not_there_to_compare_with_is_a_dash():
    alone = trained_columns([TRAINED, replace(INT8, task="cifar10")])
    assert alone["x under float32"] == ["-", "-"]
    assert alone["x under int8"][0] == "-"


def test_code_words_that_failed_are_told():
    assert "failed words" not in trained_columns(ROWS)
    failed = replace(TRAINED, code_words=70, failed_code_words=2)
    assert trained_columns([failed])["failed words"] == ["2 of 70"]


def test_devices_have_tables_of_their_own():
    old = replace(TRAINED, age_seconds=3600.0)
    assert by_device([TRAINED, old, INT8]) == [[TRAINED, INT8], [old]]
    assert trained_headline([old]) == (
        "pcm-partial-reset at 1h (ageing not measured), 2.64 bits/cell, 10 chips"
    )
    with pytest.raises(InputError, match="all of one device and age"):
        trained_table([TRAINED, old])
    with pytest.raises(InputError, match="all of one device and age"):
        trained_headline([])


def test_both_tables_have_the_same_texts():
    text = io.StringIO()
    Console(file=text, width=80).print(trained_table(ROWS))
    shown, markdown = text.getvalue(), trained_markdown(ROWS)
    assert max(len(line) for line in shown.splitlines()) <= 80
    for column in trained_columns(ROWS).values():
        assert column[2] in shown
        assert column[2] in markdown
    assert markdown.startswith("pcm-partial-reset at 0s, 2.64 bits/cell, 10 chips.\n\n| network |")
    assert len({line.count("|") for line in markdown.splitlines()[2:]}) == 1
