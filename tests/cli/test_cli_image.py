"""Networks into images and back, through files alone."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from softcell.devices import parse_device
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.weights import TensorInfo, WeightsReader, WeightsWriter


def tensors(path):
    with WeightsReader(path) as weights:
        return {name: weights.read(name) for name in weights.names}


def test_float32_comes_back_as_it_was(softcell, network):
    written = softcell("write", network, "-o", "x.cells", "--scheme", "float32", "--json")
    assert written.status == 0
    told = json.loads(written.out)
    assert told["analog_cells"] == 0
    assert told["cells"] == told["store_cells"]
    assert told["cells_per_weight"] == pytest.approx(told["cells"] / told["weights"])
    read = softcell("read", "x.cells", "--seed", 3, "-o", "back.safetensors", "--json")
    assert read.status == 0
    assert json.loads(read.out)["failed_code_words"] == 0
    before, after = tensors(network), tensors("back.safetensors")
    assert list(before) == list(after)
    for name, values in before.items():
        assert after[name].dtype == values.dtype
        np.testing.assert_array_equal(after[name], values)


def test_combined_comes_back_about_as_it_was(softcell, network):
    assert softcell("write", network, "-o", "x.cells", "--cells-per-weight", 3).status == 0
    assert softcell("read", "x.cells", "-o", "back.safetensors").status == 0
    before, after = tensors(network), tensors("back.safetensors")
    error = after["conv.weight"] - before["conv.weight"]
    assert np.var(error) < 0.05 * np.var(before["conv.weight"])
    assert after["steps"] == before["steps"]


def test_seeds_are_chips(softcell, network):
    softcell("write", network, "-o", "x.cells")
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        softcell("read", "x.cells", "--seed", seed, "-o", name)
    one, same, other = (tensors(name)["conv.weight"] for name in "abc")
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
@pytest.mark.parametrize("scheme", ["combined", "int8"])
def test_a_chip_programmed_from_the_export_gives_what_read_gives(softcell, network, scheme, suffix):
    softcell("write", network, "-o", "x.cells", "--scheme", scheme)
    told = json.loads(softcell("export", "x.cells", "-o", f"levels{suffix}", "--json").out)
    assert told["unit"] == "V"
    device = parse_device("pcm-partial-reset")
    with CellImage("x.cells") as image:
        chip = SimulatedChip(image, seed=7)
        parts = []
        for region, shown in zip(image.regions(), told["regions"], strict=True):
            assert shown == {
                "region": region.label,
                "start": sum(map(len, parts)),
                "cells": region.cells,
            }
            parts.append(chip.read(region, 0, region.cells))
    measured = device.reading_axis.to_unit(np.concatenate(parts))
    if suffix == ".npy":
        levels = np.load("levels.npy", allow_pickle=False)
        np.save("measured.npy", measured)
    else:
        with open("levels.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        levels = np.array([row["pulse_voltage_V"] for row in rows], np.float32)
        indices = np.array([row["level_index"] for row in rows], np.int64)
        np.testing.assert_allclose(levels, 1 + 1.95 * indices / 255, rtol=1e-6)
        assert rows[-1]["region"] == "store"
        with open("measured.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, [*rows[0], "reading"])
            writer.writeheader()
            writer.writerows(
                row | {"reading": repr(value)} for row, value in zip(rows, measured.tolist())
            )
    assert levels.dtype == np.float32
    assert len(levels) == told["cells"]
    # The levels are in the order of the readings, so that louder ones read higher.
    assert np.corrcoef(levels, np.log10(measured))[0, 1] > 0.8
    decoded = softcell("decode", "x.cells", "--readings", f"measured{suffix}", "-o", "chip")
    assert decoded.status == 0, decoded
    softcell("read", "x.cells", "--seed", 7, "-o", "read")
    expected = tensors("read")
    for name, values in tensors("chip").items():
        np.testing.assert_array_equal(values, expected[name])


def test_both_exports_hold_the_same_levels(softcell, network):
    softcell("write", network, "-o", "x.cells", "--device", "pcm-mushroom")
    assert "conductance in uS" in softcell("export", "x.cells", "-o", "levels.npy").out
    softcell("export", "x.cells", "-o", "levels.csv")
    with open("levels.csv", newline="") as file:
        column = [row["target_conductance_uS"] for row in csv.DictReader(file)]
    np.testing.assert_array_equal(np.array(column, np.float32), np.load("levels.npy"))


def test_info_adds_up(softcell, network):
    softcell("write", network, "-o", "x.cells", "--age", "1h")
    told = json.loads(softcell("info", "x.cells", "--json").out)
    assert told["age_seconds"] == 3600
    shares = [t["cells_per_weight"] * np.prod(t["shape"], dtype=int) for t in told["tensors"]]
    assert sum(shares) == pytest.approx(told["cells"])
    assert sum(t["store_bytes"] for t in told["tensors"]) == told["store_bytes"]
    text = softcell("info", "x.cells").out
    assert "planned for 1h" in text
    assert f"{told['cells']:,}" in text
    assert "checksums agree" in text
    assert "not looked at" in softcell("info", "x.cells", "--no-verify").out


def test_more_cells_than_asked_for_are_admitted(softcell, network):
    outcome = softcell("write", network, "-o", "x.cells", "--cells-per-weight", 1, "--json")
    assert outcome.status == 0
    assert json.loads(outcome.out)["cells_per_weight"] > 1
    assert outcome.err.count("\n") == 1
    assert "instead of 1" in outcome.err


def test_conventional_schemes_take_no_number_of_cells(softcell, network):
    outcome = softcell(
        "write", network, "-o", "x.cells", "--scheme", "int8", "--cells-per-weight", 2
    )
    assert outcome.status == 0
    assert outcome.err.count("\n") == 1
    assert "not used" in outcome.err


def test_failed_code_words_are_told_and_the_file_is_written(softcell, network):
    noisier = "pcm-mushroom"
    softcell("write", network, "-o", "x.cells", "--scheme", "int8", "--device", noisier)
    outcome = softcell("read", "x.cells", "--age", "10y", "-o", "back.safetensors")
    assert outcome.status == 1
    extrapolated, warning = outcome.err.splitlines()
    assert "are extrapolated" in extrapolated
    found = warning.split()
    failed, words = int(found[2]), int(found[4])
    assert 0 < failed <= words
    assert "planned for an age of 0s" in outcome.err
    assert "--age" in outcome.err
    assert np.isfinite(tensors("back.safetensors")["conv.weight"]).all()


def test_lost_side_information_is_an_error(softcell, network):
    softcell("write", network, "-o", "x.cells", "--device", "rram-wan")
    outcome = softcell("read", "x.cells", "--age", "10y", "-o", "back.safetensors")
    assert "side information" in outcome.one_line()


def test_names_are_shown_as_they_are_and_never_move_the_terminal(softcell):
    named = {"enc[gru].w": (4, 4), "enc[/gru].w": (4, 4), "red\x1b[31m\u202e.w": (4, 4)}
    with WeightsWriter("a.safetensors", [TensorInfo(n, s, "F32") for n, s in named.items()]) as out:
        for name, shape in named.items():
            out.write(name, np.ones(shape, np.float32))
    assert softcell("write", "a.safetensors", "-o", "a.cells", "--scheme", "int8").status == 0
    shown = softcell("info", "a.cells").out
    assert "enc[gru].w" in shown
    assert "enc[/gru].w" in shown
    assert r"red\x1b[31m\u202e.w" in shown
    assert "\x1b" not in softcell("info", "\x1b[31mnone.cells").one_line()


@pytest.mark.parametrize("scheme", ["int8", "combined"])
def test_what_came_with_the_tensors_goes_back_with_them(softcell, scheme):
    texts = {"format": "pt", "licence": "x"}
    with WeightsWriter("a.safetensors", [TensorInfo("a.w", (8, 16), "F32")], texts) as out:
        out.write("a.w", np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32))
        out.finish()
    assert softcell("write", "a.safetensors", "-o", "a.cells", "--scheme", scheme).status == 0
    assert softcell("read", "a.cells", "-o", "read.safetensors").status == 0
    softcell("prune", "a.safetensors", "--fraction", 0.5, "-o", "pruned.safetensors")
    softcell("quantise", "a.safetensors", "-o", "shared.safetensors")
    for name in ("read", "pruned", "shared"):
        with WeightsReader(f"{name}.safetensors") as weights:
            assert weights.metadata == texts
