"""Plans as files: nothing is lost, and nothing is believed."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace

import numpy as np
import pytest

from drawn import normal
from softcell.allocate.plan import Plan, TensorPlan, make_plan
from softcell.allocate.plan_file import (
    SCHEMA,
    load_plan,
    network_digest,
    require_network,
    save_plan,
)
from softcell.codes.schemes import SCHEMES
from softcell.curvature import Calibration, LayerCurvature
from softcell.devices import DEVICES, parse_device
from softcell.devices.measured_file import device_toml
from softcell.durations import Ages
from softcell.errors import FormatError, InputError
from softcell.feedback.memory import SimulatedMemory
from softcell.image.closed_loop import write_closed_loop
from softcell.image.write import write_image
from softcell.weights import ReplacedWeights, StateDictWeights

DEVICE = parse_device("pcm-partial-reset")


def curvature(rows, columns, *, seed=0):
    mixing = normal(columns, max(columns // 3, 1), seed=100 + seed).astype(np.float64)
    square = mixing @ mixing.T + 0.02 * np.eye(columns)
    covariance = ((square + square.T) / 2).astype(np.float32)[None]
    felt = np.full(rows, np.trace(covariance[0]) / columns, np.float32)
    return LayerCurvature(covariance, felt * np.linspace(0.5, 1.5, rows, dtype=np.float32))


SMALL = {
    "fc.weight": 0.2 * normal(24, 36),
    "fc.bias": 0.1 * normal(24, seed=1),
    "ones": np.ones(9, np.float32),
    "steps": np.array(7),
}
STATE = {**SMALL, "conv.weight": (0.02 * normal(12, 4, 3, 3, seed=2)).astype(np.float16)}
WEIGHTS = StateDictWeights(STATE)
CALIBRATION = Calibration(
    {"fc.weight": curvature(24, 36), "conv.weight": curvature(12, 36, seed=1)}, {}, 1, "fisher"
)


def planned(scheme, *, weights=WEIGHTS, cells=3.0, **more):
    conventional = scheme in ("float32", "float16", "int8")
    return make_plan(
        weights, DEVICE, scheme, cells_per_weight=None if conventional else cells, **more
    )


def through_file(plan, folder, **more):
    save_plan(folder / "plan.json", replace(plan, **more))
    return load_plan(folder / "plan.json")


def assert_same(one, other, path="plan"):
    """Compare two records to the bit, whatever they are made of."""
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
        return
    assert type(one) is type(other), path
    if isinstance(one, tuple):
        assert len(one) == len(other), path
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{path}[{i}]")
    elif hasattr(one, "__dataclass_fields__"):
        for each in fields(one):
            assert_same(getattr(one, each.name), getattr(other, each.name), f"{path}.{each.name}")
    else:
        assert one == other, path


def contents(write, folder):
    write(folder / "image.cells")
    return (folder / "image.cells").read_bytes()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_plan_comes_back_and_writes_the_same_image(scheme, tmp_path):
    # Each density that weights may have is a design of some seconds: one matrix will do.
    slow = scheme in ("coarse-to-fine", "hybrid", "joint-map")
    weights = StateDictWeights(SMALL) if slow else WEIGHTS
    sensitivity = {name: np.square(normal(*STATE[name].shape, seed=9)) for name in ("fc.weight",)}
    plan = planned(scheme, weights=weights, sensitivity=sensitivity)
    loaded = through_file(plan, tmp_path)
    assert_same(loaded, plan)
    before = contents(lambda path: write_image(weights, plan, path), tmp_path)
    assert contents(lambda path: write_image(weights, loaded, path), tmp_path) == before


@pytest.mark.parametrize(
    ("scheme", "cells"), [("entropy-coded", 2.0), ("strong-digital", 2.0), ("packed", 1.5)]
)
def test_a_plan_for_the_loop_comes_back_and_writes_the_same_image(scheme, cells, tmp_path):
    plan = planned(scheme, cells=cells, calibration=CALIBRATION)
    loaded = through_file(plan, tmp_path)
    assert_same(loaded, plan)

    def write(some):
        return lambda path: write_closed_loop(
            WEIGHTS, some, CALIBRATION, path, memory=SimulatedMemory(DEVICE, 0), chip=None
        )

    assert contents(write(loaded), tmp_path) == contents(write(plan), tmp_path)


def test_every_field_of_a_plan_is_kept():
    kept = {"scheme", "device", "ages", "store", "tensors", "target"}
    kept |= {"procedure", "keep", "network", "settings", "report"}
    assert {each.name for each in fields(Plan)} == kept
    assert {each.name for each in fields(TensorPlan)} == {"info", "kind", "code"}


@pytest.mark.parametrize("name", DEVICES)
def test_any_device_comes_back_with_its_coefficients(name, tmp_path):
    plan = replace(planned("int8"), device=parse_device(f"{name}+stuck:low=0.001+readout:bits=6"))
    loaded = through_file(plan, tmp_path).device
    assert loaded.name == plan.device.name
    assert loaded.definition() == plan.device.definition()


def test_a_fitted_device_needs_its_own_file_no_more(tmp_path):
    (tmp_path / "own.toml").write_text(device_toml(DEVICE).replace("0.019", "0.0123456789012345"))
    device = parse_device(str(tmp_path / "own.toml"))
    save_plan(tmp_path / "p.json", replace(planned("int8"), device=device))
    (tmp_path / "own.toml").unlink()
    assert load_plan(tmp_path / "p.json").device.definition() == device.definition()


def test_spans_of_ages_come_back(tmp_path):
    ages = Ages(86_400.0, 10 * 365.25 * 86_400, told=False)
    plan = replace(planned("int8"), ages=ages)
    assert through_file(plan, tmp_path).ages == ages


SETTINGS = {"corrected": True, "orders": ["a", "b"], "damping": 0.01, "none": None}
REPORT = {"tried": [{"cells": 0.5, "drop": 1 / 3, "why": "µ \ud800"}] * 3, "table": [[1, 2.5]]}


def test_settings_and_report_come_back(tmp_path):
    file = through_file(planned("int8"), tmp_path, network="0af3", settings=SETTINGS, report=REPORT)
    assert (file.network, file.settings, file.report) == ("0af3", SETTINGS, REPORT)


@pytest.mark.parametrize(
    "parts",
    [
        {"network": "digest"},
        {"settings": [1]},
        {"report": {"drop": float("nan")}},
        {"report": {"tried": [{"drop": np.float32(1)}]}},
        {"report": {3: 1}},
    ],
)
def test_only_plain_values_are_kept(parts):
    with pytest.raises(InputError):
        replace(planned("int8"), **parts)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A file with a code by rows, a short store and settings."""
    folder = tmp_path_factory.mktemp("plan")
    plan = planned("packed")
    about = {"network": network_digest(WEIGHTS), "settings": SETTINGS, "report": REPORT}
    save_plan(folder / "p.json", replace(plan, **about))
    return (folder / "p.json").read_text()


