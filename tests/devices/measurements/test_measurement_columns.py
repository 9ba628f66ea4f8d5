"""What the columns of a table of measurements are taken for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from softcell.devices.measurements import choose_columns, read_table
from softcell.errors import InputError

RANDOM = np.random.default_rng(5)
VOLTS = np.repeat(np.linspace(1, 3, 5), 12)
COLUMNS = {
    "volt": [f"{v:g}" for v in VOLTS],
    "ohm": [f"{10 ** (v + 0.1 * RANDOM.standard_normal()):.4g}" for v in VOLTS],
    "seconds": [f"{0.5 * i:g}" for i in range(len(VOLTS))],
    "cycle": [f"{i % 12}" for i in range(len(VOLTS))],
    "row": [f"{i}" for i in range(len(VOLTS))],
    "cell": ["abc"[i % 3] for i in range(len(VOLTS))],
    "kelvin": [f"{300 + 25 * (i % 2)}" for i in range(len(VOLTS))],
    "later": [f"{i + RANDOM.random():.3f}" for i in range(len(VOLTS))],
    "same": ["0.2"] * len(VOLTS),
    "note": ["", "ok"] * (len(VOLTS) // 2),
}


def chosen(folder: Path, **columns: str):
    """Choose among columns with names that hold what COLUMNS has."""
    names = [name.replace("__", " ") for name in columns]
    rows = zip(*(COLUMNS[content] for content in columns.values()))
    path = folder / "cell.csv"
    path.write_text("\n".join([",".join(names), *(",".join(row) for row in rows)]))
    return choose_columns(read_table(path))


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("t", "seconds", "time"),
        ("time_s", "seconds", "time"),
        ("Time (s)", "seconds", "time"),
        ("Elapsed", "seconds", "time"),
        ("delay (ms)", "cycle", "time"),
        ("hold_s", "cycle", "time"),
        ("t/s", "seconds", "time"),
        ("duration (s)", "seconds", "time"),
        ("write_count", "cycle", "counter"),
        ("read_no", "cycle", "read number"),
        ("cycle", "cycle", "cycle"),
        ("Cycle", "cycle", "cycle"),
        ("Sweep #", "cycle", "cycle"),
        ("pulse", "cycle", "read number"),
        ("Pulse Number", "cycle", "read number"),
        ("read", "cycle", "read number"),
        ("n", "cycle", "counter"),
        ("#", "row", "counter"),
        ("index", "row", "counter"),
        ("Unnamed: 0", "row", "counter"),
        ("", "row", "counter"),
        ("foo", "row", "counter"),
        ("foo", "later", "counter"),
        ("foo", "same", "constant"),
        ("T", "kelvin", "temperature"),
        ("temp (K)", "kelvin", "temperature"),
        ("remark", "note", "text"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_neither_input_nor_reading(name, content, kind, place, tmp_path):
    columns = [("V", "volt"), ("R", "ohm")]
    columns.insert(place, (name, content))
    found = chosen(tmp_path, **dict(columns))
    assert (found.input, found.reading, found.device) == ("V", "R", ())
    assert [str(each) for _, each in found.others] == [kind]
    columns.remove(("V", "volt"))
    with pytest.raises(InputError, match="no column looks like what was programmed.*--input-col"):
        chosen(tmp_path, **dict(columns))


@pytest.mark.parametrize(
    "name", ["device", "Device", "CELL", "Cell ID", "die", "DUT", "chipNo", "wl"]
)
@pytest.mark.parametrize("content", ["cell", "cycle"])
def test_columns_that_name_the_cell(name, content, tmp_path):
    found = chosen(tmp_path, V="volt", **{name: content}, R="ohm")
    assert (found.input, found.reading, found.device) == ("V", "R", (name,))


def test_several_columns_name_the_cell_together(tmp_path):
    found = chosen(tmp_path, row="cycle", col="cell", V="volt", R="ohm")
    assert found.device == ("row", "col")
    assert str(found) == "input V, reading R, device row and col"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("V", "R"),
        ("Vg", "Id"),
        ("target_uS", "conductance_uS"),
        ("V_write (V)", "I_read (A)"),
        ("set_current_uA", "resistance_ohm"),
        ("pulse_width_ns", "R"),
        ("duration_ns", "R"),
        ("level", "read"),
        ("Source (V)", "Reading (A)"),
        ("DATA", "y"),
        ("programmed", "measured"),
        ("compliance_uA", "R"),
    ],
)
def test_input_and_reading_by_name_in_any_order(first, second, tmp_path):
    found = chosen(tmp_path, **{first: "volt", second: "ohm"})
    assert (found.input, found.reading) == (first, second)
    if first != "DATA":
        found = chosen(tmp_path, **{second: "ohm", first: "volt"})
        assert (found.input, found.reading) == (first, second)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": "cycle", "b": "volt", "c": "ohm"}, "which column was read: a or b or c; .*--output"),
        ({"V": "volt", "I": "later", "R": "ohm"}, "which column was read: I or R"),
        (
            {"V": "volt", "width_ns": "cycle", "R": "ohm"},
            "was programmed .*V or width_ns",
        ),
        ({"I": "volt", "V": "ohm"}, "cannot tell which of I and V was programmed"),
        ({"a": "ohm", "b": "volt"}, "cannot tell which of a and b was programmed"),
        ({"V": "volt", "R1": "ohm", "R2": "ohm"}, "R1, R2 look like one quantity with a column"),
        ({"V": "volt", "cell_1": "ohm", "cell_2": "ohm"}, "cell_1, cell_2 look like one"),
        ({"t": "seconds", "R": "ohm"}, "no column looks like what was programmed.*t .time., R"),
        (
            {"state": "cell", "R": "ohm"},
            "looks like what was programmed.*state .text., R",
        ),
        ({"V": "volt", "foo": "row"}, "no column looks like what was read: V, foo .counter."),
    ],
)
def test_what_is_not_certain_is_asked(columns, message, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        chosen(tmp_path, **columns)
    assert "--input-column" in str(caught.value) or "--output-column" in str(caught.value)


def test_named_columns_are_taken(tmp_path):
    path = tmp_path / "cell.csv"
    rows = zip(*(COLUMNS[name] for name in ("cycle", "volt", "ohm", "later")))
    path.write_text("\n".join(["cycle,V,R1,R2", *(",".join(row) for row in rows)]))
    table = read_table(path)
    found = choose_columns(table, input_column="cycle", output_column="R2", device_column="V")
    assert str(found) == "input cycle, reading R2, device V; not used: R1"
    assert choose_columns(table, output_column="R2").input == "V"
    with pytest.raises(InputError, match="one column cannot be two of input, output and device"):
        choose_columns(table, input_column="V", output_column="V")
