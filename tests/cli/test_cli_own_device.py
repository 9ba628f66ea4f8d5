"""A device from outside the package, on every verb that meets one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import softcell as package
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.weights import WeightsReader

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_device.py"
KIND = "own_device:GrowingNoiseCell"
DEVICE = f"{KIND}:quiet=0.004,loud=0.01+stuck:low=0.0001"


LOADED = ("own_device", "judge")
JUDGE = """
def evaluate(state, first=[]):
    weights = {n: t.double() for n, t in state.items() if t.is_floating_point() and t.numel()}
    first = first or first.append(weights) or first  # the network itself is measured first
    error = sum(float(((weights[n] - t) ** 2).sum()) for n, t in first[0].items())
    return 0.9 - error / sum(float((t ** 2).sum()) for t in first[0].values())
"""


def weights_of(path):
    with WeightsReader(path) as file:
        return {name: file.read(name) for name in file.names}


@pytest.fixture
def run(softcell):
    """Run `softcell` in a folder with the example, which no earlier command has loaded."""
    Path("own_device.py").write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")

    Path("judge.py").write_text(JUDGE)

    def fresh(*arguments):
        for name in LOADED:
            sys.modules.pop(name, None)
        return softcell(*arguments)

    yield fresh
    for name in LOADED:
        sys.modules.pop(name, None)


def test_an_image_is_written_shown_exported_read_and_decoded(run, network):
    sign = ("--scheme", "sign", "--cells-per-weight", 3)
    wrote = run("write", network, "--device", DEVICE, *sign, "-o", "x.cells", "--chip", "chip")
    assert wrote.status == 0, wrote
    own = ("--device", KIND)
    shown = json.loads(run("info", "x.cells", *own, "--json").out)
    assert shown["device"] == f"{DEVICE},high=0"
    assert all(0.5 <= level <= 2.5 for level in shown["store_levels"])  # volts
    assert json.loads(run("export", "x.cells", *own, "-o", "v.npy", "--json").out)["unit"] == "V"
    volts = np.load("v.npy")
    assert volts.min() >= 0.5
    assert volts.max() <= 2.5
    for chip in (("--seed", 0), ("--chip", "chip")):
        assert run("read", "x.cells", *own, *chip, "-o", f"{chip[0]}.safetensors").status == 0
    assert Path("--seed.safetensors").read_bytes() == Path("--chip.safetensors").read_bytes()
    with CellImage("x.cells") as image:
        simulated = SimulatedChip(image, seed=0)
        readings = [simulated.read(region, 0, region.cells) for region in image.regions()]
        axis = image.header.device.reading_axis
    np.save("measured.npy", axis.to_unit(np.concatenate(readings)))
    decoded = run("decode", "x.cells", *own, "--readings", "measured.npy", "-o", "d.safetensors")
    assert decoded.status == 0, decoded
    given, back = weights_of(network), weights_of("d.safetensors")
    for name, values in weights_of("--seed.safetensors").items():
        assert np.allclose(back[name], values, atol=1e-2), name
    error = given["conv.weight"] - back["conv.weight"]
    assert 0 < np.square(error).mean() < 0.05 * np.square(given["conv.weight"]).mean()


def test_no_verb_runs_code_because_an_image_names_it(run, network):
    run("write", network, "--device", KIND, "--scheme", "int8", "-o", "x.cells")
    Path("own_device.py").write_text("raise SystemExit('code of a file was run')")
    for verb in (
        ("info", "x.cells"),
        ("export", "x.cells", "-o", "v.npy"),
        ("read", "x.cells", "-o", "r.safetensors"),
        ("decode", "x.cells", "--readings", "measured.npy", "-o", "r.safetensors"),
        ("evaluate", "x.cells", "--seeds", 1),
    ):
        told = run(*verb).one_line()
        assert "x.cells: its cells are of own_device:GrowingNoiseCell" in told
        assert f"--device {KIND}" in told
    assert "own_device" not in sys.modules


def test_devices_tells_of_it(run):
    rows = json.loads(run("devices", "--device", f"{KIND}:loud=0.005", "--json").out)
    assert rows[0]["name"] == f"{KIND}:quiet=0.005,loud=0.005"
    assert 5 < rows[0]["capacity_bits"] < 7  # log2 of 1 / (0.005 sqrt(2 pi e)) is 5.6
    assert rows[0]["level_unit"] == "V"
    assert "Cell" in run("devices", "--device", KIND).out


def test_networks_are_compared_on_it(run, network):
    judged = ("--network", network, "--evaluate", "judge:evaluate", "--seeds", 2)
    schemes = ("--schemes", "int8,sign", "--cells-per-weight", 3)
    compared = run("compare", *judged, *schemes, "--device", DEVICE, "--json", "r.json")
    assert compared.status == 0, compared
    rows = json.loads(Path("r.json").read_text())["results"]
    assert [row["device"] for row in rows] == [f"{DEVICE},high=0"] * 2


def test_an_image_of_it_is_measured(run):
    trained = json.loads(run("train", "--task", "digits", "--json").out)["output"]
    run("write", trained, "--device", KIND, "--scheme", "int8", "-o", "x.cells")
    measure = ("evaluate", "x.cells", "--images", 100, "--seeds", 1)
    outcome = run(*measure, "--device", KIND)
    assert outcome.status == 0, outcome
    assert "expected module:Class" in run(*measure, "--device", "pcm-mushroom").one_line()


def test_a_plan_of_it_is_found_and_written(run, network):
    judged = ("--evaluate", "judge:evaluate", "--max-drop", 0.1, "--decoder", "table")
    found = run("optimise", network, *judged, "--seeds", 1, "--device", KIND, "-o", "plan.json")
    assert found.status == 0, found
    assert json.loads(Path("plan.json").read_text())["device"]["kind"] == KIND
    write = ("write", network, "--plan", "plan.json", "-o", "x.cells")
    assert f"plan.json: its cells are of {KIND}" in run(*write).one_line()
    assert "is for the device" in run(*write, "--device", f"{KIND}:loud=0.1").one_line()
    wrote = run(*write, "--device", KIND)
    assert wrote.status == 0, wrote


def test_mistakes_are_told_in_one_line(run, network):
    for device, message in (
        ("missing:Cell", "there is no module 'missing'"),
        ("own_device:Missing", "has no class 'Missing'"),
        (f"{KIND}:size=1", "unknown option 'size'; known: loud, quiet"),
        (f"{KIND}:loud=2", "quiet and loud lie in [0, 1)"),
    ):
        assert message in run("write", network, "--device", device, "-o", "x.cells").one_line()


def test_python_takes_a_device_of_its_own(run, monkeypatch):
    monkeypatch.syspath_prepend(str(Path.cwd()))
    from own_device import GrowingNoiseCell

    state = {"layer.weight": np.linspace(-1, 1, 4096, dtype=np.float32).reshape(64, 64)}
    device = GrowingNoiseCell(loud=0.01)
    header = package.write(state, "x.cells", device=device, cells_per_weight=3)
    assert header.device == device
    assert np.abs(package.read("x.cells")["layer.weight"] - state["layer.weight"]).mean() < 0.1
    rows = list(
        package.compare(state, lambda _: 1.0, device=GrowingNoiseCell(), schemes=["int8"], seeds=1)
    )
    assert rows[0].device == GrowingNoiseCell().name