def load_text(text, folder):
    (folder / "x.json").write_text(text)
    return load_plan(folder / "x.json")


def test_people_can_read_it(text):
    assert '\n      "kind": "packed",\n' in text
    assert re.search(r'\n        "classes": \[\d[\d, ]+\],\n', text)
    assert json.loads(text)["schema"] == SCHEMA


def test_what_is_saved_again_is_the_same_file(text, tmp_path):
    save_plan(tmp_path / "p.json", load_text(text, tmp_path))
    assert (tmp_path / "p.json").read_text() == text


def test_truncated_files_are_refused(text, tmp_path):
    whole = text.rstrip()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        with pytest.raises(FormatError, match="is no plan"):
            load_text(whole[:length], tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (SCHEMA, "softcell.plan/3"),
        (SCHEMA, "softcell.results/1"),
        ('"scheme": "packed"', '"scheme": "packet"'),
        ('"scheme": "packed"', '"scheme": 3'),
        ('"scheme": "packed"', '"scheme": "float32"'),
        ('"scheme": "packed"', '"scheme": "strong-digital"'),
        ('"target": 3.0', '"target": null'),
        ('"target": 3.0', '"target": NaN'),
        ('"target": 3.0', '"target": 1e999'),
        ('"target": 3.0', '"target": -3.0'),
        ('"target": 3.0', '"target": 3.0, "target": 4.0'),
        ('"target": 3.0', '"targets": 3.0'),
        ('"told": true', '"told": false'),
        ('"last": 0.0', '"last": -1.0'),
        ('"damping": 0.01', '"damping": Infinity'),
        ('"kind": "measured"', '"kind": "guessed"'),
        ('"read_noise": 0.019', '"read_noise": -0.019'),
        ('"kind": "hard"', '"kind": "soft"'),
        ('"t": ', '"t": 9999'),
        ('"m": ', '"m": 9'),
        ('"k": ', '"k": 1'),
        ('"fc.bias"', '"fc.weight"'),
        ('"classes": [', '"classes": [7, '),
        ('"classes": [', '"classes": [1.5, '),
        ('"scales": [', '"scales": [NaN, '),
        ('"scales": [', '"scales": [0], "old": ['),
        ('"shape": [24, 36]', '"shape": [25, 36]'),
        ('"shape": [24, 36]', '"shape": [24, 36.5]'),
    ],
)
def test_altered_files_are_refused(old, new, text, tmp_path):
    assert old in text
    with pytest.raises(FormatError):
        load_text(text.replace(old, new, 1), tmp_path)


