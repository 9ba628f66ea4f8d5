"""softcell prune and quantise: what they write, and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest

from softcell.curvature import Calibration, LayerCurvature, save_calibration, save_fisher
from softcell.weights import TensorInfo, WeightsReader, WeightsWriter


def read(path):
    with WeightsReader(path) as weights:
        return {name: weights.read(name) for name in weights.names}


@pytest.fixture
def own(tmp_path):
    """A network of two matrices, its Fisher information and both kinds of calibration."""
    rng = np.random.default_rng(2)
    state = {
        "a.weight": rng.normal(size=(6, 8)).astype(np.float32),
        "b.weight": rng.normal(size=(4, 6)).astype(np.float32),
        "b.bias": rng.normal(size=4).astype(np.float32),
    }
    infos = [TensorInfo(name, values.shape, "F32") for name, values in state.items()]
    with WeightsWriter(tmp_path / "own.safetensors", infos) as writer:
        for name, values in state.items():
            writer.write(name, values)
    fisher = {name: np.ones(values.shape, np.float32) for name, values in state.items()}
    fisher["b.weight"] *= 1e6
    save_fisher(tmp_path / "f.safetensors", fisher)
    layers = {}
    for name in ("a.weight", "b.weight"):
        rows, columns = state[name].shape
        covariance = np.full((1, columns, columns), 0.9, np.float32)
        covariance[0, range(columns), range(columns)] = 1
        layers[name] = LayerCurvature(covariance, np.ones(rows, np.float32))
    save_calibration(tmp_path / "c.safetensors", Calibration(layers, {}, 1, "fisher", fisher))
    save_calibration(tmp_path / "i.safetensors", Calibration(layers, {}, 1, "inputs"))
    return state


def test_pruning_by_size_removes_just_the_number(softcell, own):
    outcome = softcell("prune", "own.safetensors", "-o", "p.safetensors", "--json")
    assert json.loads(outcome.out) == {
        "output": "p.safetensors",
        "zeros": 36,
        "weights_in_matrices": 72,
    }
    pruned = read("p.safetensors")
    sizes = np.concatenate([np.abs(own[n]).ravel() for n in ("a.weight", "b.weight")])
    gone = np.concatenate([pruned[n].ravel() == 0 for n in ("a.weight", "b.weight")])
    assert sizes[gone].max() <= sizes[~gone].min()
    np.testing.assert_array_equal(pruned["b.bias"], own["b.bias"])


def test_with_a_sensitivity_the_loss_decides(softcell, own):
    arguments = ("--sensitivity", "f.safetensors", "--fraction", 0.6)
    assert softcell("prune", "own.safetensors", "-o", "p.safetensors", *arguments).status == 0
    pruned = read("p.safetensors")
    assert (pruned["b.weight"] != 0).all()
    assert (pruned["a.weight"] == 0).sum() == 43


@pytest.mark.parametrize("calibration", ["c", "i"])
def test_with_feedback_the_others_absorb_the_error(softcell, own, calibration):
    command = ("prune", "own.safetensors", "--feedback", f"{calibration}.safetensors")
    assert softcell(*command, "-o", "p.safetensors").status == 0
    pruned = read("p.safetensors")
    assert sum((pruned[n] == 0).sum() for n in ("a.weight", "b.weight")) == 36
    stay = pruned["a.weight"] != 0
    assert (pruned["a.weight"][stay] != own["a.weight"][stay]).any()
    by_size = softcell(*command, "--saliency", "magnitude", "-o", "m.safetensors")
    assert by_size.status == 0
    same = all(np.array_equal(pruned[n], other) for n, other in read("m.safetensors").items())
    assert same == (calibration == "i")


def test_a_pruned_tensor_can_be_kept_and_formats_stay(softcell, network):
    arguments = ("--keep", "conv.weight, half.weight", "--fraction", 0.25)
    assert softcell("prune", network, "-o", "p.safetensors", *arguments).status == 0
    before, after = read(network), read("p.safetensors")
    for name in ("conv.weight", "half.weight", "conv.bias", "steps"):
        np.testing.assert_array_equal(after[name], before[name])
    assert (after["large, with comma.weight"] == 0).sum() == 500
    with WeightsReader(network) as one, WeightsReader("p.safetensors") as other:
        assert [one.info(n) for n in one.names] == [other.info(n) for n in other.names]


def test_quantising_leaves_few_values(softcell, network):
    outcome = softcell("quantise", network, "--bits", 3, "-o", "q.safetensors", "--json")
    found = json.loads(outcome.out)
    assert found.pop("signal_to_distortion_db") > 10
    assert found == {
        "output": "q.safetensors",
        "bits": 3,
        "matrices": 3,
        "weights_in_matrices": 2480,
        "values": 24,
    }
    before, after = read(network), read("q.safetensors")
    for name in ("conv.weight", "half.weight", "large, with comma.weight"):
        assert len(np.unique(after[name])) == 8
    np.testing.assert_array_equal(after["conv.bias"], before["conv.bias"])
    text = softcell("quantise", network, "--bits", 3, "-o", "q.safetensors").out
    assert "24 values for 2,480 weights in 3 matrices" in text
    assert "dB below the weights" in text


def test_a_network_of_few_values_comes_back_as_it_is(softcell, own):
    assert softcell("quantise", "own.safetensors", "--bits", 6, "-o", "q.safetensors").status == 0
    out = softcell("quantise", "q.safetensors", "--bits", 7, "-o", "same.safetensors").out
    assert "error       none" in out
    for name, values in read("q.safetensors").items():
        np.testing.assert_array_equal(read("same.safetensors")[name], values)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("prune", "--fraction", "1"), "fraction"),
        (("prune", "--fraction", "nan"), "fraction"),
        (("prune", "--keep", "c.weight"), "'c.weight'"),
        (("prune", "--keep", "a.weight,b.weight"), "no matrix"),
        (("prune", "--saliency", "fisher"), "--sensitivity"),
        (("prune", "--saliency", "fisher", "--feedback", "i.safetensors"), "kind fisher"),
        (("prune", "--saliency", "magnitude", "--sensitivity", "f.safetensors"), "--saliency"),
        (("prune", "--feedback", "f.safetensors"), "f.safetensors"),
        (("prune", "--sensitivity", "missing.safetensors"), "missing.safetensors"),
        (("quantise", "--bits", "0"), "bits"),
        (("quantise", "--bits", "17"), "bits"),
        (("quantise", "--keep", "c.weight"), "'c.weight'"),
        (("quantise", "--sensitivity", "missing.safetensors"), "missing.safetensors"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(softcell, own, tmp_path, arguments, told):
    verb, *options = arguments
    outcome = softcell(verb, "own.safetensors", "-o", "x.safetensors", *options)
    assert told in outcome.one_line()
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("verb", ["prune", "quantise"])
def test_the_network_is_not_overwritten(softcell, own, verb):
    assert "what is read" in softcell(verb, "own.safetensors", "-o", "own.safetensors").one_line()


def test_fisher_information_of_another_network(softcell, own, network):
    outcome = softcell("prune", network, "-o", "x.safetensors", "--sensitivity", "f.safetensors")
    assert "'conv.weight'" in outcome.one_line()
