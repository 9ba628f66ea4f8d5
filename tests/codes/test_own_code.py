"""A code from outside the package is a code like any other: the example does it all."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import softcell
from softcell.allocate.plan import make_plan
from softcell.allocate.plan_file import load_plan, save_plan
from softcell.cli import main
from softcell.codes.families import FAMILIES
from softcell.codes.schemes import SCHEMES
from softcell.devices import parse_device
from softcell.errors import FormatError
from softcell.image.cell_image import CellImage
from softcell.streams import Stream
from softcell.weights import StateDictWeights

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_code.py"
STATE = {
    "conv.weight": Stream.of(0, "conv").normal(8 * 27).reshape(8, 3, 3, 3),
    "fc.weight": Stream.of(0, "fc").normal(20 * 50).reshape(20, 50),
    "fc.bias": Stream.of(0, "bias").normal(20),
}
DEVICE = parse_device("pcm-partial-reset")


def forget():
    FAMILIES.pop("nibble", None)
    SCHEMES.pop("nibble", None)
    sys.modules.pop("own_code", None)


@pytest.fixture
def own_code():
    spec = importlib.util.spec_from_file_location("own_code", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["own_code"] = module  # where dataclasses look up annotations
    spec.loader.exec_module(module)
    yield module
    forget()


def test_it_writes_and_reads(own_code, tmp_path):
    header = softcell.write(STATE, tmp_path / "x.cells", scheme="nibble")
    assert header.analog_cells == 2 * (8 * 27 + 20 * 50)
    assert [t.kind for t in header.tensors][:2] == ["nibble", "nibble"]
    restored = softcell.read(tmp_path / "x.cells", seed=3)
    for name in ("conv.weight", "fc.weight"):
        step = np.abs(STATE[name]).max() / 7
        assert np.mean(np.abs(restored[name] - STATE[name]) <= 0.51 * step) > 0.999
    assert np.allclose(restored["fc.bias"], STATE["fc.bias"], rtol=1e-3)


def test_it_stands_in_a_comparison(own_code):
    def evaluate(tensors):
        return -float(np.mean((tensors["fc.weight"] - STATE["fc.weight"]) ** 2))

    nibble, int8 = softcell.compare(STATE, evaluate, schemes=["nibble", "int8"], seeds=2)
    assert (nibble.scheme, nibble.decoder) == ("nibble", "table")
    assert nibble.cells_per_weight < 0.6 * int8.cells_per_weight
    assert nibble.accuracy_mean < int8.accuracy_mean


def test_its_plan_goes_through_a_file(own_code, tmp_path):
    plan = make_plan(StateDictWeights(STATE), DEVICE, "nibble")
    save_plan(tmp_path / "plan.json", plan)
    code = load_plan(tmp_path / "plan.json").tensors[0].code
    assert code == plan.tensors[0].code
    softcell.write(STATE, tmp_path / "a.cells", scheme="nibble")
    softcell.write(STATE, tmp_path / "b.cells", plan=load_plan(tmp_path / "plan.json"))
    assert (tmp_path / "a.cells").read_bytes() == (tmp_path / "b.cells").read_bytes()
    damaged = json.loads((tmp_path / "plan.json").read_text())
    damaged["tensors"][0]["code"]["step"] = "wide"
    (tmp_path / "bad.json").write_text(json.dumps(damaged))
    with pytest.raises(FormatError, match=r"conv\.weight.*\.step is a finite number"):
        load_plan(tmp_path / "bad.json")


def test_damage_of_its_side_information_is_told(own_code):
    stored = type("Stored", (), {"data": np.zeros(3, np.uint8)})
    with pytest.raises(FormatError, match="3 bytes"):
        own_code.NibbleCode.decode(stored)


def test_where_it_is_not_known_the_image_says_what_to_do(own_code, tmp_path):
    softcell.write(STATE, tmp_path / "x.cells", scheme="nibble")
    plan = make_plan(StateDictWeights(STATE), DEVICE, "nibble")
    save_plan(tmp_path / "plan.json", plan)
    forget()
    with pytest.raises(FormatError, match=r"unknown kind 'nibble'.*--import MODULE"):
        CellImage(tmp_path / "x.cells")
    with pytest.raises(FormatError, match="nibble"):
        load_plan(tmp_path / "plan.json")


def test_the_command_line_imports_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(EXAMPLE.parent)
    model, image, levels, back = (
        str(tmp_path / name) for name in ("m.safetensors", "x.cells", "levels.npy", "b.safetensors")
    )
    save_file(STATE, model)

    def run(*words):
        return main(["--import", "own_code", *words])

    try:
        assert run("write", model, "--scheme", "nibble", "-o", image) == 0
        assert run("info", image, "--json") == 0
        assert '"nibble"' in capsys.readouterr().out
        assert run("export", image, "-o", levels) == 0
        # A chip whose cells read as the mean of their level does: what was written comes back.
        with CellImage(image) as opened:
            means, axis = softcell_means(opened), opened.header.device.reading_axis
        np.save(tmp_path / "readings.npy", axis.to_unit(means))
        assert run("decode", image, "--readings", str(tmp_path / "readings.npy"), "-o", back) == 0
        assert run("read", image, "-o", str(tmp_path / "r.safetensors")) == 0
    finally:
        forget()
    weights = load_file(back)["fc.weight"]
    step = np.abs(STATE["fc.weight"]).max() / 7
    assert np.abs(weights - STATE["fc.weight"]).max() <= 0.51 * step
    assert main(["info", image]) == 2
    assert "--import MODULE" in capsys.readouterr().err
    assert main(["--import", "no_such_module_here", "info", image]) == 2
    assert "no_such_module_here" in capsys.readouterr().err


def softcell_means(image):
    from softcell.channel import channel_of

    channel = channel_of(image.header.device)
    return np.concatenate(
        [channel.mean[image.levels(region, 0, region.cells)] for region in image.regions()]
    )
