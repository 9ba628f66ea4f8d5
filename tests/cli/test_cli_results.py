"""softcell results: trained networks on the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from softcell.codes.entropy.stream import stored_steps
from softcell.devices import parse_device
from softcell.durations import Ages
from softcell.evaluate.results import read_results
from softcell.evaluate.tasks import load_task
from softcell.records import values_of
from softcell.search import Recipe
from softcell.search.record import PlanSettings
from softcell.training import trained_results
from softcell.training.grid_plan import plan_of_grid
from softcell.training.trained_network import TrainedNetwork


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the network of the digits, rounded coarsely, as a file."""
    state, steps = load_task("digits").state_dict(), {}
    for name, values in state.items():
        if values.ndim > 1:
            steps[name] = stored_steps(np.array([0.5 * values.std()]))
            state[name] = np.rint(values / steps[name]) * steps[name]
    plan = plan_of_grid(state, steps, parse_device("pcm-partial-reset"), Ages(0.0, 0.0))
    recipe = Recipe(states=1, trade_off=0.0, vector_bits=12)
    settings = values_of(PlanSettings(recipe, "digits", "cnn"))
    network = TrainedNetwork(
        *("coarse", "digits", "cnn", state, replace(plan, settings=settings)),
        command="tests",
        seed=0,
    )
    return network.save(tmp_path_factory.mktemp("trained"))


def test_a_table_and_a_file_of_all_results(softcell, trained, tmp_path):
    done = softcell("results", "--trained", trained, "--seeds", 2, "--json", "r.json")
    assert (done.status, done.err) == (0, "")
    rows = read_results(tmp_path / "r.json")
    assert [row.scheme for row in rows] == ["float32", "int8", "strong-digital"]
    first, *table = done.out.splitlines()
    assert first.startswith("pcm-partial-reset at 0s")
    assert first.endswith("2 chips")
    line = next(line.split() for line in table if line.startswith("coarse"))
    assert line[1] == f"{rows[2].cells_per_weight:.3f}"
    assert line[2] == f"{100 * rows[2].accuracy_mean:.2f}"
    under = rows[0].cells_per_weight / rows[2].cells_per_weight
    assert f"{under:.1f}" in line
    assert line[-1] == "full"


def test_standard_output_has_the_same_json(softcell, trained, tmp_path):
    arguments = ("results", "--trained", trained, "--seeds", 1, "--seed", 4)
    printed = json.loads(softcell(*arguments, "--json", "-").out)
    softcell(*arguments, "--json", "r.json")
    assert printed == json.loads((tmp_path / "r.json").read_text())
    assert printed["schema"] == "softcell.results/1"
    assert [row["first_seed"] for row in printed["results"]] == [4, 4, 4]


def test_resumed_results_are_kept(softcell, trained, monkeypatch, tmp_path):
    arguments = ("results", "--trained", trained, "--seeds", 1, "--json", "r.json", "--resume")
    table = softcell(*arguments).out
    before = (tmp_path / "r.json").read_bytes()
    monkeypatch.setattr(trained_results, "run_trials", lambda *a, **o: pytest.fail("tried"))
    monkeypatch.setattr(trained_results, "measure_plan", lambda *a, **o: pytest.fail("written"))
    assert softcell(*arguments).out == table
    assert (tmp_path / "r.json").read_bytes() == before


def test_what_to_measure_must_be_said(softcell):
    assert "Give --trained" in softcell("results").one_line()
    assert "Give --trained" in softcell("results", "lenet5").one_line()


def test_an_unknown_name_says_which_there_are(softcell):
    error = softcell("results", "--trained", "nothing").one_line()
    assert "no trained network 'nothing'; there are: " in error


def test_without_networks_there_is_nothing_to_measure(softcell, monkeypatch):
    monkeypatch.setattr("softcell.training.trained_network.trained_networks", lambda: ())
    assert "no trained networks came with this softcell" in (
        softcell("results", "--trained").one_line()
    )


def test_a_file_that_is_none_and_one_that_is_not_there(softcell, trained, tmp_path):
    error = softcell("results", "--trained", "missing.safetensors").one_line()
    assert "missing.safetensors" in error
    (tmp_path / "cut.safetensors").write_bytes(trained.read_bytes()[:1000])
    (tmp_path / "cut.json").write_bytes(trained.with_suffix(".json").read_bytes())
    error = softcell("results", "--trained", "cut.safetensors", "--json", "r.json").one_line()
    assert "cut.safetensors is truncated" in error
    assert not (tmp_path / "r.json").exists()


def test_missing_data_are_named(softcell, trained, monkeypatch, tmp_path):
    found = TrainedNetwork.load(trained)
    settings = values_of(PlanSettings(found.settings.recipe, "cifar10", "resnet20"))
    other = TrainedNetwork(
        *(
            "other",
            "cifar10",
            "resnet20",
            found.state,
            replace(found.plan, settings=settings),
        ),
        command="tests",
        seed=0,
    ).save(tmp_path)
    monkeypatch.delenv("SOFTCELL_DATA", raising=False)
    assert "SOFTCELL_DATA" in softcell("results", "--trained", other).one_line()
