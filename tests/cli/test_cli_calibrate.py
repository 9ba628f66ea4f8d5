"""softcell calibrate: on a task, and on a user's own module and inputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from softcell.curvature import load_calibration, load_fisher
from softcell.weights import TensorInfo, WeightsWriter

OWN = """
import torch
from torch import nn

class Network(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))

def make():
    torch.manual_seed(0)
    return Network()

def double():
    return make().double()

def one_logit():
    return nn.Sequential(nn.Flatten(), nn.Linear(32, 1))

def too_sure():
    return nn.Sequential(nn.Flatten(), nn.Linear(32, 3), nn.Threshold(1e9, 0.0))

def list_of_weights():
    return [1, 2]

def broken():
    raise RuntimeError("no weights\\nhere")
"""


def save(path, *tensors, dtype="F32"):
    infos = [TensorInfo(f"inputs.{i}", values.shape, dtype) for i, values in enumerate(tensors)]
    with WeightsWriter(path, infos) as writer:
        for info, values in zip(infos, tensors):
            writer.write(info.name, values)


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own_network.py").write_text(OWN)
    images = np.random.default_rng(0).normal(size=(10, 2, 4, 4)).astype(np.float32)
    save(tmp_path / "inputs.safetensors", images)
    return ("--inputs", "inputs.safetensors", "-o", "c.safetensors", "--module")


def test_a_task_is_calibrated(softcell):
    outcome = softcell("calibrate", "--images", 40, "-o", "c.safetensors", "--json")
    assert outcome.status == 0, outcome
    told = json.loads(outcome.out)
    check = told.pop("check")
    assert told == {
        "output": "c.safetensors",
        "network": "digits cnn",
        "kind": "fisher",
        "images": 40,
        "held_out": 4,
        "matrices": 4,
        "tensors": 11,
        "weights": 15418,
        "unfelt": [],
    }
    # Feedback helps where it was not learnt, too.
    assert len(check["matrices"]) == 4
    assert all(0 < part < 1 for each in check["matrices"].values() for part in each)
    assert 0 < check["closed"] < check["open"]
    calibration = load_calibration("c.safetensors")
    assert (calibration.images, calibration.kind) == (40, "fisher")
    assert set(calibration.normalisations) == {"bn1", "bn2", "bn3"}
    # The small file holds the same diagonal.
    softcell("calibrate", "--images", 40, "--kind", "diagonal", "-o", "f.safetensors")
    small, whole = load_fisher("f.safetensors"), load_fisher("c.safetensors")
    assert Path("f.safetensors").stat().st_size < Path("c.safetensors").stat().st_size
    assert small.keys() == whole.keys()
    for name, values in small.items():
        np.testing.assert_array_equal(values, whole[name])


def test_another_seed_gives_another_calibration(softcell):
    for seed in (0, 1):
        softcell("calibrate", "--images", 20, "--seed", seed, "-o", f"{seed}.safetensors")
    one, other = (load_calibration(f"{seed}.safetensors") for seed in (0, 1))
    assert (one.layers["linear.weight"].rows != other.layers["linear.weight"].rows).any()


def test_a_module_of_ones_own_is_calibrated(softcell, own):
    outcome = softcell("calibrate", *own, "own_network:make")
    assert outcome.status == 0, outcome
    assert "own_network:make, on 6 inputs" in outcome.out
    assert "4 inputs: feedback leaves" in outcome.out
    assert "2 matrices" in outcome.out
    assert "135 weights in 6 tensors" in outcome.out
    calibration = load_calibration("c.safetensors")
    assert set(calibration.layers) == {"0.weight", "3.weight"}
    assert calibration.normalisations == {"1": 1e-5}
    assert (calibration.images, calibration.held.inputs) == (6, 4)
    # Inputs come in the type of the weights.
    assert softcell("calibrate", *own, "own_network:double").status == 0
    double = load_calibration("c.safetensors")
    expected = calibration.layers["3.weight"]
    np.testing.assert_allclose(
        double.layers["3.weight"].covariance, expected.covariance, rtol=1e-3, atol=1e-7
    )


def test_a_calibration_by_inputs_is_no_sensitivity(softcell, own):
    outcome = softcell("calibrate", *own, "own_network:make", "--kind", "inputs", "--images", 6)
    assert outcome.status == 0, outcome
    assert "--sensitivity" not in outcome.out
    assert load_calibration("c.safetensors").images == 6
    save("model.safetensors", np.ones((4, 4), np.float32))
    words = ("write", "model.safetensors", "-o", "x.cells", "--sensitivity", "c.safetensors")
    assert "--kind fisher" in softcell(*words).one_line()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("own_network:list_of_weights",), "returned a list"),
        (("own_network:one_logit",), "a softmax over one class"),
        (("own_network:one_logit", "--kind", "diagonal"), "a softmax over one class"),
        (("own_network:too_sure",), "0 for every weight"),
        (("own_network:broken",), "own_network.py:26: RuntimeError: no weights here"),
        (("own_network:missing",), "no function 'missing'"),
        (("own_network",), "expected module:function"),
        (("own_network:make", "--task", "mnist"), "leave out --task"),
        (("own_network:make", "--model", "cnn"), "leave out --task and --model"),
        (("own_network:make", "--images", "11"), "at least 11"),
        (("own_network:make", "--inputs", "own_network.py"), "own_network.py"),
        (("own_network:make", "--inputs", "two.safetensors"), "holds 2 tensors"),
        (("own_network:make", "--inputs", "wide.safetensors"), "--module own_network:make failed"),
        (("own_network:make", "--inputs", "c.safetensors"), "c.safetensors"),
        (("own_network:make", "--kind", "hessian"), "hessian"),
    ],
)
def test_modules_and_inputs_that_do_not_do(softcell, own, tmp_path, words, reason):
    image = np.ones((2, 2, 4, 4), np.float32)
    save(tmp_path / "two.safetensors", image, image)
    save(tmp_path / "wide.safetensors", np.ones((2, 2, 9, 9), np.float32))
    assert reason in softcell("calibrate", *own, *words).one_line()
    assert not Path("c.safetensors").exists()


def test_module_and_inputs_belong_together(softcell, own):
    for words in (("--module", "own_network:make"), ("--inputs", "inputs.safetensors")):
        assert (
            "both --module and --inputs" in softcell(*("calibrate", "-o", "c"), *words).one_line()
        )


def test_one_logit_goes_by_its_inputs(softcell, own):
    outcome = softcell("calibrate", *own, "own_network:one_logit", "--kind", "inputs")
    assert outcome.status == 0, outcome
    # Without classes there is no divergence.
    assert "divergence" not in outcome.out
    assert load_calibration("c.safetensors").surprise is None
