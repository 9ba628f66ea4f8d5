"""A search for a transformer: two-dimensional weights only, and an embedding tied to the output."""

import numpy as np
import pytest
import torch

from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.network import write_network
from softcell.network.own import learnt_of, own_network
from softcell.search import Goal, Recipe, Search, TrialMaker
from softcell.search.subjects import own_subject
from softcell.weights import StateDictWeights

GOAL = Goal(max_divergence=0.05)


def without(state, name):
    """Return a state dict as files hold it: a tied tensor under one of its names."""
    return {key: tensor for key, tensor in state.items() if key != name}


@pytest.mark.parametrize("left_out", ["output.weight", "embedding.weight"])
def test_a_plan_is_found(transformer, device, left_out):
    state = without(transformer.state, left_out)
    subject = own_subject(
        lambda: StateDictWeights(state), module=transformer.module, inputs=transformer.inputs
    )
    assert left_out not in subject.calibration.layers
    search = Search(subject, device, GOAL, vary=False)
    outcome = search.run()
    assert outcome.confirmed.score <= 1
    assert outcome.best.cells_per_weight < 1.5
    restored, header, _ = search.maker.write(outcome.plan, 3)
    assert restored.keys() == state.keys()
    assert header.weights == sum(tensor.numel() for tensor in state.values())
    assert {t.info.name for t in header.tensors if t.kind == "entropy-coded"} == {
        *({"output.weight", "embedding.weight"} - {left_out}),
        "block.self_attn.in_proj_weight",
        "block.self_attn.out_proj.weight",
        "block.linear1.weight",
        "block.linear2.weight",
    }
    # Read back into the module it is as near as was measured.
    with torch.no_grad():
        confirm = transformer.inputs[-16:]
        before = transformer.module(confirm).log_softmax(-1)
        tensors = {name: torch.tensor(array) for name, array in restored.items()}
        transformer.module.load_state_dict(tensors, strict=False)
        after = transformer.module(confirm).log_softmax(-1)
    divergence = float((before.exp() * (before - after)).sum(-1).mean())
    assert divergence == pytest.approx(outcome.confirmed.verdict.divergence, rel=1e-3)


def test_a_tensor_that_comes_under_both_names_is_read_back_alike(transformer, device):
    maker = TrialMaker(transformer.subject(), device, GOAL)
    recipe = Recipe(sequential=0.5)
    restored, _, _ = maker.write(maker.plan(recipe, 1.5), 0)
    np.testing.assert_array_equal(restored["output.weight"], restored["embedding.weight"])
    assert (restored["output.weight"] != transformer.state["output.weight"].numpy()).any()


def test_a_plan_is_written_without_the_judge(transformer, device, tmp_path):
    """What is needed to write is less than what is needed to search."""
    state = without(transformer.state, "output.weight")
    inputs, module = transformer.inputs, transformer.module

    def source():
        return StateDictWeights(state)

    subject = own_subject(source, module=module, inputs=inputs)
    recipe = Recipe(sequential=0.5)
    maker = TrialMaker(subject, device, GOAL)
    plan = maker.plan(recipe, 1.5)
    network = own_network(source, module=module, learnt=learnt_of(inputs))
    path = tmp_path / "image.cells"
    write_network(network, plan, path)
    restored, header, _ = maker.write(plan, 0)
    with CellImage(path) as image:
        assert image.header.cells == header.cells
        for name, array in Restoration(image, SimulatedChip(image, seed=0)).tensors():
            np.testing.assert_array_equal(array, restored[name], err_msg=name)
