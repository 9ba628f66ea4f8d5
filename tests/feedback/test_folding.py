"""Folding: two numbers for each channel do what four did."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from softcell.curvature.calibration import normalisations
from softcell.errors import InputError
from softcell.evaluate.networks.normalization import BatchNorm
from softcell.feedback import fold_normalisations
from softcell.streams import Stream


def network(eps):
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        BatchNorm(8, eps=eps),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4, eps=eps)),
    ).eval()
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            values = torch.from_numpy(Stream.of(0, name).normal(tensor.numel()))
            values = values.reshape(tensor.shape)
            tensor.copy_((2 * values).exp() if name.endswith("running_var") else values)
    return module


@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_the_network_computes_the_same(eps):
    module = network(eps)
    state = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    before = {name: array.copy() for name, array in state.items()}
    folded = fold_normalisations(state, normalisations(module))
    assert list(folded) == list(state)
    assert all((state[name] == before[name]).all() for name in state)
    for prefix in ("1", "3.1"):
        assert (folded[f"{prefix}.running_mean"] == 0).all()
        assert (folded[f"{prefix}.running_var"] == 1).all()
        assert folded[f"{prefix}.weight"].dtype == np.float32
    assert folded["0.weight"] is state["0.weight"]
    other = copy.deepcopy(module)
    other.load_state_dict({name: torch.from_numpy(np.array(a)) for name, a in folded.items()})
    x = torch.from_numpy(Stream.of(0, "x").normal(4 * 3 * 64)).reshape(4, 3, 8, 8)
    with torch.no_grad():
        expected = module(x)
        difference = (other(x) - expected).abs().max() / expected.abs().max()
    assert difference < 1e-5


def test_folding_twice_changes_nothing():
    module = network(1e-3)
    state = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    once = fold_normalisations(state, normalisations(module))
    twice = fold_normalisations(once, normalisations(module))
    assert all((once[name] == twice[name]).all() for name in once)


def test_finds_normalisations_of_both_kinds():
    module = network(0.25)
    module.append(nn.BatchNorm1d(3, track_running_stats=False))
    module.append(nn.LayerNorm(3))
    assert normalisations(module) == {"1": 0.25, "3.1": 0.25}


def test_refuses_what_cannot_be_folded():
    ones = np.ones(3, np.float32)
    parts = ("weight", "bias", "running_mean", "running_var")
    state = {f"bn.{part}": ones for part in parts}
    assert (fold_normalisations(state, {"bn": 0.0})["bn.weight"] == 1).all()
    with pytest.raises(InputError, match=r"'bn2' has no tensor 'bn2.weight'"):
        fold_normalisations(state, {"bn2": 0.0})
    with pytest.raises(InputError, match=r"'bn.running_var' plus eps 1e-05 must be above 0"):
        fold_normalisations({**state, "bn.running_var": -ones}, {"bn": 1e-5})
    with pytest.raises(InputError, match=r"must be above 0, got nan"):
        fold_normalisations({**state, "bn.running_var": ones * np.nan}, {"bn": 1e-5})
    with pytest.raises(InputError, match="differ in shape"):
        fold_normalisations({**state, "bn.bias": ones[:2]}, {"bn": 1e-5})
