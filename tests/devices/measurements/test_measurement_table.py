"""Tables of measurements as other programs write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from softcell.devices.measurements import column_numbers, read_table, split_unit
from softcell.errors import InputError

ROWS = [(f"{1 + i / 4:.2f}", f"{1000 * (i + 1) + 0.5:.2f}") for i in range(8)]
NUMBERS = [float(x) for _, x in ROWS]


def written(path: Path, header: str, separator: str = ",", encoding: str = "utf-8") -> Path:
    text = "\n".join([header, *(separator.join(row) for row in ROWS)]) + "\n"
    path.write_bytes(text.encode(encoding))
    return path


def readings(path: Path) -> list[float]:
    table = read_table(path)
    return column_numbers(table, table.names[-1])[0].tolist()


@pytest.mark.parametrize("separator", [";", "\t", "|", ",", "  "])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_separators_and_line_ends(separator, ending, tmp_path):
    path = tmp_path / "cell.csv"
    lines = [separator.join(row) for row in [("V", "R"), *ROWS]]
    path.write_bytes(ending.join(lines).encode())
    assert readings(path) == NUMBERS
    assert read_table(path).lines == list(range(2, 10))


@pytest.mark.parametrize(
    "encoding",
    ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252"],
)
def test_encodings(encoding, tmp_path):
    path = written(tmp_path / "cell.csv", "V,R_k\u00b5", encoding=encoding)
    assert read_table(path).names == ["V", "R_k\u00b5"]
    assert readings(path) == NUMBERS


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_decimal_commas(separator, tmp_path):
    path = tmp_path / "cell.csv"
    lines = [separator.join(row).replace(".", ",") for row in ROWS]
    path.write_text("\n".join([f"Spannung_V{separator}Widerstand_ohm", *lines]))
    assert readings(path) == NUMBERS
    assert "decimal commas" in read_table(path).notes[0]


@pytest.mark.parametrize(
    "header",
    [
        "# chip 7\n# 25 C, 40 % humidity\nV,R",
        "% chip 7\n\nV,R",
        "sep=,\nV,R",
        "// chip 7\n# V,R",
        "V,R\nV,ohm",
        "V,R\n(V),(ohm)",
        "V,R,",
    ],
)
def test_lines_that_are_no_measurements(header, tmp_path):
    path = written(tmp_path / "cell.csv", header)
    assert read_table(path).names == ["V", "R"]
    assert readings(path) == NUMBERS


def test_units_stand_in_names_in_their_own_line_and_beside_numbers(tmp_path):
    path = tmp_path / "cell.csv"
    for text, unit in (
        ("V,R (k\u03a9)\n1,2\n", "kohm"),
        ("V,R\n[V],[kOhm]\n1,2\n", "kohm"),
        ("V,R\n1,2 ohm\n", "ohm"),
    ):
        path.write_text(text, encoding="utf-8")
        table = read_table(path)
        values, found, _ = column_numbers(table, table.names[-1])
        assert (values.tolist(), found) == ([2.0], unit)


@pytest.mark.parametrize(
    ("name", "words", "unit"),
    [
        ("pulse_voltage_V", "pulse voltage", "V"),
        ("Time (s)", "Time", "s"),
        ("I[uA]", "I", "uA"),
        ("U / mV", "U", "mV"),
        ("t/s", "t", "s"),
        ("R in kOhm", "R", "kohm"),
        ("G (\u00b5S)", "G", "uS"),
        ("V_s", "V s", ""),
        ("V_A", "V A", ""),
        ("DATA", "DATA", ""),
        ("mean (log)", "mean (log)", ""),
    ],
)
def test_units_of_names(name, words, unit):
    assert split_unit(name) == (words, unit)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.2k", 1200),
        ("3u", 3e-6),
        ("3 \u00b5", 3e-6),
        ("2 MOhm", 2e6),
        ("1.5D+03", 1500),
        (".5", 0.5),
    ],
)
def test_prefixes_and_forms_of_numbers(text, value, tmp_path):
    path = tmp_path / "cell.csv"
    path.write_text(f"V,R\n1,{text}\n", encoding="utf-8")
    assert readings(path) == pytest.approx([value], rel=1e-12)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a header line"),
        (b"# only\n# comments\n", "expected a header line"),
        (
            b"1.0,1000\n1.0,1100\n",
            "row 1: the first line holds numbers .1.0, 1000. wh",
        ),
        (b"# lab 2, 25 C\n1.0,1000\n1.1,1100\n", "row 2: the first line holds numbers"),
        (b"a,1.0,1000\na,1.0,1100\n", "row 1: the first line holds numbers"),
        (
            b"1.0,1.2,1.4\n1e5,2e5,3e5\n",
            "row 1: .* levels with a column each, bring a line for",
        ),
        (b"n,1.0V,1.2V\n1,2e5,3e5\n", "row 1: .* levels with a column each, bring a line for"),
        (b"V;R\n1,0;101.5\n1,5;3,5\n", "'1,0' in row 2 has a decimal comma, and '101.5' in row 2"),
        (b"V;R\n1;101,500\n2;204,750\n", "'101,500' in row 2 may have a decimal comma or one for"),
        (b"V,R\n1,00,101,5\n", "row 2: 4 columns, the header has 2; .* decimal commas need"),
        (b'V,R\n1,2\n"1,2\n1,2\n', "row 3: 1 columns, the header has 2"),
        (b'"V\na",R,R\n1,2,3\n', "two columns have the same name"),
        (b'V,R\n1,"2\n3"\n', "row 2: column 'R' holds '2 3'"),
        (b"V,R\n1,1_000\n", "row 2: column 'R' holds '1_000'"),
        (b"V,G_uS\n1,3u\n", "row 2: column 'G_uS' is in uS and holds '3u'"),
        (b"V,R\n1,3 A\n1,3 V\n", "column 'R' holds several units: A, V"),
        (b"V,R\n1,\x00\x01\x02\n", "row 2: not a readable CSV file .it holds control characters"),
        (b"PK\x03\x04rest", "a zip archive or spreadsheet; export its table as CSV"),
        (b"\xff\xfeV\x00,", "not a readable CSV file"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(content, message, tmp_path):
    path = tmp_path / "cell.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        readings(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path, tmp_path / "pipe.csv"):
        with pytest.raises(InputError, match="a folder or no regular file"):
            read_table(path)
