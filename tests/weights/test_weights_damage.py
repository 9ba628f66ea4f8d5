"""Files that claim to be safetensors and are not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from softcell.errors import FormatError, InputError
from softcell.weights.safetensors_file import WeightsReader, parse_weights


def write(path: Path, header: str | bytes | dict, nbytes: int) -> Path:
    if isinstance(header, dict):
        header = json.dumps(header)
    text = header.encode() if isinstance(header, str) else header
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(nbytes))
    return path


def entry(first: int, last: int, shape: object = None, dtype: object = "F32") -> dict:
    shape = [(last - first) // 4] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


def test_the_frame_used_below_is_valid(tmp_path: Path):
    path = write(tmp_path / "a", {"b": entry(4, 8), "a": entry(0, 4), "e": entry(4, 4)}, 8)
    with WeightsReader(path) as reader:
        assert reader.names == ("a", "e", "b")
    with WeightsReader(write(tmp_path / "a", "{}", 0)) as reader:
        assert reader.names == ()


@pytest.mark.parametrize(
    ("header", "nbytes", "message"),
    [
        (f'{{"a":{json.dumps(entry(0, 4))},"a":{json.dumps(entry(0, 4))}}}', 4, "'a' occurs twice"),
        (f'{{"a":{json.dumps(entry(0, 4))},"a":{json.dumps(entry(4, 8))}}}', 8, "'a' occurs twice"),
        ('{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}', 4, "twice"),
        ({"a": entry(0, 8), "b": entry(4, 12)}, 12, "'b' overlaps"),
        ({"a": entry(0, 4), "b": entry(0, 4)}, 4, "'b' overlaps"),
        ({"a": entry(4, 8)}, 8, "'a' leaves a gap"),
        ({"a": entry(0, 4), "b": entry(8, 12)}, 12, "'b' leaves a gap"),
        ({"a": entry(0, 8)}, 7, "is truncated"),
        ({"a": entry(0, 8)}, 9, "longer than its tensors"),
        ({"a": entry(0, 4, [2])}, 4, "'a' of 8 bytes has data_offsets 0 to 4"),
        ({"a": entry(-4, 0, [1])}, 0, "data_offsets -4 to 0"),
        ({"a": entry(4, 0, [])}, 4, "data_offsets 4 to 0"),
        ({"a": entry(0, 4, [-1])}, 4, "not made of counts"),
        ({"a": entry(0, 4, [True])}, 4, "not made of counts"),
        ({"a": entry(0, 4, [1.0])}, 4, "not made of counts"),
        ({"a": entry(0, 4, "1")}, 4, "shape '1'"),
        ({"a": entry(0, 4, [1], "F31")}, 4, "'F31' is none of"),
        ({"a": entry(0, 4, [1], 32)}, 4, "dtype 32"),
        ({"a": {"dtype": "F32", "shape": [1]}}, 4, "needs dtype, shape and data_offsets"),
        ({"a": entry(0, 4) | {"data_offsets": [0, 4, 8]}}, 4, "has data_offsets"),
        ({"a": entry(0, 4) | {"data_offsets": [0.0, 4]}}, 4, "has data_offsets"),
        ({"a": 3}, 4, "needs dtype, shape and data_offsets"),
        ({"__metadata__": {"seed": 3}}, 0, "does not map text to text"),
        ({"__metadata__": []}, 0, "does not map text to text"),
        ("[]", 0, "not a JSON object"),
        ('{"a":NaN}', 0, "NaN is not JSON"),
        (b'{"\xff":3}', 0, "not a safetensors header"),
        ("[" * 100_000, 0, "not a safetensors header"),
        ('{"a":' + "9" * 5000 + "}", 0, "not a safetensors header"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(
    tmp_path: Path, header: str | bytes | dict, nbytes: int, message: str
):
    path = write(tmp_path / "a", header, nbytes)
    with pytest.raises(FormatError, match=message) as caught:
        WeightsReader(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_every_truncation_is_found(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"a": np.ones(5, np.float32), "b": np.ones(1, np.int8)}, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"model\.safetensors"):
            WeightsReader(path)


def test_a_file_that_shrinks_while_it_is_open_is_found(tmp_path: Path):
    path = tmp_path / "a"
    safetensors.numpy.save_file({"a": np.ones(50_000, np.float32)}, path)
    with WeightsReader(path) as reader:
        path.write_bytes(path.read_bytes()[:100_000])
        with pytest.raises(FormatError, match="ends at byte 100000"):
            reader.read("a")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["model.pt", "model.bin", "model"])
def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path: Path, name: str, legacy: bool):
    path = tmp_path / name
    torch.save({"a": torch.ones(300)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(
        InputError, match=r"never opened; convert .*save_file\(torch.load"
    ) as caught:
        parse_weights(str(path))
    assert "\n" not in str(caught.value)
    assert '"model.safetensors"' in str(caught.value)


def test_safetensors_under_any_name_are_read(tmp_path: Path):
    path = tmp_path / "model.bin"
    # 640 = 0x0280, so that the file begins as a pickle would.
    text = json.dumps({"a": entry(0, 4)}).ljust(640)
    write(path, text, 4)
    assert path.read_bytes().startswith(b"\x80\x02")
    with WeightsReader(path) as reader:
        assert reader.read("a").tolist() == [0.0]


@pytest.mark.parametrize("content", [b"", b"no", b"\x89HDF\r\n\x1a\n" + bytes(64), bytes(64)])
def test_other_files_are_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"empty|not a safetensors file"):
        WeightsReader(path)
    for absent in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="is not a file"):
            parse_weights(absent)
