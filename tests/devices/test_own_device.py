"""A device from outside the package: found by name, tried, kept in files, never run unasked."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from softcell.allocate import make_plan
from softcell.allocate.plan_file import load_plan, save_plan
from softcell.channel import channel_of
from softcell.devices import (
    DEVICES,
    Device,
    GaussianCell,
    OwnDevice,
    Stuck,
    allow_device,
    device_from,
    device_of,
    parse_device,
)
from softcell.devices.conduct import require_conduct
from softcell.devices.specification import option_types
from softcell.errors import InputError, OwnDeviceError
from softcell.image.cell_image import CellImage
from softcell.image.chip import StoredChip, write_chip
from softcell.image.readings import SimulatedChip
from softcell.image.write import write_image
from softcell.streams import Stream
from softcell.weights import StateDictWeights

ROOT = Path(__file__).parents[2]
KIND = "own_device:GrowingNoiseCell"
CELLS = 200_000
STATE = {"a": Stream.of(0, "a").normal(2000).reshape(50, 40), "bias": np.ones(7, np.float32)}


@pytest.fixture
def outside(monkeypatch, tmp_path):
    """The folder of a user, with the example in it; nothing of it is loaded."""
    (tmp_path / "own_device.py").write_text((ROOT / "examples" / "own_device.py").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_device", raising=False)
    yield tmp_path
    for name in ("own_device", "other_device"):
        sys.modules.pop(name, None)


def unload():
    del sys.modules["own_device"]


def written(text, path):
    plan = make_plan(StateDictWeights(STATE), parse_device(text), "sign", cells_per_weight=3.0)
    write_image(StateDictWeights(STATE), plan, path)
    return plan


@pytest.mark.parametrize(
    "text",
    [
        KIND,
        f"{KIND}:quiet=0.01",
        f"{KIND}:quiet=0.0123456789,loud=0.05",
        f"{KIND}:loud=0.03+stuck:low=0.01+readout:bits=7",
    ],
)
def test_name_and_definition_give_the_same_device_again(outside, text):
    device = parse_device(text)
    assert isinstance(device, Device)
    for again in (
        parse_device(device.name),
        device_of(json.loads(json.dumps(device.definition()))),
    ):
        assert again == device
        assert hash(again) == hash(device)
        assert again.name == device.name
    assert device_from(device) is device
    assert device_from(text) == device
    assert channel_of(device) is channel_of(parse_device(text))


def test_a_definition_is_the_class_and_its_fields(outside):
    device = parse_device(f"{KIND}:quiet=0.01+stuck:low=0.1")
    of = {"kind": KIND, "quiet": 0.01, "loud": 0.02}
    assert device.definition() == {"kind": "stuck", "low": 0.1, "high": 0.0, "of": of}
    assert device.name == f"{KIND}:quiet=0.01,loud=0.02+stuck:low=0.1,high=0"


def test_the_law_of_the_example_is_that_of_its_cells(outside):
    device = parse_device(f"{KIND}:quiet=0.01,loud=0.1")
    edges = np.concatenate([[-np.inf], np.linspace(-0.2, 1.4, 40), [np.inf]])
    for level in (0.0, 0.3, 1.0):
        cells = device.write(np.full(CELLS, level, np.float32), stream=Stream.of(2, "write"))
        readings = device.read(cells, stream=Stream.of(2, "read"))
        found, _ = np.histogram(readings, edges)
        expected = device.law(np.array([level]), edges, 0.0)[0] * CELLS
        assert np.abs(found - expected).max() < 5 * np.sqrt(expected.max())
        assert readings.std() == pytest.approx(0.01 + 0.09 * level, rel=0.01)
    low, high = device.span(0.0)
    assert device.law(np.array([0.0]), np.array([-np.inf, low, np.inf]), 0.0)[0, 0] < 1e-6
    assert device.law(np.array([1.0]), np.array([-np.inf, high, np.inf]), 0.0)[0, 1] < 1e-6


def test_images_chips_and_plans_of_it_are_found_again(outside):
    plan = written(f"{KIND}:loud=0.03+stuck:low=0.01", "x.cells")
    save_plan("plan.json", plan)
    assert load_plan("plan.json").device == plan.device
    with CellImage("x.cells") as image:
        assert image.header.device == plan.device
        write_chip(image, 7, "chip.safetensors")
        simulated = SimulatedChip(image, seed=7, age_seconds=60.0)
        with StoredChip(image, "chip.safetensors", age_seconds=60.0) as stored:
            for region in image.regions():
                got, wanted = (c.read(region, 8, 200) for c in (stored, simulated))
                assert (got == wanted).all()


def test_a_file_runs_no_code_that_nobody_asked_for(outside):
    plan = written(f"{KIND}+stuck:low=0.01", "x.cells")
    save_plan("plan.json", plan)
    unload()
    Path("own_device.py").write_text("raise SystemExit('code of a file was run')")
    for path, opened in (("x.cells", CellImage), ("plan.json", load_plan)):
        with pytest.raises(OwnDeviceError, match=f"^{path}: its cells are of {KIND}.*--device"):
            opened(path)
    assert "own_device" not in sys.modules


def test_naming_the_class_or_importing_its_module_lets_files_name_it(outside, monkeypatch):
    written(KIND, "x.cells")
    unload()
    allow_device(f"{KIND}:what=ever")
    CellImage("x.cells").close()
    unload()
    monkeypatch.syspath_prepend(str(outside))
    __import__("own_device")
    CellImage("x.cells").close()
    for text in ("pcm-mushroom", "x.toml", ""):
        with pytest.raises(InputError, match="expected module:Class of a device of your own"):
            allow_device(text)


def test_an_installed_package_offers_a_device_by_name(outside, monkeypatch):
    package = outside / "site" / "grown-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: grown\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[softcell.devices]\ngrowing-noise = {KIND}\n")
    monkeypatch.syspath_prepend(str(outside))
    monkeypatch.syspath_prepend(str(outside / "site"))
    device = parse_device("growing-noise:loud=0.03+stuck:low=0.01")
    assert device.name == f"{KIND}:quiet=0.005,loud=0.03+stuck:low=0.01,high=0"
    for kind in (KIND, "growing-noise"):
        unload()
        assert device_of({"kind": kind, "loud": 0.03}).loud == 0.03
    with pytest.raises(InputError, match="unknown device 'flash'; known: .*, growing-noise, or"):
        parse_device("flash")
    (outside / "own_device.py").write_text("import no_such_module")
    unload()
    with pytest.raises(OwnDeviceError, match="device growing-noise.*No module named 'no_such"):
        parse_device("growing-noise")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing:Cell", "device missing:Cell: there is no module 'missing'; run softcell in"),
        ("own_device:Nothing", "module own_device has no class 'Nothing'"),
        ("own_device:Axis", "device own_device:Axis lacks source, .*write.*see docs/devices.md"),
        ("own_device:mixture_law", "is no frozen dataclass, whose fields are its options"),
        (f"{KIND}:size=3", "unknown option 'size'; known: loud, quiet"),
        (f"{KIND}:quiet=much", "quiet must be a number, got 'much'"),
        (f"{KIND}:quiet=7", rf"device {KIND}: quiet and loud lie in \[0, 1\), got 7.0"),
    ],
)
def test_specifications_that_are_wrong_say_what_to_do(outside, text, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_device(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"kind": "missing:Cell"}, "its cells are of missing:Cell.*name it: --device missing:Cell"),
        ({"kind": "own_device:Gone"}, "has no class 'Gone'; take the module as it was"),
        ({"kind": "__main__:Gone"}, "script or notebook; move it into a module"),
        ({"kind": "subprocess:Popen", "args": "true"}, "is no frozen dataclass"),
        ({"kind": KIND, "size": 3}, "has no option 'size'; known: quiet, loud"),
        ({"kind": KIND, "quiet": "0.1"}, "quiet must be of type float, got '0.1'"),
        ({"kind": KIND, "quiet": True}, "quiet must be of type float, got True"),
        ({"kind": KIND, "quiet": -1}, "quiet and loud lie in"),
    ],
)
def test_definitions_that_are_wrong_say_what_to_do(outside, definition, message):
    allow_device(KIND)
    with pytest.raises(OwnDeviceError, match=message):
        device_of({"kind": "stuck", "of": definition})


@dataclass(frozen=True)
class OptionsOfAllTypes(GaussianCell, OwnDevice):
    """A device of a test: noise as the base class has it, options of every type."""

    bits: int = 3
    sharp: bool = False
    mode: str = "slow"
    taps: tuple[float, ...] = (1.0, 2.0)
    name, definition = OwnDevice.name, OwnDevice.definition


def test_options_are_numbers_truth_values_text_and_tuples():
    kind = f"{__name__}:OptionsOfAllTypes"
    device = parse_device(f"{kind}:bits=5,sharp=true,mode=fast,snr_db=12")
    assert device == OptionsOfAllTypes(12.0, 5, True, "fast")
    assert device_from(OptionsOfAllTypes(taps=(3.0,))).taps == (3.0,)
    assert device_of(json.loads(json.dumps(device.definition()))) == device
    assert list(option_types(OptionsOfAllTypes)) == ["snr_db", "bits", "sharp", "mode", "taps"]
    for option, message in (
        ("sharp=1", "sharp must be true or false, got '1'"),
        ("bits=2.5", "bits must be of type int, got 2.5"),
        ("taps=1", "taps is not a number or a word; make the device in Python instead"),
    ):
        with pytest.raises(InputError, match=message):
            parse_device(f"{kind}:{option}")


class Restless(OptionsOfAllTypes):
    """Draws from a place of its own."""

    def read(self, cells, *, stream):
        return super().read(cells, stream=stream) + stream.normal(1)[0]


class WrongLaw(OptionsOfAllTypes):
    def law(self, levels, edges, age_seconds):
        return super().law(levels, edges, age_seconds)[:, 1:]


class Leaking(OptionsOfAllTypes):
    def law(self, levels, edges, age_seconds):
        return super().law(levels, edges, age_seconds) * 0.9


class OtherLaw(OptionsOfAllTypes):
    """Its cells read falling values, its law says rising ones."""

    def read(self, cells, *, stream):
        return 1 - super().read(cells, stream=stream)


class Double(OptionsOfAllTypes):
    def read(self, cells, *, stream):
        return super().read(cells, stream=stream).astype(np.float64)


class Ageless(OptionsOfAllTypes):
    def age(self, cells, seconds):
        return cells


class Broken(OptionsOfAllTypes):
    def span(self, age_seconds):
        return 1 / 0


class Unequal(OptionsOfAllTypes):
    __eq__, __hash__ = object.__eq__, object.__hash__


class Deaf(OptionsOfAllTypes):
    def definition(self):
        return {"kind": "ideal"}


@dataclass(frozen=True)
class Taken(OptionsOfAllTypes):
    kind: str = "mine"


@pytest.mark.parametrize(
    ("made_by", "message"),
    [
        (Restless, "cells read differently when they are written in another run"),
        (WrongLaw, r"law must return probabilities of shape .*\(8, 64\), got \(8, 63\)"),
        (Leaking, "those of a level sum to 1"),
        (OtherLaw, r"law is not that of the cells: of 4096 cells at level 0, 0s old, 0.0% read"),
        (Double, "read must return an array of float32"),
        (Ageless, "age must return the Cells older"),
        (Broken, r"failed at .*test_own_device.py:\d+: ZeroDivisionError"),
    ],
)
def test_a_short_trial_finds_what_is_no_device(made_by, message):
    with pytest.raises(OwnDeviceError, match=f"device {__name__}:{made_by.__name__}.*{message}"):
        parse_device(f"{__name__}:{made_by.__name__}")
    with pytest.raises(InputError, match=message):
        device_from(Stuck(made_by()))


@pytest.mark.parametrize(
    "behind", ["", "+spread:sigma=0.02+stuck:low=0.01,high=0.02+readout:bits=4"]
)
@pytest.mark.parametrize("name", DEVICES)
def test_our_own_devices_keep_to_it(name, behind):
    require_conduct(parse_device(name + behind))


def test_a_definition_has_words_of_its_own():
    with pytest.raises(OwnDeviceError, match="an option cannot be called 'kind'"):
        parse_device(f"{__name__}:Taken")


def test_what_cannot_be_kept_is_refused_before_work_is_spent():
    @dataclass(frozen=True)
    class Local(OptionsOfAllTypes):
        pass

    for device, message in (
        (Local(), "Local.* is made inside a function or class.*move it to the top of its module"),
        (Deaf(), "makes another device, IdealCell"),
        (OptionsOfAllTypes(taps=(np.float32(1),)), "cannot be kept in a file"),
        (OptionsOfAllTypes(12.0, mode=float("nan")), "cannot be kept in a file"),
        (Unequal(), "two with equal options must be equal"),
        (OptionsOfAllTypes, "expected a device or its specification, got <class"),
        (7, "expected a device or its specification, got 7"),
    ):
        with pytest.raises(InputError, match=message):
            device_from(device)


def test_the_documentation_names_all_that_a_device_has():
    section = (ROOT / "docs" / "devices.md").read_text().partition("## A device of your own")[2]
    for member in (name for name in vars(Device) if not name.startswith("_")):
        assert re.search(rf"`{member}[`(]", section), member
