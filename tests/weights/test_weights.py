"""Reading weights tensor by tensor, against the safetensors library and torch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from safetensors import safe_open

from softcell.errors import InputError
from softcell.weights import safetensors_file, state_dict, tensor_values
from softcell.weights.safetensors_file import (
    StateDictWeights,
    TensorInfo,
    WeightsReader,
    parse_weights,
)


def tensors_of_every_format() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(7, 5, generator=generator)
    tensors = {
        "odd bytes": torch.tensor([1, 2, 255], dtype=torch.uint8),
        "f32": normal,
        "f16": normal.to(torch.float16),
        "bf16": normal.to(torch.bfloat16),
        "f64": normal.to(torch.float64) / 3,
        "bool": normal > 0,
        "skalar ä": torch.tensor(-2.5),
        "empty": torch.zeros(0, 3),
        "special": torch.tensor([torch.nan, torch.inf, -torch.inf, -0.0, 1e-45]),
    }
    for bits in (8, 16, 32, 64):
        dtype = getattr(torch, f"int{bits}")
        limits = torch.iinfo(dtype)
        tensors[f"i{bits}"] = torch.tensor([limits.min, -1, 0, limits.max], dtype=dtype)
    return tensors


def float32_of(tensor: torch.Tensor) -> np.ndarray:
    half = tensor.dtype in (torch.float16, torch.bfloat16)
    return tensor.to(torch.float32 if half else tensor.dtype).numpy()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(tensors_of_every_format(), path, metadata={"made": "by torch"})
    return path


def test_a_file_of_the_library_is_read_exactly(model: Path):
    with WeightsReader(model) as reader, safe_open(model, framework="pt") as library:
        assert reader.metadata == {"made": "by torch"}
        assert list(reader.names) == library.offset_keys()
        for name, tensor in tensors_of_every_format().items():
            info = reader.info(name)
            part = library.get_slice(name)
            assert info == TensorInfo(name, tuple(part.get_shape()), part.get_dtype())
            values = reader.read(name)
            expected = float32_of(tensor)
            assert (values.dtype, values.shape) == (expected.dtype, expected.shape)
            assert values.tobytes() == expected.tobytes()
            bits = tensor.reshape(-1).view(torch.uint8).numpy()
            np.testing.assert_array_equal(reader.raw(name), bits)


def test_what_is_read_is_the_readers_own(model: Path):
    with WeightsReader(model) as reader:
        first = reader.read("f32")
        first[:] = 7
        assert not (reader.read("f32") == 7).any()
    memory = {"a": np.zeros(3, np.float32)}
    StateDictWeights(memory).read("a")[:] = 7
    assert not memory["a"].any()


def test_a_state_dict_reads_like_its_file(model: Path):
    tensors = tensors_of_every_format()
    tensors["f32"].requires_grad_()
    arrays = {name: float32_of(t.detach()) for name, t in tensors.items() if name[:2] != "bf"}
    for source in (tensors, arrays):
        with parse_weights(model) as file, parse_weights(source) as memory:
            assert memory.names == tuple(source)
            for name in source:
                if source is tensors:
                    assert memory.info(name) == file.info(name)
                    np.testing.assert_array_equal(memory.raw(name), file.raw(name))
                assert memory.read(name).tobytes() == file.read(name).tobytes()
                assert memory.read(name).shape == memory.info(name).shape


def test_a_state_dict_may_hold_transposed_and_foreign_arrays():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    source = {
        "transposed": np.asfortranarray(values),
        "strided": np.repeat(values, 2, axis=1)[:, ::2],
        "big-endian": values.astype(">f4"),
        "torch": torch.from_numpy(values.T.copy()).T,
        "parameter": torch.nn.Parameter(torch.from_numpy(values)),
    }
    memory = StateDictWeights(source)
    for name in source:
        assert memory.info(name) == TensorInfo(name, (2, 3), "F32")
        np.testing.assert_array_equal(memory.read(name), values)
        assert memory.raw(name).tobytes() == values.astype("<f4").tobytes()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, 2.0], "expected a NumPy array or a torch tensor, got list"),
        (np.array(["a"]), "is str"),
        (np.array([None]), "is object"),
        (np.zeros(2, np.complex128), "is complex128"),
        (torch.eye(2).to_sparse(), "is torch.sparse_coo"),
    ],
)
def test_a_state_dict_of_other_things_is_refused(value: object, message: str):
    with pytest.raises(InputError, match=message):
        StateDictWeights({"a": value})


def test_values_that_cannot_be_had_are_refused_in_one_line(tmp_path: Path):
    path = tmp_path / "a"
    tensors = {"a": torch.ones(3).to(torch.float8_e4m3fn), "b": torch.ones(1)}
    safetensors.torch.save_file(tensors, path)
    for source in (path, tensors):
        with parse_weights(source) as opened:
            assert opened.raw("a").tolist() == [0x38] * 3
            with pytest.raises(InputError, match=r"'a' is F8_E4M3; .*convert it to F16 or F32"):
                opened.read("a")
            with pytest.raises(InputError, match=r"no tensor 'c'; it has: \w, \w"):
                opened.read("c")
    with pytest.raises(InputError, match="cannot be read from its device"):
        StateDictWeights({"a": torch.ones(2, device="meta")}).read("a")
    closed = WeightsReader(path)
    closed.close()
    with pytest.raises(InputError, match="is closed"):
        closed.read("b")


def test_torch_is_not_imported_for_files():
    # The command line must answer --help without waiting for torch.
    for module in (safetensors_file, state_dict, tensor_values):
        assert not hasattr(module, "torch")


def test_other_sources_are_refused():
    with pytest.raises(InputError, match=r"got Linear; pass model.state_dict\(\)"):
        parse_weights(torch.nn.Linear(1, 1))
    with pytest.raises(InputError, match="got int; pass one of these"):
        parse_weights(3)


def test_the_given_networks_are_read_as_the_library_reads_them():
    folder = os.environ.get("SOFTCELL_DATA")
    if folder is None:
        if os.environ.get("SOFTCELL_REQUIRE_DATA") == "1":
            pytest.fail("SOFTCELL_DATA is not set")
        pytest.skip("SOFTCELL_DATA is not set")
    path = Path(folder) / "cifar10_resnet20.safetensors"
    library = safetensors.numpy.load_file(path)
    with WeightsReader(path) as reader:
        assert set(reader.names) == set(library)
        assert sum(reader.info(name).size for name in reader.names) == 271_098
        for name, expected in library.items():
            np.testing.assert_array_equal(reader.read(name), expected)
