"""A device from a CSV of measurements."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from softcell.devices import device_toml, fit_measurements, fit_table, load_device
from softcell.errors import InputError

VOLTS = np.array([1.0, 1.5, 3.0])
MEAN = np.array([4.0, 5.0, 4.5])
WITHIN = np.array([0.02, 0.1, 0.05])


def measurements(path: Path, *, cells: int = 1, between: float = 0.0, rows: int = 2000) -> Path:
    """Write log10-normal resistances; each cell has an offset of its own at every input."""
    random = np.random.default_rng(0)
    offset = between * random.standard_normal((cells, len(VOLTS)))
    lines = ["device,sweep,pulse_voltage_V,resistance_ohm"]
    for row in range(rows):
        for cell in range(cells):
            for k in random.permutation(len(VOLTS)):
                log = MEAN[k] + offset[cell, k] + WITHIN[k] * random.standard_normal()
                lines.append(f"{cell},{row},{VOLTS[k]},{10**log:.8g}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_fit_recovers_mean_and_deviation(tmp_path):
    fitted = fit_measurements(measurements(tmp_path / "cell.csv"))
    error = WITHIN / np.sqrt(2000)
    assert fitted.inputs.tolist() == VOLTS.tolist()
    assert (np.abs(fitted.mean - MEAN) < 4 * error).all()
    assert (np.abs(fitted.deviation - WITHIN) < 4 * error / np.sqrt(2)).all()
    assert (fitted.device_spread == 0).all()
    assert fitted.read_noise == fitted.deviation.min()
    assert fitted.name == "cell"
    assert fitted.source == "measurements in cell.csv"
    assert (fitted.level.name, fitted.level.unit) == ("pulse voltage", "V")
    assert (fitted.level.low, fitted.level.high) == (1.0, 3.0)
    assert (fitted.reading.name, fitted.reading.unit) == ("resistance", "ohm")
    assert fitted.reading.scale == "log10"


def test_fit_tells_spread_within_cells_from_spread_between_them(tmp_path):
    path = measurements(tmp_path / "cells.csv", cells=150, between=0.3, rows=8)
    fitted = fit_measurements(path)
    assert (np.abs(fitted.deviation / WITHIN - 1) < 4 / np.sqrt(2 * 150 * 7)).all()
    assert (np.abs(fitted.device_spread / 0.3 - 1) < 4 / np.sqrt(2 * 150)).all()
    assert (np.abs(fitted.mean - MEAN) < 4 * 0.3 / np.sqrt(150)).all()


def test_fit_takes_the_columns_and_options_it_is_told(tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text("out,chip,in (mA),label\n1,a,2,x\n3,a,2,x\n5,a,4,x\n9,a,4,x\n")
    fitted = fit_measurements(
        path,
        name="odd cell",
        source="bench",
        input_column="in (mA)",
        output_column="out",
        device_column="chip",
        log10=False,
        read_noise=0.5,
    )
    assert fitted.mean.tolist() == [2.0, 7.0]
    assert fitted.deviation == pytest.approx([np.sqrt(2), np.sqrt(8)])
    assert (fitted.name, fitted.source, fitted.read_noise) == ("odd cell", "bench", 0.5)
    assert (fitted.level.name, fitted.level.unit) == ("in", "mA")
    assert (fitted.reading.name, fitted.reading.unit, fitted.reading.scale) == ("out", "", "linear")


@pytest.mark.parametrize(
    ("column", "name", "unit"),
    [
        ("conductance_uS", "conductance", "uS"),
        ("voltage [V]", "voltage", "V"),
        ("DATA", "DATA", ""),
        ("INPUTS", "INPUTS", ""),
        ("V", "V", ""),
        ("pulse_width_ns", "pulse width", "ns"),
    ],
)
def test_units_are_read_from_the_name_of_a_column(column, name, unit, tmp_path):
    path = tmp_path / "cell.csv"
    path.write_text(f"{column},y\n1,1\n1,2\n2,3\n2,4\n")
    level = fit_measurements(path).level
    assert (level.name, level.unit) == (name, unit)


@pytest.mark.parametrize(
    ("values", "column", "scale"),
    [
        ([1.0, 1.1, 9.0, 9.1], "current_A", "linear"),
        ([1.0, 1.1, 11.0, 11.1], "current_A", "log10"),
        ([1.0, 1.1, 2.0, 2.1], "Resistance_ohm", "log10"),
        ([-1.0, 1.1, 20.0, 20.1], "current_A", "linear"),
    ],
)
def test_logarithm_is_taken_of_resistances_and_of_decades(values, column, scale, tmp_path):
    path = tmp_path / "cell.csv"
    rows = [f"{volt},{value}" for volt, value in zip((1, 1, 2, 2), values)]
    path.write_text(f"pulse_V,{column}\n" + "\n".join(rows))
    assert fit_measurements(path).reading.scale == scale


def test_compressed_files_byte_order_marks_blank_lines_and_crlf_are_read(tmp_path):
    plain = measurements(tmp_path / "cell.csv", rows=5)
    expected = fit_measurements(plain).definition()
    text = plain.read_bytes()
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(text))
    other = tmp_path / "other.csv"
    other.write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n\r\n"))
    for path in (packed, other):
        again = fit_measurements(path, name="cell", source="measurements in cell.csv")
        assert again.definition() == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a header line and measurements"),
        ("v,r\n", "expected a header line and measurements"),
        ("v\n1\n2\n", "at least two columns .* separated by commas, .*, got 1"),
        ("v:r\n1:2\n", "at least two columns .* separated by commas, .*, got 1"),
        ("v,r\n1,2\n1,oops\n", "row 3: column 'r' holds 'oops'; expected a number"),
        ("v,r\n\n1,2\n\nhigh,3\n", "row 5: column 'v' holds 'high'; expected a number"),
        ("v,r\n1,2\n1,\n2,3\n2,4\n", "1 of 4 readings .* at input 1: 1 missing .nothing in row 3"),
        ("v,r\n1,2\n1,nan\n2,3\n2,4\n", "1 of 4 readings .* 1 missing .'nan' in row 3"),
        ("v,r\n\ninf,2\n1,2\n", "row 3: column 'v' holds 'inf'; every row needs the input"),
        ("v,r\n1,2\n1,2,3\n", "row 3: 3 columns, the header has 2"),
        ("v,r\n1,2\n1\n", "row 3: 1 columns, the header has 2"),
        ("v,v\n1,2\n", "two columns have the same name, 'v'"),
        ("v,r\n1,2\n1,3\n", "measurements at 1 input; expected at least two"),
        ("v,r\n1,2\n1,3\n2,4\n", "input 2 has 1 rows; every input needs at least two"),
        (
            "device,v,r\na,1,2\na,1,3\na,2,4\na,2,5\nb,1,2\nb,1,3\n",
            "input 2 of device b has 0 rows",
        ),
    ],
)
def test_what_cannot_be_fitted_is_named_in_one_line(content, message, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        fit_measurements(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_options_and_files_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "cell.csv"
    path.write_text("v,r\n1,-2\n1,3\n2,4\n2,5\n")
    for option in ("input_column", "output_column", "device_column"):
        with pytest.raises(InputError, match="no column 'current'; it has v, r"):
            fit_measurements(path, **{option: "current"})
    with pytest.raises(InputError, match="1 zero or negative, which have no logarithm"):
        fit_measurements(path, log10=True)
    with pytest.raises(InputError, match="read noise must be at least 0"):
        fit_measurements(path, read_noise=-1.0)
    with pytest.raises(InputError, match=r"nowhere.csv: no such file"):
        fit_measurements(tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match="not a readable CSV file"):
        fit_measurements(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "altered", "not text"])
def test_damaged_files_are_refused(damage, tmp_path):
    plain = measurements(tmp_path / "cell.csv", rows=200).read_bytes()
    packed = bytearray(gzip.compress(plain))
    if damage == "altered":
        packed[len(packed) // 2 : len(packed) // 2 + 40] = bytes(40)
    content = {
        "truncated": packed[:-20],
        "altered": packed,
        "not text": gzip.compress(b"v,r\n1,\x00\xff\xfe\n"),
    }
    path = tmp_path / "cell.csv.gz"
    path.write_bytes(content[damage])
    with pytest.raises(InputError, match=r"not a readable CSV file|row \d+"):
        fit_measurements(path)


def rows_of(levels=(1.0, 1.5, 2.0, 2.5, 3.0), each: int = 20, noise: float = 0.05):
    """Return rows of a voltage and a resistance that rises by a decade for each volt."""
    random = np.random.default_rng(1)
    return [
        (f"{v:g}", f"{10 ** (4 + v + noise * random.standard_normal()):.1f}")
        for v in levels
        for _ in range(each)
    ]


def table(path: Path, header: str, rows) -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.mark.parametrize("stray", ["0", "-12.0", "", "NaN", "inf", "OVLD", "9.9E37", "-1e38"])
def test_one_stray_reading_changes_nothing_and_is_told(stray, tmp_path):
    rows = rows_of()
    clean = fit_table(table(tmp_path / "clean.csv", "reset_voltage_V,resistance_ohm", rows)).device
    rows.insert(33, ("1.5", stray))
    fit = fit_table(table(tmp_path / "stray.csv", "reset_voltage_V,resistance_ohm", rows))
    assert fit.device.reading.scale == "log10"
    assert fit.device.mean == pytest.approx(clean.mean, rel=1e-12)
    assert fit.device.deviation == pytest.approx(clean.deviation, rel=1e-9)
    assert (fit.rows, fit.set_aside) == (101, 1)
    assert "1 of 101 readings set aside" in fit.notes[0]
    assert "in row 35" in fit.notes[0]


def test_what_a_fit_has_to_note_is_a_warning_in_python(tmp_path):
    path = table(tmp_path / "stray.csv", "v,r", [*rows_of(), ("1", "0")])
    with pytest.warns(UserWarning, match="1 of 101 readings set aside"):
        assert fit_measurements(path).reading.scale == "log10"


def test_device_columns_of_any_name_keep_cells_apart(tmp_path):
    random = np.random.default_rng(2)
    rows = [
        (cell, cycle, f"{v:g}", f"{10 ** (v + 0.2 * cell + 0.02 * random.standard_normal()):.6g}")
        for cell in range(4)
        for v in (1, 2, 3)
        for cycle in range(20)
    ]
    for header in ("Device,Cycle,V,R", "cell_id,Sweep #,V,R", "DUT,rep,V,R"):
        fit = fit_table(table(tmp_path / "cells.csv", header, rows))
        cell, cycle = header.split(",")[:2]
        assert fit.columns.device == (cell,)
        assert [name for name, _ in fit.columns.others] == [cycle]
        assert fit.device.device_spread == pytest.approx(0.2 * np.sqrt(1.25), rel=0.1)
        assert fit.device.deviation == pytest.approx(0.02, rel=0.4)


def test_cells_that_share_no_inputs_are_fitted_as_one_and_it_is_told(tmp_path):
    rows = [(cell, *row) for cell, row in enumerate(rows_of())]
    fit = fit_table(table(tmp_path / "once.csv", "cell,V,R", rows))
    assert (fit.device.device_spread == 0).all()
    assert fit.device.deviation == pytest.approx(0.05, rel=0.5)
    assert any("differences between cells count as noise" in note for note in fit.notes)


def test_every_cell_has_a_name(tmp_path):
    rows = [("ab"[i % 2], *row) for i, row in enumerate(rows_of())]
    rows[30] = ("", *rows[30][1:])
    with pytest.raises(InputError, match="row 32: nothing in column .device., which names"):
        fit_table(table(tmp_path / "cells.csv", "device,V,R", rows))


@pytest.mark.parametrize("spread", [0.0, 0.01])
def test_readings_that_do_not_depend_on_the_input_are_no_device(spread, tmp_path):
    random = np.random.default_rng(3)
    rows = [
        (v, f"{10 ** (5 + spread * v + 0.1 * random.standard_normal()):.1f}")
        for v in range(5)
        for _ in range(400)
    ]
    with pytest.raises(InputError, match="cannot be told apart.*taken: input level, reading R"):
        fit_table(table(tmp_path / "flat.csv", "level,R", rows))


def test_a_counter_that_is_named_the_input_is_no_device(tmp_path):
    rows = [(i % 20, *row) for i, row in enumerate(rows_of())]
    path = table(tmp_path / "cell.csv", "cycle,V,R", rows)
    with pytest.raises(InputError, match=r"cannot be told apart.*input cycle, reading R"):
        fit_table(path, input_column="cycle")
    assert fit_table(path).columns.input == "V"


def test_noise_that_was_not_seen_is_not_taken_for_none(tmp_path):
    rows = [(v, x) for v, x in rows_of() if v != "2"] + [("2", "1000000")] * 20
    fit = fit_table(table(tmp_path / "one.csv", "V,R", rows))
    assert fit.device.deviation.min() > 0.02
    assert "all readings of one cell are equal at 1 of 5 inputs" in " ".join(fit.notes)
    rounded = table(tmp_path / "r.csv", "V,R", [(v, f"{float(v) * 1e3}") for v, _ in rows])
    with pytest.raises(InputError, match="nothing is known of the noise"):
        fit_table(rounded)
    same = table(tmp_path / "same.csv", "V,R", [(v, "1000") for v, _ in rows])
    with pytest.raises(InputError, match=r"no column looks like what was read: V, R \(constant\)"):
        fit_table(same)
    with pytest.raises(InputError, match="nothing is known of the noise"):
        fit_table(same, output_column="R")
    clipped = [(v, min(float(x), 1e6)) for v, x in rows_of((1.0, 1.5, 2.5, 3.0))]
    with pytest.raises(InputError, match="at 2 of 4 inputs, which is a limit of the instrument"):
        fit_table(table(tmp_path / "clipped.csv", "V,R", clipped))


def test_inputs_with_jitter_become_levels(tmp_path):
    random = np.random.default_rng(4)
    plain = fit_table(table(tmp_path / "plain.csv", "V,R", rows_of())).device
    rows = [(f"{float(v) + 1e-3 * random.standard_normal():.6f}", x) for v, x in rows_of()]
    fit = fit_table(table(tmp_path / "jitter.csv", "V,R", rows))
    assert fit.device.inputs == pytest.approx(plain.inputs, abs=1e-3)
    assert fit.device.mean == pytest.approx(plain.mean, rel=1e-12)
    assert "taken for 5 levels" in fit.notes[0]
    rows = [(f"{random.uniform(1, 3):.6f}", x) for _, x in rows_of()]
    with pytest.raises(InputError, match="if that column is not the input"):
        fit_table(table(tmp_path / "none.csv", "V,R", rows))


def test_what_changes_the_readings_and_is_not_used_is_told(tmp_path):
    rows = [
        (v, t, f"{float(x) * t**0.05:.1f}")
        for i, (v, x) in enumerate(rows_of())
        for t in [10 ** (i % 5)]
    ]
    fit = fit_table(table(tmp_path / "aged.csv", "V,time_s,R", rows))
    assert str(fit.columns) == "input V, reading R; not used: time_s (time)"
    assert "time_s (time) is not used, but" in fit.notes[-1]
    still = [(v, i % 5, x) for i, (v, x) in enumerate(rows_of())]
    assert fit_table(table(tmp_path / "still.csv", "V,time_s,R", still)).notes == ()


def test_a_fit_survives_its_file(tmp_path):
    fitted = fit_measurements(measurements(tmp_path / "cell.csv", cells=3, between=0.1, rows=20))
    file = tmp_path / "cell.toml"
    file.write_text(device_toml(fitted), encoding="utf-8")
    again = load_device(file)
    for key in ("inputs", "mean", "deviation", "device_spread"):
        assert getattr(again, key) == pytest.approx(getattr(fitted, key), rel=1e-9)
    assert again.read_noise == pytest.approx(fitted.read_noise, rel=1e-9)
    assert (again.level, again.reading) == (fitted.level, fitted.reading)


def test_packaged_coefficients_are_those_of_the_measurements():
    folder = os.environ.get("SOFTCELL_DATA")
    if not folder or not (Path(folder) / "cells").is_dir():
        if os.environ.get("SOFTCELL_REQUIRE_DATA") == "1":
            pytest.fail("SOFTCELL_DATA does not name the folder of the measured cells")
        pytest.skip("needs the measured cells; set SOFTCELL_DATA to their folder")
    script = Path(__file__).parents[2] / "scripts" / "fit_measured_devices.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("unchanged") == 6
