"""Trained networks on disk: to the bit, and not at all if damaged."""

import json
from dataclasses import replace

import numpy as np
import pytest

from softcell.allocate import Procedure
from softcell.allocate.plan import make_plan
from softcell.allocate.plan_file import load_plan, network_digest, require_network
from softcell.devices import parse_device
from softcell.durations import Ages
from softcell.errors import FormatError, InputError
from softcell.records import values_of
from softcell.search import Recipe
from softcell.search.record import PlanSettings
from softcell.training.grid_plan import plan_of_grid
from softcell.training.matrix_steps import eight_bits
from softcell.training.trained_network import TrainedNetwork, trained_network, trained_networks
from softcell.weights import StateDictWeights, WeightsReader
from softcell.weights.tensor_file import read_tensors, write_tensors

LOG = ("epoch 1: loss 2.3", "", "epoch 2: loss 0.4")
DEVICE = parse_device("pcm-partial-reset")


def trained(state, plan, *, recipe=None, loop=False, **changes):
    settings = PlanSettings(recipe or Recipe(), "digits", "cnn")
    fields = {
        "name": "small-0.5",
        "task": "digits",
        "model": "cnn",
        "state": state,
        "plan": replace(plan, settings=values_of(settings), procedure=Procedure(loop=loop)),
        "command": "softcell train --task digits --target-cells 0.5",
        "seed": 3,
        "log": LOG,
    }
    return TrainedNetwork(**(fields | changes))


@pytest.fixture
def grid():
    """A network on a grid with zeros of both signs and an index beyond eight bits."""
    random = np.random.default_rng(4)
    indices = np.rint(random.laplace(size=(12, 20)) * 1.5)
    indices[3, 4] = 700
    state = {
        "w": (-indices * np.float32(0.125)).astype(np.float32),
        "b": random.normal(size=12).astype(np.float32),
        "a": (np.rint(random.normal(size=(8, 2, 3, 3))) * np.float32(0.5)).astype(np.float32),
    }
    assert np.signbit(state["w"][state["w"] == 0]).any()
    steps = {"w": np.float32([0.125]), "a": np.float32([0.5])}
    return state, plan_of_grid(state, steps, DEVICE, Ages(0.0, 0.0))


@pytest.fixture
def saved(grid, tmp_path):
    return trained(*grid).save(tmp_path)


def test_a_network_comes_back_to_the_bit(grid, saved):
    state, _ = grid
    found = TrainedNetwork.load(saved)
    assert list(found.state) == list(state)
    for name, values in state.items():
        assert found.state[name].dtype == np.float32
        assert (found.state[name] == values).all()
    assert found.state["b"].tobytes() == state["b"].tobytes()
    assert (found.name, found.task, found.model) == ("small-0.5", "digits", "cnn")
    assert (found.command, found.seed, found.log) == (
        *("softcell train --task digits --target-cells 0.5", 3),
        LOG,
    )
    assert found.plan.network == network_digest(StateDictWeights(found.state)) == found.digest
    assert found.plan.procedure.loop is False


def test_saving_what_was_loaded_changes_nothing(saved, tmp_path):
    TrainedNetwork.load(saved).save(tmp_path / "again")
    assert saved.with_suffix(".json").read_bytes() == (
        (tmp_path / "again" / "small-0.5.json").read_bytes()
    )
    tensors, about = read_tensors(saved)
    again, about_again = read_tensors(tmp_path / "again" / saved.name)
    assert about == about_again
    assert {n: (v.dtype, v.tobytes()) for n, v in tensors.items()} == {
        n: (v.dtype, v.tobytes()) for n, v in again.items()
    }


def test_matrices_are_small_whole_numbers_and_one_step(saved):
    tensors, about = read_tensors(saved)
    assert {name: values.dtype.name for name, values in tensors.items()} == {
        "indices.w": "int16",
        "steps.w": "float32",
        "b": "float32",
        "indices.a": "int8",
        "steps.a": "float32",
    }
    assert tensors["steps.w"].tolist() == [0.125]
    assert abs(tensors["indices.w"][3, 4]) == 700
    assert about["format"] == "softcell.trained/1"


def test_others_read_what_is_not_compact(grid, tmp_path):
    state, plan = grid
    path = trained(state, plan).save(tmp_path, compact=False)
    with WeightsReader(path) as weights:
        assert set(weights.names) == set(state)
        assert all((weights.read(name) == values).all() for name, values in state.items())
        file = load_plan(path.with_suffix(".json"))
        require_network(file.in_order(weights.names), weights)
    found = TrainedNetwork.load(path)
    compact = TrainedNetwork.load(found.save(tmp_path / "compact"))
    assert found.digest == compact.digest == file.network


def test_weights_for_noisy_cells_are_kept_in_eight_bits(tmp_path):
    random = np.random.default_rng(1)
    free = {
        "w": (random.normal(size=(30, 40)) * random.lognormal(size=(30, 1))).astype(np.float32),
        "b": random.normal(size=30).astype(np.float32),
    }
    free["w"][7] = 0
    state = eight_bits(free)
    plan = make_plan(StateDictWeights(state), DEVICE, "inversion", cells_per_weight=1.5)
    with pytest.raises(InputError, match="'w' are on no steps.*`eight_bits`"):
        trained(free, plan).save(tmp_path)
    found = TrainedNetwork.load(trained(state, plan, loop=True).save(tmp_path))
    assert (found.state["w"] == state["w"]).all()
    assert found.plan.procedure.loop
    assert found.plan.uses_cells


