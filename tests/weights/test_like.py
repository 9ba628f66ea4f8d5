"""What is read comes as the tensors that a user has."""

import numpy as np
import pytest
import torch

import softcell
from softcell.errors import InputError
from softcell.weights.like import tensors_like


def test_types_and_devices_are_those_of_the_network():
    arrays = {"a": np.array([1.5, 70000.0], np.float32), "b": np.array(3), "c": np.ones(1)}
    like = {
        "a": torch.zeros(2, dtype=torch.float16),
        "b": torch.tensor(0, dtype=torch.int64),
        "c": np.zeros(1, np.float16),
    }
    found = tensors_like(arrays, like)
    assert found["a"].dtype == torch.float16
    assert found["a"].tolist() == [1.5, float("inf")]
    assert (found["b"].dtype, found["b"].shape) == (torch.int64, ())
    assert found["c"].dtype == np.float16
    found["b"] += 1
    assert arrays["b"] == 3


@pytest.mark.parametrize("like", [{}, {"a": torch.zeros(3)}])
def test_another_network_is_told(like):
    with pytest.raises(InputError, match="'a'"):
        tensors_like({"a": np.zeros(2)}, like)


def test_a_module_takes_what_read_gives(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)).bfloat16()
    path = tmp_path / "module.cells"
    softcell.write(module.state_dict(), path, scheme="float16")
    restored = softcell.read(path, like=module.state_dict())
    assert {v.dtype for v in restored.values()} == {torch.bfloat16, torch.int64}
    module.load_state_dict(restored)