@pytest.mark.parametrize("new", ["-1", "1e400", "NaN", "null", "[]", "{}", '"x"', "10" * 200])
def test_whatever_becomes_of_a_number_it_is_told_as_damage(new, text, tmp_path):
    numbers = list(re.finditer(r"(?<=[\[ ])-?\d[\d.e+-]*", text))
    refused = 0
    for number in numbers[:: max(len(numbers) // 60, 1)]:
        try:
            load_text(text[: number.start()] + new + text[number.end() :], tmp_path)
        except FormatError:
            refused += 1
    # Some numbers may be anything: those of settings and report, or another coefficient.
    assert refused > 20


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 100_000, "PK\x03\x04", '{"schema": []}'])
def test_other_files_are_refused(text, tmp_path):
    with pytest.raises(FormatError, match=r"x\.json is no plan"):
        load_text(text, tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "x.json").write_bytes(b'{"schema": "\xff"}')
    with pytest.raises(FormatError, match="is no plan"):
        load_plan(tmp_path / "x.json")


def test_a_missing_file_is_the_users_mistake(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_plan(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot write"):
        save_plan(tmp_path / "none" / "p.json", planned("int8"))


def test_a_plan_is_for_its_network():
    file = replace(planned("int8"), network=network_digest(WEIGHTS))
    assert file.network == network_digest(WEIGHTS)
    require_network(file, WEIGHTS)
    require_network(file, WEIGHTS, network_digest(WEIGHTS))
    require_network(
        replace(file, network=""), StateDictWeights({**STATE, "ones": np.zeros(9, "f4")})
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ones": None}, "a tensor 'ones', the network has none"),
        ({"fc.weight": np.zeros((24, 35), "f4")}, r"'fc.weight' is F32 \(24, 36\) in the plan"),
        ({"conv.weight": np.zeros((12, 4, 3, 3), "f4")}, "'conv.weight' is F16 .* F32 .* in the"),
        ({"more": np.zeros(1, "f4")}, "a tensor 'more', the plan has none"),
        ({"ones": np.zeros(9, "f4")}, "other weights of the same shapes"),
    ],
)
def test_other_networks_are_refused(changes, message):
    other = {name: value for name, value in {**STATE, **changes}.items() if value is not None}
    with pytest.raises(InputError, match=message):
        require_network(
            replace(planned("int8"), network=network_digest(WEIGHTS)), StateDictWeights(other)
        )


def test_tensors_in_another_order_are_refused():
    turned = StateDictWeights(dict(reversed(STATE.items())))
    assert network_digest(turned) == network_digest(WEIGHTS)
    with pytest.raises(InputError, match="order: 'conv.weight' comes where .* 'fc.weight'"):
        require_network(planned("int8"), turned)


def test_a_digest_tells_values_names_shapes_and_types_apart():
    one = np.arange(6, dtype=np.float32)
    states = [
        {"a": one},
        {"b": one},
        {"a": one.reshape(2, 3)},
        {"a": one.view(np.int32)},
        {"a": one + np.float32(1e-6)},
        {"a": one[:5], "b": one[5:]},
    ]
    assert len({network_digest(StateDictWeights(state)) for state in states}) == len(states)
    same = ReplacedWeights(StateDictWeights({"a": one + 1}), {"a": one})
    assert network_digest(same) == network_digest(StateDictWeights({"a": one}))