@pytest.mark.parametrize("scale", [1.0, 3e-20, 1e30])
def test_eight_bits_are_within_half_a_step_and_stay(scale):
    rows = np.random.default_rng(8).normal(size=(200, 50)).astype(np.float32) * np.float32(scale)
    rows[5] = 1e-38
    once = eight_bits({"w": rows})["w"]
    assert not once[5].any()
    some = np.delete(np.arange(200), 5)
    largest = np.abs(rows[some]).max(axis=1, keepdims=True)
    error = np.abs(once[some].astype(np.float64) - rows[some])
    assert (error <= 0.505 * largest / 127).all()
    assert error.max() > 0.49 * (largest / 127).min()
    assert all(len(np.unique(np.abs(row))) <= 128 for row in once)
    assert (eight_bits({"w": once})["w"] == once).all()
    assert eight_bits({"b": rows[0]})["b"].tobytes() == rows[0].tobytes()


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_truncated_file_is_refused(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(FormatError):
        TrainedNetwork.load(saved)


def test_an_altered_index_is_refused(saved):
    data = bytearray(saved.read_bytes())
    data[-100] ^= 1
    saved.write_bytes(data)
    with pytest.raises(FormatError, match="altered"):
        TrainedNetwork.load(saved)


def test_a_plan_of_other_weights_is_refused(grid, saved, tmp_path):
    state, plan = grid
    other = state | {"b": state["b"] + 1}
    path = trained(other, plan).save(tmp_path / "other")
    saved.with_suffix(".json").write_bytes(path.with_suffix(".json").read_bytes())
    with pytest.raises(FormatError, match=r"small-0.5.json do not fit: .* other weights"):
        TrainedNetwork.load(saved)


def test_a_missing_plan_is_named(saved):
    saved.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"small-0.5.json is missing"):
        TrainedNetwork.load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: m.pop("seed"), "lacks 'seed'"),
        (lambda t, m: m.update(seed="many"), "do not fit"),
        (lambda t, m: m.update(model="resnet20"), "do not fit: .*settings are for digits cnn"),
        (lambda t, m: m.update(format="softcell.trained/9"), "no trained network of format"),
        (lambda t, m: t.pop("steps.w"), "lacks 'steps.w'"),
        (lambda t, m: t.update({"steps.w": t["steps.w"] * np.float32(2)}), "other weights"),
        (lambda t, m: t.update({"steps.w": np.ones(5, np.float32)}), r"steps float32 \(5,\)"),
        (lambda t, m: t.update({"indices.w": t["indices.w"][:3]}), "indices int16"),
        (lambda t, m: t.update({"indices.w": t["indices.w"] * 0.5}), "indices float64"),
        (lambda t, m: t.update({"b": t["b"][:3]}), "'b' is float32"),
        (lambda t, m: t.update({"c": t["b"]}), "'c' is not in the plan"),
    ],
)
def test_other_contents_are_refused(saved, change, message):
    tensors, about = read_tensors(saved)
    change(tensors, about)
    write_tensors(saved, tensors, about)
    with pytest.raises(FormatError, match=message):
        TrainedNetwork.load(saved)


def test_a_plan_file_of_another_schema_is_refused(saved):
    plan = saved.with_suffix(".json")
    plan.write_text(json.dumps({"schema": "softcell.results/1", "results": []}))
    with pytest.raises(FormatError, match="no plan"):
        TrainedNetwork.load(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../x"}, "a name is of letters"),
        ({"name": ".x"}, "a name is of letters"),
        ({"seed": -1}, "a seed is a whole number"),
        ({"log": ("a\nb",)}, "one entry for each"),
        ({"task": "mnist"}, "settings are for digits cnn"),
    ],
)
def test_a_network_is_valid_from_birth(grid, changes, message):
    with pytest.raises(InputError, match=message):
        trained(*grid, **changes)


def test_weights_must_be_finite_and_those_of_the_plan(grid):
    state, plan = grid
    with pytest.raises(InputError, match="finite float32"):
        trained(state | {"b": np.full(12, np.nan, np.float32)}, plan)
    with pytest.raises(InputError, match="finite float32"):
        trained(state | {"b": state["b"].astype(np.float64)}, plan)
    with pytest.raises(InputError, match="'b'"):
        trained({name: state[name] for name in ("w", "a")}, plan)


def test_networks_are_found_by_file_and_by_name(saved):
    assert trained_network(str(saved)).name == "small-0.5"
    with pytest.raises(InputError, match="no trained network 'nothing'; there are: "):
        trained_network("nothing")
    names = trained_networks()
    assert names == tuple(sorted(set(names)))


@pytest.mark.parametrize("name", trained_networks())
def test_networks_that_come_with_softcell_are_whole(name):
    network = trained_network(name)
    assert network.name == name
    assert network.command
    assert network.log


def test_networks_that_come_with_softcell_are_small():
    total = sum(
        value.size for n in trained_networks() for value in trained_network(n).state.values()
    )
    assert total < 4_000_000  # bytes: one for a weight, a little more with steps and plans
