"""Checkpoints that are damaged: told, and nothing of them is taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from softcell.errors import FormatError, InputError, SoftcellError
from softcell.training import read_checkpoint, write_checkpoint
from softcell.training.training_log import TrainingLog
from softcell.weights.tensor_file import read_tensors, write_tensors

IDENTITY = {"training": "x", "seed": "1"}


def trainer():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimiser = torch.optim.Adam(module.parameters())
    module(torch.ones(2, 3)).sum().backward()
    optimiser.step()
    return module, optimiser


@pytest.fixture
def path(tmp_path):
    write_checkpoint(tmp_path / "state", *trainer(), 7, IDENTITY, numbers={"price": 0.5})
    return tmp_path / "state"


def state_of(module, optimiser):
    kept = [values.clone() for values in module.state_dict().values()]
    return kept + [v.clone() for each in optimiser.state.values() for v in each.values()]


MOMENT = "optimiser.exp_avg.0.weight"
DAMAGES = {
    "a tensor is missing": lambda t, m: t.pop("module.0.bias"),
    "a tensor is too many": lambda t, m: t.update({"module.2.bias": np.ones(3, np.float32)}),
    "a tensor of another kind": lambda t, m: t.update({"other": np.ones(3, np.float32)}),
    "another size": lambda t, m: t.update({"module.0.bias": np.ones(5, np.float32)}),
    "another type": lambda t, m: t.update({"module.0.bias": np.ones(4, np.int8)}),
    "float64": lambda t, m: t.update({"module.0.bias": np.ones(4)}),
    "a moment is missing": lambda t, m: t.pop(MOMENT),
    "a moment of another size": lambda t, m: t.update({MOMENT: np.ones(5, np.float32)}),
    "a moment of another type": lambda t, m: t.update({MOMENT: np.ones((4, 3), np.float16)}),
    "a moment of nothing": lambda t, m: t.update({"optimiser.exp_avg": np.ones(1, np.float32)}),
    "a moment of no parameter": lambda t, m: t.update(
        {"optimiser.exp_avg.9.weight": np.ones(1, np.float32)}
    ),
    "a step of several": lambda t, m: t.update({"optimiser.step.0.weight": np.ones(2, np.float32)}),
    "no step": lambda t, m: m.pop("step"),
    "a negative step": lambda t, m: m.update({"step": "-1"}),
    "a step that is text": lambda t, m: m.update({"step": '"7"'}),
    "a step without end": lambda t, m: m.update({"step": "9" * 5_000}),
    "a step that is nested": lambda t, m: m.update({"step": "[" * 20_000}),
    "numbers that are none": lambda t, m: m.update({"numbers": '{"price": NaN}'}),
    "numbers twice": lambda t, m: m.update({"numbers": '{"a": 1, "a": 2}'}),
    "numbers in a list": lambda t, m: m.update({"numbers": "[1]"}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told_and_nothing_is_taken(path, damage):
    tensors, metadata = read_tensors(path)
    DAMAGES[damage](tensors, metadata)
    write_tensors(path, tensors, metadata)
    module, optimiser = trainer()
    before = state_of(module, optimiser)
    with pytest.raises(SoftcellError) as caught:
        read_checkpoint(path, module, optimiser, IDENTITY)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    after = state_of(module, optimiser)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_every_cut_is_told(path):
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            read_checkpoint(path, *trainer(), IDENTITY)


def test_an_optimiser_without_a_state_comes_back(tmp_path):
    module = nn.Linear(2, 2)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    write_checkpoint(tmp_path / "state", module, optimiser, 0, IDENTITY)
    assert read_checkpoint(tmp_path / "state", module, optimiser, IDENTITY) == (0, {})
    assert not optimiser.state


def test_a_log_that_is_no_text_is_told(tmp_path):
    (tmp_path / "state.log").write_bytes(b"step 1\n\xff\xfe")
    with pytest.raises(FormatError, match=r"state\.log is no log"):
        TrainingLog(tmp_path / "state.safetensors", resume=True)


def test_a_name_that_no_file_can_have_is_told(tmp_path):
    with pytest.raises(InputError):
        TrainingLog(tmp_path / ("x" * 300), resume=True).say("one")
    with pytest.raises(InputError):
        write_checkpoint(tmp_path / ("x" * 300), *trainer(), 7, IDENTITY)
