"""Writing weights tensor by tensor, against the safetensors library and torch."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from softcell.errors import InputError
from softcell.weights import tensor_values
from softcell.weights.safetensors_file import TensorInfo, WeightsReader, WeightsWriter


def tensors_of_mixed_formats() -> dict[str, torch.Tensor]:
    normal = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    return {
        "odd bytes": torch.tensor([1, 2, 255], dtype=torch.uint8),
        "f32": normal,
        "f16": normal.to(torch.float16),
        "bf16": normal.to(torch.bfloat16),
        "f64": normal.to(torch.float64) / 3,
        "bool": normal > 0,
        "i64": torch.tensor([-(1 << 63), -1, (1 << 63) - 1]),
        "skalar ä": torch.tensor(-2.5),
        "empty": torch.zeros(0, 3),
        "special": torch.tensor([torch.nan, torch.inf, -torch.inf, -0.0, 1e-45]),
    }


def copy(source: Path, target: Path) -> None:
    with WeightsReader(source) as reader:
        infos = [reader.info(name) for name in reader.names]
        with WeightsWriter(target, infos, reader.metadata) as writer:
            for name in reader.names:
                writer.write(name, reader.read(name))


def test_a_copy_loads_in_the_library_bit_for_bit(tmp_path: Path):
    tensors = tensors_of_mixed_formats()
    safetensors.torch.save_file(tensors, tmp_path / "model", metadata={"made": "by torch"})
    copy(tmp_path / "model", tmp_path / "copy")
    loaded = safetensors.torch.load_file(tmp_path / "copy")
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert loaded[name].shape == tensor.shape
        bits, expected = (t.reshape(-1).view(torch.uint8) for t in (loaded[name], tensor))
        assert torch.equal(bits, expected), name
    copy(tmp_path / "copy", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "copy").read_bytes()
    with safe_open(tmp_path / "copy", framework="pt") as library:
        assert library.metadata() == {"made": "by torch"}


def test_every_tensor_is_aligned_whatever_the_order(tmp_path: Path):
    infos = [
        TensorInfo("a", (3,), "U8"),
        TensorInfo("b", (2,), "F64"),
        TensorInfo("c", (1,), "F16"),
    ]
    with WeightsWriter(tmp_path / "a", infos) as writer:
        writer.write("a", np.array([1, 2, 3]))
        writer.write("b", np.array([4.0, 5.0]))
        writer.write("c", np.array([6.0], np.float32))
    data = (tmp_path / "a").read_bytes()
    assert data.index(np.array([4.0, 5.0]).tobytes()) % 8 == 0
    assert data.endswith(np.float16(6).tobytes() + b"\1\2\3")
    with WeightsReader(tmp_path / "a") as reader:
        assert reader.names == ("b", "c", "a")
        assert [reader.read(name).tolist() for name in "abc"] == [[1, 2, 3], [4.0, 5.0], [6.0]]


def test_every_bfloat16_is_read_exactly_and_written_back():
    bits = np.arange(1 << 16, dtype=np.uint16)
    tensor = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)
    values = tensor_values.decode(bits.view(np.uint8), "BF16", "a")
    expected = tensor.to(torch.float32).numpy()
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(np.signbit(values), np.signbit(expected))
    back = tensor_values.encode(values, "BF16", "a").view(np.uint16)
    number = ~np.isnan(values)
    np.testing.assert_array_equal(back[number], bits[number])
    np.testing.assert_array_equal(back[~number], bits[~number] | 0x40)


@pytest.mark.parametrize(("dtype", "other"), [("BF16", torch.bfloat16), ("F16", torch.float16)])
def test_rounding_is_that_of_torch_ties_included(dtype: str, other: torch.dtype):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 200_000, dtype=np.uint32)
    bits[::4] = bits[::4] & 0xFFFF0000 | 0x8000  # ties of bfloat16
    bits[1::4] = bits[1::4] & 0xFFFFE000 | 0x1000  # ties of float16
    values = bits.view(np.float32)
    cast = torch.from_numpy(values).to(other)
    held = ~(torch.isinf(cast).numpy() & np.isfinite(values))
    values, cast = values[held], cast[torch.from_numpy(held)]
    ours = tensor_values.encode(values, dtype, "a").view(np.uint16)
    theirs = cast.view(torch.int16).numpy().view(np.uint16)
    number = ~np.isnan(values)
    np.testing.assert_array_equal(ours[number], theirs[number])
    assert np.isnan(tensor_values.decode(ours[~number].view(np.uint8), dtype, "a")).all()
    assert number.sum() > 30_000


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        (np.array([1, 7e4], np.float32), "F16", "70000.0 is beyond the range of F16"),
        (np.array([3.4e38], np.float32), "BF16", "beyond the range of BF16"),
        (np.array([1e300]), "F32", "1e.300 is beyond the range of F32"),
        (np.array([-1]), "U64", "-1 is beyond the range of U64"),
        (np.array([1 << 63], np.uint64), "I64", "beyond the range of I64"),
        (np.array([128]), "I8", "128 is beyond the range of I8"),
        (np.array([1.0]), "I32", "cannot write float64 as I32; declare another dtype"),
        (np.array([1]), "F32", "cannot write int64 as F32; give float32"),
        (np.array([1]), "BOOL", "cannot write int64 as BOOL"),
        (np.array([1.0]), "BF16", "cannot write float64 as BF16; give float32"),
        (np.array([1.0]), "F8_E5M2", "cannot write float64 as F8_E5M2"),
    ],
)
def test_values_that_do_not_fit_leave_no_file(
    tmp_path: Path, values: np.ndarray, dtype: str, message: str
):
    def write() -> None:
        with WeightsWriter(tmp_path / "a", [TensorInfo("x", values.shape, dtype)]) as writer:
            writer.write("x", values)

    with pytest.raises(InputError, match=message):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([("b", 3)], "expected tensor 'a', got 'b'"),
        ([("a", 2)], r"'a': expected shape \(3,\), got \(2,\)"),
        ([("a", 3)], "tensor 'b' was not written"),
        ([("a", 3), ("b", 3), ("b", 3)], "expected no further tensor, got 'b'"),
    ],
)
def test_other_tensors_than_declared_leave_no_file(tmp_path: Path, given: list, message: str):
    def write() -> None:
        infos = [TensorInfo("a", (3,), "F32"), TensorInfo("b", (3,), "F32")]
        with WeightsWriter(tmp_path / "x", infos) as writer:
            for name, size in given:
                writer.write(name, np.zeros(size, np.float32))

    with pytest.raises(InputError, match=message):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [("__metadata__", (1,), "F32"), ("a", (-1,), "F32"), ("a", (1,), "float32"), ("a", (1,), "F4")],
)
def test_tensors_that_no_file_can_hold_are_refused(name: str, shape: tuple, dtype: str):
    with pytest.raises(InputError):
        TensorInfo(name, shape, dtype)


def test_equal_names_and_metadata_of_numbers_are_refused(tmp_path: Path):
    info = TensorInfo("a", (1,), "F32")
    with pytest.raises(InputError, match="same name"):
        WeightsWriter(tmp_path / "a", [info, info])
    with pytest.raises(InputError, match="text to text"):
        WeightsWriter(tmp_path / "a", [info], {"seed": 3})
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = WeightsWriter(tmp_path / "a", [TensorInfo("x", (1_000_000,), "F32")])
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(InputError, match="nothing was written"):
            writer.write("x", np.zeros(1_000_000, np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


# Memory

COPY = """
import sys
import numpy as np
from softcell.weights.safetensors_file import TensorInfo, WeightsReader, WeightsWriter

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024

folder, count, megabytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
infos = [TensorInfo(f"layer{i}", (megabytes, 1 << 18), "F32") for i in range(count)]
before = peak()
tensor = np.ones(infos[0].shape, np.float32)
with WeightsWriter(folder + "/a", infos) as writer:
    for info in infos:
        writer.write(info.name, tensor)
del tensor
with WeightsReader(folder + "/a") as reader, WeightsWriter(folder + "/b", infos) as writer:
    for name in reader.names:
        writer.write(name, reader.read(name))
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_copying_takes_the_memory_of_one_tensor(tmp_path: Path):
    run = subprocess.run(
        [sys.executable, "-c", COPY, str(tmp_path), "10", "16"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 16 <= int(run.stdout) < 40
