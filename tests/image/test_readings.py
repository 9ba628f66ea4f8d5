"""Measured readings: the order of the export, units, and files that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.allocate.plan import make_plan
from softcell.devices import parse_device
from softcell.errors import InputError, SoftcellError
from softcell.image.cell_image import CellImage
from softcell.image.readings import MeasuredReadings, SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.streams import Stream
from softcell.weights import StateDictWeights

STATE = {
    "a": Stream.of(0, "a").normal(300).reshape(10, 30),
    "bias": Stream.of(0, "b").normal(10),
    "b": Stream.of(0, "c").normal(200).reshape(4, 50),
}


@pytest.fixture
def image(tmp_path):
    weights = StateDictWeights(STATE)
    plan = make_plan(
        weights, parse_device("pcm-partial-reset"), "sign+adaptive", cells_per_weight=2.5
    )
    write_image(weights, plan, tmp_path / "x.cells")
    with CellImage(tmp_path / "x.cells") as image:
        yield image


def chip_in_ohm(image, seed=4):
    """What a chip gives, cell by cell in the order of the export, in ohm."""
    chip = SimulatedChip(image, seed=seed)
    readings = [chip.read(region, 0, region.cells) for region in image.regions()]
    return 10.0 ** np.concatenate(readings).astype(np.float64)


def decoded(image, readings):
    return dict(Restoration(image, readings, threads=1).tensors())


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".CSV"])
def test_a_chips_readings_decode_to_what_the_chip_holds(image, tmp_path, suffix):
    path = tmp_path / f"measured{suffix}"
    ohm = chip_in_ohm(image)
    if suffix == ".npy":
        np.save(path, ohm)
    else:
        lines = [f"{i},{value!r}" for i, value in enumerate(ohm.tolist())]
        path.write_text("cell, reading \n" + "\n".join(lines) + "\n\n")
    measured = MeasuredReadings(image, path)
    assert len(ohm) == image.header.cells
    expected = decoded(image, SimulatedChip(image, seed=4))
    for name, values in decoded(image, measured).items():
        np.testing.assert_allclose(values, expected[name], atol=2e-5)


def table_of(image, ohm):
    """Lines that name their cells, shuffled."""
    cells = [(region.label, cell) for region in image.regions() for cell in range(region.cells)]
    lines = [f"{value!r},{cell},{region}" for value, (region, cell) in zip(ohm.tolist(), cells)]
    return [lines[i] for i in np.random.default_rng(0).permutation(len(lines))]


def test_lines_that_name_their_cells_come_in_any_order(image, tmp_path):
    path, ohm = tmp_path / "x.csv", chip_in_ohm(image)
    lines = table_of(image, ohm)
    path.write_text("reading,cell,region\n" + "\n".join(lines))
    measured = MeasuredReadings(image, path)
    np.save(tmp_path / "y.npy", ohm)
    expected = decoded(image, MeasuredReadings(image, tmp_path / "y.npy"))
    for name, values in decoded(image, measured).items():
        np.testing.assert_array_equal(values, expected[name])
    for changed, reason in (
        ([*lines[:5], lines[2], *lines[6:]], "1 cells have more than one reading"),
        (lines[:-1], "this image has|1 cells have no reading"),
        ([*lines[:-1], "1e5,9,nowhere"], "there is no cell '9' of region 'nowhere'"),
        ([*lines[:-1], "1e5,-1,store"], "there is no cell '-1' of region 'store'"),
        ([*lines[:-1], "1e5,x,store"], "there is no cell 'x' of region 'store'"),
        ([*lines[:-1], "1e5"], "there is no cell '' of region ''"),
    ):
        path.write_text("reading,cell,region\n" + "\n".join(changed))
        refused(image, path, reason)


@pytest.mark.parametrize("dtype", [np.float32, ">f8", np.int64])
def test_numbers_of_any_kind(image, tmp_path, dtype):
    np.save(tmp_path / "x.npy", chip_in_ohm(image).astype(dtype))
    restored = decoded(image, MeasuredReadings(image, tmp_path / "x.npy"))
    assert np.abs(restored["b"] - STATE["b"]).mean() < 0.3


def test_the_age_of_the_cells_is_checked(image, tmp_path):
    np.save(tmp_path / "x.npy", chip_in_ohm(image))
    assert MeasuredReadings(image, tmp_path / "x.npy", age_seconds=60).age_seconds == 60
    for age in (-1.0, float("inf")):
        with pytest.raises(InputError, match="an age must be finite"):
            MeasuredReadings(image, tmp_path / "x.npy", age_seconds=age)


def refused(image, path, reason):
    with pytest.raises(InputError, match=reason) as told:
        MeasuredReadings(image, path)
    assert "\n" not in str(told.value)
    assert path.name in str(told.value)


def test_missing_files_and_folders(image, tmp_path):
    refused(image, tmp_path / "missing.npy", "no such file")
    refused(image, tmp_path / "missing.csv", "no such file")
    (tmp_path / "folder.npy").mkdir()
    refused(image, tmp_path / "folder.npy", "not a readable")


@pytest.mark.parametrize("change", [lambda x: x[:-1], lambda x: np.append(x, 1.0), lambda x: x[:0]])
def test_another_number_of_readings(image, tmp_path, change):
    ohm = change(chip_in_ohm(image))
    np.save(tmp_path / "x.npy", ohm)
    (tmp_path / "x.csv").write_text("reading\n" + "\n".join(map(str, ohm)))
    reason = f"this image has {image.header.cells} cells"
    refused(image, tmp_path / "x.csv", reason)
    if len(ohm):
        refused(image, tmp_path / "x.npy", reason)
        np.save(tmp_path / "x.npy", chip_in_ohm(image)[None])
        refused(image, tmp_path / "x.npy", reason)


@pytest.mark.parametrize(
    ("value", "missing"), [(np.nan, 1), (np.inf, 0), (-5.0, 0), (0.0, 0), (9.9e37, 0)]
)
def test_readings_that_no_cell_gives_are_left_out_and_counted(image, tmp_path, value, missing):
    ohm = chip_in_ohm(image)
    ohm[7] = value
    np.save(tmp_path / "x.npy", ohm)
    lines = [str(each) for each in ohm]
    lines[7] = "" if missing else str(value)
    (tmp_path / "x.csv").write_text("cell,reading\n" + "".join(f"0,{each}\n" for each in lines))
    for path in (tmp_path / "x.npy", tmp_path / "x.csv"):
        readings = MeasuredReadings(image, path)
        region = next(iter(image.regions()))
        assert np.flatnonzero(np.isnan(readings.read(region, 0, region.cells))).tolist() == [7]
        found = readings.implausible()
        assert (found.missing, found.count) == (missing, 1 - missing)
        assert found.whole is False
        decoding = Restoration(image, readings)
        tensors = dict(decoding.tensors())
        assert all(np.isfinite(each).all() for each in tensors.values())
        assert decoding.report.failed == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a column named reading"),
        ("cell,value\n1,2\n", "a column named reading"),
        ("reading,reading\n1,2\n", "a column named reading"),
        ("reading\n1e5\nhello\n", "line 3: expected a number"),
        ("cell,reading\n1,1e5\n2\n", "line 3: expected a number"),
        ("reading\n1e5,\n", "this image has"),
        ("reading\n\x00\n", "not a readable|expected a number"),
    ],
)
def test_tables_that_hold_no_readings(image, tmp_path, text, reason):
    (tmp_path / "x.csv").write_text(text)
    refused(image, tmp_path / "x.csv", reason)


def test_files_that_are_no_arrays(image, tmp_path):
    path = tmp_path / "x.npy"
    for content in (
        b"",
        b"text",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\x10\x00garbage here.....",
        b"PK\x03\x04",
    ):
        path.write_bytes(content)
        refused(image, path, "not a readable")
    np.savez(tmp_path / "y.npz", a=np.ones(3))
    (tmp_path / "y.npz").replace(path)
    refused(image, path, "not a readable")
    np.save(path, np.array(["1", "2"]))
    refused(image, path, "expected an array of numbers")
    np.save(path, np.ones(3, complex))
    refused(image, path, "expected an array of numbers")
    (tmp_path / "x.csv").write_bytes(b"reading\n\xff\xfe\n")
    refused(image, tmp_path / "x.csv", "not a readable")


def test_objects_are_never_unpickled(image, tmp_path):
    np.save(tmp_path / "x.npy", np.array([print], dtype=object), allow_pickle=True)
    refused(image, tmp_path / "x.npy", "not a readable")


def test_truncated_and_altered_arrays(image, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, chip_in_ohm(image))
    content = path.read_bytes()
    for length in (*range(0, 140, 7), len(content) - 1):
        path.write_bytes(content[:length])
        refused(image, path, "not a readable")
    for seed in range(100):
        damaged = bytearray(content)
        word = int(Stream.of(seed, "damage").words(1)[0])
        damaged[word % 128] ^= 1 + (word >> 16) % 255
        path.write_bytes(bytes(damaged))
        try:
            decoded(image, MeasuredReadings(image, path))
        except SoftcellError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("separator", "decimal", "encoding"),
    [(",", ".", "utf-8"), (";", ",", "utf-8-sig"), ("\t", ",", "utf-16"), (";", ".", "utf-8")],
)
def test_tables_of_other_programs(image, tmp_path, separator, decimal, encoding):
    ohm = chip_in_ohm(image)
    fields = [f"{each:.6e}".replace(".", decimal) for each in ohm]
    fields[3], fields[5] = "OVLD", "n/a"
    lines = [separator.join(["Cell", "Reading"])]
    lines += [separator.join([str(i), field]) for i, field in enumerate(fields)]
    (tmp_path / "x.csv").write_bytes("\r\n".join(lines).encode(encoding))
    readings = MeasuredReadings(image, tmp_path / "x.csv")
    region = next(iter(image.regions()))
    found = readings.read(region, 0, 8)
    assert np.isnan(found[[3, 5]]).all()
    wanted = image.header.device.reading_axis.from_unit(ohm[:8])
    np.testing.assert_allclose(found[[0, 1, 2, 4]], wanted[[0, 1, 2, 4]], rtol=1e-5)
    assert (readings.implausible().missing, readings.implausible().count) == (1, 1)
