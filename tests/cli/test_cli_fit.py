"""softcell fit: what a file was taken for is shown, and what is no measurement refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

VOLTS = np.repeat(np.linspace(1, 3, 5), 20)
OHM = 10 ** (4 + VOLTS + 0.05 * np.random.default_rng(8).standard_normal(VOLTS.size))


def written(header: str, *columns) -> str:
    rows = [",".join(map(str, row)) for row in zip(*columns)]
    Path("cell.csv").write_text("\n".join([header, *rows]))
    return "cell.csv"


def test_columns_and_what_was_set_aside_are_shown(softcell):
    ohm = [f"{x:.1f}" for x in OHM]
    ohm[7] = "9.91E+37"
    cycle = np.arange(100) % 20
    file = written("Device,Cycle,V,R", np.zeros(100, int), cycle, VOLTS, ohm)
    shown = softcell("fit", file, "-o", "cell.toml")
    assert shown.status == 0, shown
    assert "columns     input V, reading R, device Device; not used: Cycle (cycle)" in shown.out
    assert "rows        100, 1 of them set aside" in shown.out
    assert "softcell: R: 1 of 100 readings set aside, overflow values" in shown.err
    assert "'9.91E+37' in row 9" in shown.err
    told = json.loads(softcell("fit", file, "-o", "cell.toml", "--json").out)
    assert told["columns"] == {
        "input": "V",
        "reading": "R",
        "device": ["Device"],
        "not_used": {"Cycle": "cycle"},
    }
    assert (told["rows"], told["set_aside"], len(told["notes"])) == (100, 1, 1)
    assert 2 < told["capacity_bits"] < 4


def test_a_stray_reading_leaves_the_logarithm_to_the_user(softcell):
    ohm = [f"{x:.1f}" for x in OHM]
    ohm[7] = "0"
    file = written("V,R", VOLTS, ohm)
    for option, scale, aside in (
        ((), "log10", 1),
        (("--log10",), "log10", 1),
        (("--linear",), "linear", 0),
    ):
        told = json.loads(softcell("fit", file, "-o", "cell.toml", "--json", *option).out)
        assert (told["reading_scale"], told["set_aside"]) == (scale, aside)


@pytest.mark.parametrize("names", ["t,R", "Cycle,R", "read,R", "#,R", "V,R,I", "V,R,R"])
def test_what_is_not_certain_is_refused_and_writes_nothing(names, softcell):
    columns = [VOLTS if names[0] == "V" else np.arange(100) % 20, OHM, OHM]
    file = written(names, *columns[: names.count(",") + 1])
    assert "cell.csv: " in softcell("fit", file, "-o", "cell.toml").one_line()
    assert not Path("cell.toml").exists()


def test_named_columns_decide(softcell):
    file = written("V,I_uA,R", VOLTS, 1e6 * VOLTS / OHM, OHM)
    softcell("fit", file, "-o", "cell.toml").one_line()
    told = json.loads(
        softcell("fit", file, "-o", "cell.toml", "--json", "--output-column", "I_uA").out
    )
    assert told["columns"]["not_used"] == {"R": "reading"}
    assert told["reading_unit"] == "uA"


def test_a_cell_that_would_hold_nothing_is_refused(softcell):
    file = written("level,R", np.arange(100) % 5, OHM)
    told = softcell("fit", file, "-o", "cell.toml").one_line()
    assert "cannot be told apart" in told
    assert "taken: input level, reading R" in told


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\x01\x02" * 999, b"\xff\xfe", b"V,R\n1,2\n2,3\n", b"V,R\n1,1\n1,1\n2,1\n2,1"],
)
def test_files_of_nothing_are_refused_in_one_line(content, softcell):
    Path("cell.csv").write_bytes(content)
    assert "cell.csv" in softcell("fit", "cell.csv", "-o", "cell.toml").one_line()
    Path("folder.csv").mkdir()
    assert "a folder" in softcell("fit", "folder.csv", "-o", "cell.toml").one_line()
