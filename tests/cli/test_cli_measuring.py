"""devices, fit, train, calibrate, evaluate and compare, on small things."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from softcell.evaluate.results import Result, read_results
from softcell.weights import WeightsReader

QUICK = ("--schemes", "int8,combined", "--cells-per-weight", "2", "--seeds", 2, "--images", 100)
REQUIRED = [
    "task",
    "model",
    "device",
    "age_seconds",
    "scheme",
    "cells_per_weight",
    "side_cells_per_weight",
    "accuracy_mean",
    "accuracy_ci95",
    "float_accuracy",
    "seeds",
    "images",
    "sdr_db",
    "limit_cells_per_weight",
]

OWN = """
import torch

def evaluate(state):
    assert state["half.weight"].dtype == torch.bfloat16, state["half.weight"].dtype
    assert state["steps"].dtype == torch.int64
    return float(state["conv.weight"].abs().mean())

def broken(state):
    return state["no such tensor"]

def nothing(state):
    return float("nan")
"""


def test_devices_as_json(softcell):
    told = json.loads(softcell("devices", "--json").out)
    assert {"pcm-partial-reset", "pcm-sweep", "rram-reset", "pcm-mushroom", "rram-wan"} <= {
        row["name"] for row in told
    }
    for row in told:
        assert row["capacity_bits"] > 1
        assert row["levels"] == 256
        assert row["source"]
        assert {"level_unit", "reading_unit", "age_seconds"} <= row.keys()
    measured = next(row for row in told if row["name"] == "pcm-partial-reset")
    assert measured["capacity_bits"] == pytest.approx(2.65, abs=0.03)
    assert (measured["level_unit"], measured["reading_unit"]) == ("V", "ohm")


def test_devices_lose_with_age(softcell):
    def capacity(age):
        words = ("devices", "--device", "pcm-mushroom", "--age", age, "--json")
        return json.loads(softcell(*words).out)[0]["capacity_bits"]

    assert capacity("10y") < capacity("1h") < capacity("1s")


def test_a_fitted_device_goes_anywhere(softcell, network):
    random = np.random.default_rng(1)
    volts = np.repeat(np.linspace(1, 3, 9), 1000)
    ohm = 10 ** (4 + volts + random.normal(0, 0.05, volts.size))
    rows = [f"{v:.3f},{r:.6g}" for v, r in zip(volts, ohm)]
    Path("cell.csv").write_text("\n".join(["pulse_V,resistance_ohm", *rows]))
    told = json.loads(softcell("fit", "cell.csv", "-o", "mine.toml", "--json").out)
    assert (told["level_unit"], told["reading_unit"]) == ("V", "ohm")
    # Two decades of means in noise of 0.05: C <= log2(1 + 2 / (0.05 sqrt(2 pi e))) = 3.42
    # (McKellips, ISIT 2004), which is nearly reached; at the upper end of what 1,000 readings of
    # an input say of the noise, log2(1 + 2 sqrt(2 / 1000)) or 0.09 less.
    low, high = told["capacity_interval"]
    assert low < 3.42 < high + 0.03
    assert told["capacity_bits"] == pytest.approx(3.34, abs=0.04)
    assert (told["law"]["law"], told["confidence"]) == ("normal", 0.98)
    assert told["law"]["unseen"] == pytest.approx(3 / 9000)
    text = softcell("fit", "cell.csv", "-o", "mine.toml", "--name", "my-cell").out
    assert "my-cell" in text
    listed = json.loads(softcell("devices", "--device", "mine.toml", "--json").out)
    assert listed[0]["name"] == "my-cell"
    assert listed[0]["capacity_bits"] == pytest.approx(told["capacity_bits"], abs=1e-3)
    assert softcell("write", network, "-o", "x.cells", "--device", "mine.toml").status == 0
    Path("mine.toml").unlink()  # the image carries its device
    assert softcell("read", "x.cells", "-o", "back.safetensors").status == 0


def test_digits_from_end_to_end(softcell):
    outcome = softcell("compare", *QUICK, "--json", "r.json", "--plot", "r.svg")
    assert outcome.status == 0, outcome
    assert outcome.err == ""
    told = json.loads(Path("r.json").read_text())
    assert told["schema"] == "softcell.results/1"
    for row in told["results"]:
        assert set(REQUIRED) <= row.keys()
        assert (row["task"], row["model"], row["images"]) == ("digits", "cnn", 100)
    int8, combined = read_results("r.json")
    assert (int8.scheme, combined.scheme) == ("int8", "combined")
    assert int8.float_accuracy - int8.accuracy_mean < 0.02
    assert combined.float_accuracy - combined.accuracy_mean < 0.05
    assert combined.cells_per_weight < 2.1 < 4 < int8.cells_per_weight < 4.5
    for result in (int8, combined):
        assert 0 < result.limit_cells_per_weight < result.cells_per_weight
        assert f"{result.cells_per_weight:.2f}" in outcome.out
        assert f"{100 * result.accuracy_mean:.2f}" in outcome.out
    assert Path("r.svg").read_text().startswith("<?xml")


def test_resuming_measures_only_what_is_missing(softcell):
    softcell("compare", *QUICK, "--json", "r.json")
    first = json.loads(Path("r.json").read_text())
    first["results"][0]["accuracy_mean"] = 0.123  # a mark that a new measurement would not bear
    Path("r.json").write_text(json.dumps(first))
    words = [*QUICK, "--json", "r.json", "--resume"]
    words[1] = "int8"
    assert "12.30" in softcell("compare", *words).out
    kept = read_results("r.json")
    assert [r.scheme for r in kept] == ["int8", "combined"]  # what was not asked for stays
    words[1] = "int8,naive"
    softcell("compare", *words)
    assert [r.scheme for r in read_results("r.json")] == ["int8", "naive", "combined"]
    assert read_results("r.json")[0].accuracy_mean == 0.123
    softcell("compare", *words[:-1])  # without --resume, all is measured and nothing stays
    assert [r.scheme for r in read_results("r.json")] == ["int8", "naive"]
    assert read_results("r.json")[0].accuracy_mean > 0.9


def test_the_file_is_written_after_every_row(softcell, monkeypatch):
    seen = []
    from softcell.evaluate import results

    def spy(_path, rows):
        seen.append([row.scheme for row in rows])

    monkeypatch.setattr(results, "write_results", spy)
    softcell("compare", *QUICK, "--json", "r.json")
    assert seen == [["int8"], ["int8", "combined"]]


def test_json_alone_on_standard_output(softcell):
    outcome = softcell("compare", *QUICK, "--json", "-")
    assert len(json.loads(outcome.out)["results"]) == 2


def test_evaluate_a_scheme_is_a_row_of_compare(softcell):
    softcell("compare", *QUICK, "--seed", 5, "--json", "c.json")
    words = ("--cells-per-weight", 2, "--seeds", 2, "--images", 100, "--seed", 5)
    softcell("evaluate", "--scheme", "combined", *words, "--json", "e.json")
    assert read_results("e.json") == read_results("c.json")[1:]


def test_evaluate_what_was_read(softcell):
    trained = json.loads(softcell("train", "--task", "digits", "--json").out)
    assert trained["accuracy"] > 0.95
    softcell("calibrate", "--images", 50, "-o", "fisher.safetensors")
    written = softcell(
        "write", trained["output"], "-o", "x.cells", "--sensitivity", "fisher.safetensors"
    )
    assert written.status == 0
    softcell("read", "x.cells", "--seed", 4, "-o", "back.safetensors")
    one = softcell("evaluate", "back.safetensors", "--images", 200, "--json", "one.json")
    assert re.search(r"accuracy +9\d\.\d\d % of 200 test images", one.out)
    softcell("evaluate", "x.cells", "--images", 200, "--seed", 4, "--seeds", 1, "--json", "r.json")
    (given,), (chip,) = read_results("one.json"), read_results("r.json")
    assert given.scheme == "given"
    assert chip.scheme == "combined"
    assert given.accuracy_mean == chip.accuracy_mean  # both are chip 4
    assert given.sdr_db == pytest.approx(chip.sdr_db, abs=1e-6)
    same = softcell("evaluate", trained["output"], "--json", "-")
    assert json.loads(same.out)["results"][0]["sdr_db"] > 140


def test_evaluate_takes_weights_of_the_task_only(softcell, network):
    assert "bn1.bias" in softcell("evaluate", network).one_line()


def test_a_network_of_ones_own(softcell, network):
    Path("mine.py").write_text(OWN)
    words = ("compare", "--network", network, "--schemes", "int8,naive", "--seeds", 2)
    outcome = softcell(*words, "--evaluate", "mine:evaluate", "--json", "r.json")
    assert outcome.status == 0, outcome
    rows: list[Result] = read_results("r.json")
    assert [row.scheme for row in rows] == ["int8", "naive", "naive", "naive"]
    with WeightsReader(network) as weights:
        expected = float(np.abs(weights.read("conv.weight")).mean())
    assert rows[0].float_accuracy == pytest.approx(expected, rel=1e-6)
    assert rows[0].accuracy_mean == pytest.approx(expected, rel=0.01)
    assert rows[0].task == "mine:evaluate"
    line = softcell(*words, "--evaluate", "mine:broken").one_line()
    assert "mine.py:10" in line
    assert "no such tensor" in line
    softcell(*words, "--evaluate", "mine:nothing").one_line()
    softcell(*words, "--evaluate", "mine:missing").one_line()
    softcell(*words, "--evaluate", "missing_module:evaluate").one_line()
    softcell(*words, "--evaluate", "mine").one_line()
