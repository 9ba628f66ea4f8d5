import os

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from softcell.errors import FormatError, InputError
from softcell.weights import WeightsReader
from softcell.weights.tensor_file import digest, read_tensors, write_tensors

TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.zeros((), np.int64)}


def test_arrays_and_texts_come_back(tmp_path):
    path = tmp_path / "new" / "folder" / "x.safetensors"
    write_tensors(path, TENSORS, {"recipe": "r"})
    tensors, metadata = read_tensors(path)
    assert metadata == {"recipe": "r"}
    assert set(tensors) == {"a", "b"}
    np.testing.assert_array_equal(tensors["a"], TENSORS["a"])
    assert tensors["b"].dtype == np.int64
    # Another reader understands it, and nothing temporary is left.
    np.testing.assert_array_equal(load_file(path)["a"], TENSORS["a"])
    assert list(path.parent.iterdir()) == [path]


def test_files_of_others_need_no_checksum(tmp_path):
    save_file({"w": np.ones(3, np.float32)}, tmp_path / "x", metadata={"arch": "n"})
    tensors, metadata = read_tensors(tmp_path / "x")
    assert metadata == {"arch": "n"}
    np.testing.assert_array_equal(tensors["w"], np.ones(3))


@pytest.mark.parametrize("damage", ["cut", "bit", "text"])
def test_damage_is_found(tmp_path, damage):
    path = tmp_path / "x"
    write_tensors(path, TENSORS, {})
    contents = bytearray(path.read_bytes())
    if damage == "cut":
        contents = contents[:-3]
    elif damage == "bit":
        contents[-1] ^= 1
    else:
        contents = bytearray(b"these are no tensors, only words")
    path.write_bytes(contents)
    with pytest.raises(FormatError, match="x"):
        read_tensors(path)


def test_what_cannot_be_written_or_read_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="folder"):
        write_tensors(tmp_path / "file" / "x", TENSORS, {})
    with pytest.raises(InputError, match="is not a file"):
        read_tensors(tmp_path / "absent")


def test_the_digest_sees_name_type_shape_and_value():
    variants = [
        {"a": np.zeros(4, np.float32)},
        {"b": np.zeros(4, np.float32)},
        {"a": np.zeros(4, np.int32)},
        {"a": np.zeros((2, 2), np.float32)},
        {"a": np.array([0, 0, 0, 1], np.float32)},
    ]
    assert len({digest(v) for v in variants}) == len(variants)
    assert digest({"a": np.zeros(1), "b": np.ones(1)}) == digest(
        {"b": np.ones(1), "a": np.zeros(1)}
    )


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [(torch.bfloat16, np.float32), (torch.float16, np.float16), (torch.bool, np.bool_)],
)
def test_files_of_others_are_read_in_types_that_numpy_has(tmp_path, dtype, kept):
    values = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).to(dtype)
    save_torch({"w": values, "n": torch.tensor(3)}, tmp_path / "a", metadata={"who": "us"})
    tensors, metadata = read_tensors(tmp_path / "a")
    assert tensors["w"].dtype == kept
    assert tensors["w"].tolist() == values.float().tolist()
    assert tensors["n"] == 3
    assert metadata == {"who": "us"}


def test_types_that_numpy_lacks_are_told_with_file_and_tensor(tmp_path):
    save_torch({"w": torch.ones(2).to(torch.float8_e4m3fn)}, tmp_path / "a")
    with pytest.raises(InputError, match=r"a: tensor 'w' is F8_E4M3; expected"):
        read_tensors(tmp_path / "a")


def test_a_file_that_is_cut_while_it_is_read_is_told(tmp_path, monkeypatch):
    write_tensors(tmp_path / "a", {"a": np.ones(5_000), "b": np.ones(50_000)}, {})
    read = WeightsReader.read

    def cut_after(self, name):
        os.truncate(tmp_path / "a", 60_000)
        return read(self, name)

    monkeypatch.setattr(WeightsReader, "read", cut_after)
    with pytest.raises(FormatError, match="ends at byte 60000"):
        read_tensors(tmp_path / "a")
