"""One way to write a network by its plan: what the plan says is done, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import softcell
from softcell.allocate import Procedure
from softcell.allocate.plan_file import network_digest
from softcell.devices import parse_device
from softcell.errors import InputError
from softcell.feedback.memory import SimulatedMemory
from softcell.image.cell_image import CellImage
from softcell.image.closed_loop import folded, write_closed_loop
from softcell.image.write import write_image
from softcell.network import Network, chips, plan_network, write_network
from softcell.weights import StateDictWeights

DEVICE = parse_device("pcm-partial-reset")


@pytest.fixture(scope="module")
def module():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = nn.Sequential(nn.Linear(24, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 6))
    return made.eval()


@pytest.fixture(scope="module")
def inputs():
    return torch.randn(64, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def known(module, inputs):
    return Network.of(module.state_dict(), module=module, inputs=inputs)


@pytest.fixture(scope="module")
def state(module):
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


@pytest.fixture(scope="module")
def looped(known):
    """A plan through the loop, whose cells are verified."""
    return plan_network(
        known, DEVICE, "packed", cells_per_weight=2.5, procedure=Procedure(loop=True)
    )


def test_without_the_loop_it_is_the_image_of_the_weights(known, state, tmp_path):
    plan = plan_network(known, DEVICE, "combined", cells_per_weight=2.5)
    header, written = write_network(known, plan, tmp_path / "a.cells")
    assert written is None
    assert write_image(StateDictWeights(state), plan, tmp_path / "b.cells").cells == header.cells
    assert (tmp_path / "a.cells").read_bytes() == (tmp_path / "b.cells").read_bytes()


@pytest.mark.parametrize(("feedback", "corrected"), [(True, True), (True, False), (False, False)])
def test_the_procedure_says_how(known, state, looped, feedback, corrected, tmp_path):
    plan = replace(looped, procedure=Procedure(True, feedback, 2, corrected))
    header, written = write_network(known, plan, tmp_path / "a.cells", seed=3)
    assert header.chip == "simulated:3"
    write_closed_loop(
        folded(StateDictWeights(state), known.calibration),
        plan,
        known.calibration,
        tmp_path / "b.cells",
        memory=SimulatedMemory(DEVICE, 3, 2),
        chip="simulated:3",
        correct=known.correct if corrected else None,
        feedback=feedback,
    )
    assert written.cells > 0
    assert (tmp_path / "a.cells").read_bytes() == (tmp_path / "b.cells").read_bytes()


def test_pruning_and_layer_after_layer_belong_to_the_plan(known, looped, tmp_path):
    plain, pruned, sequential = (
        replace(looped, procedure=Procedure(loop=True, **options))
        for options in ({}, {"sparsity": 0.5}, {"sequential": 0.5})
    )
    seen = {
        name: write_network(known, plan, tmp_path / "x.cells")[1].wanted["0.weight"]
        for name, plan in (("plain", plain), ("pruned", pruned), ("sequential", sequential))
    }
    assert np.mean(seen["pruned"] == 0) >= 0.4 > np.mean(seen["plain"] == 0)
    assert not np.array_equal(seen["sequential"], seen["plain"])
    alone = replace(known, sequence=None)
    with pytest.raises(InputError, match="layer after layer: give a module and its inputs"):
        write_network(alone, sequential, tmp_path / "y.cells")
    assert not (tmp_path / "y.cells").exists()


def test_a_chip_whose_cells_are_verified_has_an_image_of_its_own(known, looped, tmp_path):
    digital = plan_network(
        known, DEVICE, "entropy-coded", cells_per_weight=3.0, procedure=Procedure(loop=True)
    )
    for plan, different in ((looped, 3), (digital, 1)):
        images = []
        for path, seed in chips(known, plan, tmp_path / "x.cells", range(5, 8)):
            with CellImage(path) as image:
                assert image.header.chip in (None, f"simulated:{seed}")
                images.append(image.digest)
        assert len(set(images)) == different
    assert looped.by_chip
    assert not digital.by_chip


def test_what_a_plan_needs_and_a_network_has_not_is_told(state, looped, tmp_path):
    with pytest.raises(InputError, match="softcell calibrate"):
        write_network(Network.of(state), looped, tmp_path / "x.cells")
    with pytest.raises(InputError, match="go together"):
        Network.of(state, module=nn.Linear(1, 1))
    assert list(tmp_path.iterdir()) == []


def test_tensors_may_come_in_another_order(known, looped, state, tmp_path):
    turned = dict(reversed(state.items()))
    other = replace(known, source=lambda: StateDictWeights(turned))
    write_network(other, looped, tmp_path / "x.cells", seed=1)
    write_network(known, looped, tmp_path / "y.cells", seed=1)
    one, two = (softcell.read(tmp_path / name, seed=1) for name in ("x.cells", "y.cells"))
    assert list(one) == list(turned)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def test_a_plan_of_the_search_is_kept_and_written_again(module, inputs, known, tmp_path):
    state = module.state_dict()
    found = softcell.optimise(state, module=module, inputs=inputs, max_cells=3.0, decoder="table")
    found.save(tmp_path / "plan.json")
    plan = softcell.load_plan(tmp_path / "plan.json")
    assert plan.procedure.loop
    header = softcell.write(known, tmp_path / "a.cells", plan=plan, seed=7)
    assert header.cells_per_weight <= 3.0
    found.write(tmp_path / "b.cells", seed=7)
    assert (tmp_path / "a.cells").read_bytes() == (tmp_path / "b.cells").read_bytes()
    with pytest.raises(InputError, match="softcell calibrate"):  # the tensors alone will not do
        softcell.write(state, tmp_path / "c.cells", plan=plan)


def test_a_plan_is_for_its_network_and_says_all(state, tmp_path):
    plan = plan_network(Network.of(state), DEVICE, "int8")
    plan = replace(plan, network=network_digest(StateDictWeights(state)))
    softcell.save_plan(tmp_path / "plan.json", plan)
    plan = softcell.load_plan(tmp_path / "plan.json")
    softcell.write(state, tmp_path / "x.cells", plan=plan)
    with pytest.raises(InputError, match="other weights of the same shapes"):
        other = {**state, "3.bias": state["3.bias"] + 1}
        softcell.write(other, tmp_path / "y.cells", plan=plan)
    for asked in ({"device": "ideal"}, {"scheme": "int8"}, {"age": "1d"}, {"verify_reads": 2}):
        with pytest.raises(InputError, match="the plan says"):
            softcell.write(state, tmp_path / "y.cells", plan=plan, **asked)
    with pytest.raises(InputError, match="says what is known of it"):
        softcell.write(Network.of(state), tmp_path / "y.cells", plan=plan, sensitivity={})
    assert not (tmp_path / "y.cells").exists()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, ""),
        ({"loop": True}, "closed"),
        ({"loop": True, "corrected": False}, "closed, uncorrected"),
        ({"loop": True, "feedback": False}, "open, corrected"),
        ({"loop": True, "feedback": False, "corrected": False}, "open"),
    ],
)
def test_a_procedure_has_a_name(options, name):
    assert Procedure(**options).name == name


@pytest.mark.parametrize(
    "options",
    [{"verify_reads": 0}, {"sequential": 1.5}, {"sequential": -0.1}, {"sparsity": 1.0}],
)
def test_impossible_procedures_are_refused(options):
    with pytest.raises(InputError, match="expected"):
        Procedure(loop=True, **options)
