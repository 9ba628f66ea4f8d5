"""Readings that fail on the command line: what is said, what is left, and with which status."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from drawn import laplacian
from softcell.api.reading import read
from softcell.errors import DecodingWarning
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.weights import TensorInfo, WeightsWriter

NAMES = ("a.weight", "b.weight")


@pytest.fixture
def measured(softcell, tmp_path):
    """An image of two matrices in int8, and its readings in ohm by code word of the store."""
    with WeightsWriter("model.safetensors", [TensorInfo(n, (64, 64), "F32") for n in NAMES]) as out:
        for seed, name in enumerate(NAMES):
            out.write(name, laplacian(64, 64, seed=seed))
    assert softcell("write", "model.safetensors", "-o", "m.cells", "--scheme", "int8").status == 0
    with CellImage(tmp_path / "m.cells") as image:
        chip, (region,) = SimulatedChip(image, seed=1), image.regions()
        ohm = image.header.device.reading_axis.to_unit(chip.read(region, 0, region.cells))
        store = image.header.store
    return ohm, store.cells(store.frame_bytes)


def test_a_lost_word_is_salvaged_and_named(softcell, measured):
    ohm, word = measured
    np.save("good.npy", ohm)
    ohm[:word] = np.nan
    np.save("bad.npy", ohm)
    decode = ("decode", "m.cells", "--readings")
    assert softcell(*decode, "good.npy", "-o", "good.safetensors").status == 0
    failed = softcell(*decode, "bad.npy", "-o", "bad.safetensors")
    assert failed.status == 1
    assert f"{word} of" in failed.err
    assert "gave no reading" in failed.err
    left = softcell(*decode, "bad.npy", "-o", "left.safetensors", "--salvage", "--json")
    told = json.loads(left.out)
    assert left.status == 1
    assert told["failed_code_words"] == 1
    assert told["missing"] == word
    (lost,) = told["lost"]
    assert lost["tensor"] == "a.weight"
    assert told["lost_weights"] == sum(stop - start for start, stop in lost["runs"]) > 0
    good, found = load_file("good.safetensors"), load_file("left.safetensors")
    np.testing.assert_array_equal(found["b.weight"], good["b.weight"])
    hit = np.zeros(64 * 64, bool)
    for start, stop in lost["runs"]:
        hit[start:stop] = True
    np.testing.assert_array_equal(
        found["a.weight"].reshape(-1)[~hit], good["a.weight"].reshape(-1)[~hit]
    )
    filled = softcell(
        *decode, "bad.npy", "-o", "f.safetensors", "--salvage", "--fill-from", "model.safetensors"
    )
    assert "lost weights" in filled.out
    there, wanted = load_file("f.safetensors"), load_file("model.safetensors")
    assert (there["a.weight"].reshape(-1)[hit] == wanted["a.weight"].reshape(-1)[hit]).all()
    both = softcell(*decode, "bad.npy", "--readings", "good.npy", "-o", "two.safetensors")
    assert both.status == 0
    np.testing.assert_array_equal(load_file("two.safetensors")["a.weight"], good["a.weight"])


def test_what_does_not_go_together_is_refused(softcell, measured):
    ohm, _ = measured
    np.save("r.npy", ohm)
    decode = ("decode", "m.cells", "--readings", "r.npy", "-o", "x.safetensors")
    assert "ask to salvage" in softcell(*decode, "--fill-from", "model.safetensors").one_line()
    with WeightsWriter("other.safetensors", [TensorInfo("a.weight", (2, 2), "F32")]) as out:
        out.write("a.weight", np.ones((2, 2), np.float32))
    error = softcell(*decode, "--salvage", "--fill-from", "other.safetensors").one_line()
    assert "no tensor 'a.weight' of shape (64, 64)" in error
    assert (
        "is what is read"
        in softcell("decode", "m.cells", "--readings", "r.npy", "-o", "r.npy").one_line()
    )


def test_an_age_that_was_not_told_is_told_where_it_matters(softcell, measured, tmp_path):
    quiet = softcell("read", "m.cells", "-o", "x.safetensors")
    assert quiet.err == ""
    write = ("write", "model.safetensors", "--scheme", "int8", "--age", "10y", "--device")
    softcell(*write, "pcm-mushroom", "-o", "old.cells")
    assert "no --age was given" in softcell("read", "old.cells", "-o", "x.safetensors").err
    assert "no --age" not in softcell("read", "old.cells", "--age", "0", "-o", "x.safetensors").err


def test_several_reads_of_a_simulated_chip(softcell, measured):
    once = softcell("read", "m.cells", "-o", "x.safetensors", "--json")
    often = softcell("read", "m.cells", "--reads", "4", "-o", "y.safetensors", "--json")
    assert json.loads(often.out)["failed_code_words"] == 0
    assert json.loads(often.out)["corrected_bits"] <= json.loads(once.out)["corrected_bits"]


def test_python_warns_of_failed_words(softcell, tmp_path):
    with WeightsWriter("n.safetensors", [TensorInfo("w", (64, 64), "F32")]) as out:
        out.write("w", laplacian(64, 64))
    softcell(
        "write",
        "n.safetensors",
        "-o",
        "n.cells",
        "--scheme",
        "int8",
        "--device",
        "pcm-mushroom",
        "--age",
        "1h",
    )
    with pytest.warns(DecodingWarning, match=r"code words could not be corrected.*planned for"):
        read("n.cells", age="100y")
