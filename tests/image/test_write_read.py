"""Networks to images, chips and back: every type, odd shapes, failures that are reported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from drawn import normal
from softcell.allocate.plan import make_plan
from softcell.devices import parse_device
from softcell.errors import DecodingError, InputError
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.weights import StateDictWeights, TensorInfo, WeightsWriter

TEN_YEARS = 10 * 365.25 * 86_400


def store(state, tmp_path, scheme="int8", device="pcm-partial-reset", cells=None, age=0.0):
    weights = StateDictWeights(state)
    if scheme not in ("float32", "float16", "int8") and cells is None:
        cells = 3.0
    plan = make_plan(weights, parse_device(device), scheme, cells_per_weight=cells, age_seconds=age)
    write_image(weights, plan, tmp_path / "x.cells")
    return tmp_path / "x.cells"


def read_back(path, *, seed=1, age=0.0):
    with CellImage(path) as image:
        restoration = Restoration(image, SimulatedChip(image, seed=seed, age_seconds=age))
        return dict(restoration.tensors()), restoration.report


ODD_FLOATS = np.array([-0.0, 0.0, 1e-45, -1e-40, 3.4e38, -3.4e38, 1.0, 2**-126], np.float32)
EVERY_TYPE = {
    "float32": normal(5, 7),
    "odd": ODD_FLOATS,
    "odd_matrix": ODD_FLOATS.reshape(2, 4),
    "float16": normal(3, 4).astype(np.float16),
    "bfloat16": torch.from_numpy(normal(4, 3)).to(torch.bfloat16),
    "float64": normal(3, 3).astype(np.float64),
    "int64": np.array([[-(2**62), 7]]),
    "int8": np.array([-128, 127], np.int8),
    "uint16": np.array([65_535, 0], np.uint16),
    "flags": np.array([[True, False], [False, True]]),
    "scalar": np.array(-2.5, np.float32),
    "count": np.array(12),
    "empty": np.zeros((3, 0, 2), np.float32),
    "empty_count": np.zeros(0, np.int64),
}


def as_numpy(value):
    return value.float().numpy() if isinstance(value, torch.Tensor) else value


def test_float32_restores_every_type_bit_for_bit(tmp_path):
    restored, report = read_back(store(EVERY_TYPE, tmp_path, "float32"))
    assert list(restored) == list(EVERY_TYPE)
    for name, value in EVERY_TYPE.items():
        expected = as_numpy(value)
        if expected.dtype.kind == "f":
            expected = expected.astype(np.float32)
        assert restored[name].dtype == expected.dtype
        assert restored[name].shape == expected.shape
        assert restored[name].tobytes() == expected.tobytes()
    assert report.failed == 0
    assert report.frames > 0


def test_float16_and_int8_restore_as_specified(tmp_path):
    state = {**EVERY_TYPE, "odd": normal(8) * 1e-3, "odd_matrix": normal(2, 4)}
    halves, _ = read_back(store(state, tmp_path, "float16"))
    bytes_, _ = read_back(store(state, tmp_path, "int8"))
    for name, value in state.items():
        exact = as_numpy(value)
        if exact.dtype.kind != "f":
            assert (halves[name] == exact).all()
            assert (bytes_[name] == exact).all()
            continue
        exact = exact.astype(np.float32)
        half = exact.astype(np.float16).astype(np.float32)
        assert (halves[name] == half).all()
        if exact.ndim < 2:
            # Vectors keep their precision: float16 unless that is too small or too coarse.
            kept = half if name in ("scalar", "odd_small") else bytes_[name]
            assert (bytes_[name] == kept).all()
            np.testing.assert_allclose(bytes_[name], exact, rtol=2**-11)
        elif exact.size:
            rows = exact.reshape(len(exact), -1)
            step = np.abs(rows).max(axis=1, keepdims=True) / 127 * (1 + 2**-7)
            assert (np.abs(bytes_[name].reshape(rows.shape) - rows) <= step / 2 + 1e-7).all()


@pytest.mark.parametrize("scheme", ["float32", "int8", "naive", "combined"])
@pytest.mark.parametrize(
    "state",
    [
        {"a": normal(1, 1)},
        {"a": np.zeros((4, 4), np.float32)},
        {"a": np.full((4, 40), -0.5, np.float32)},
        {"a": np.array(1.5, np.float32)},
        {"a": normal(3)},
        {"a": normal(1, 3000)},
        {"a": normal(3000, 1)},
        {"a": normal(4, 5) * np.float32(1e-30), "b": normal(4, 50) * np.float32(1e30)},
        {"a": normal(4, 5) * np.float32(1e-44), "b": normal(4, 5) * np.float32(8e37)},
        {"empty": np.zeros((0, 4), np.float32), "b": normal(2, 2)},
        {"weird / name é\n": normal(3, 3)},
    ],
)
def test_odd_networks(state, scheme, tmp_path):
    restored, report = read_back(store(state, tmp_path, scheme, cells=16.0))
    assert report.failed == 0
    for name, value in state.items():
        assert restored[name].shape == value.shape
        assert np.isfinite(restored[name]).all()
        if scheme == "float32":
            assert restored[name].tobytes() == value.tobytes()
        elif value.size:
            largest = float(np.abs(value).max())
            tolerance = {"int8": 0.005, "naive": 2.01, "combined": 0.5}[scheme] * largest
            assert np.abs(restored[name].astype(float) - value).max() <= tolerance + 1e-40


def test_a_network_of_zeros_and_a_constant_one_come_back(tmp_path):
    state = {"zeros": np.zeros((20, 30), np.float32), "ones": np.ones((20, 30), np.float32)}
    restored, _ = read_back(store(state, tmp_path, "combined", cells=6.0))
    assert (restored["zeros"] == 0).all()
    assert np.abs(restored["ones"].mean() - 1) < 0.02
    assert np.abs(restored["ones"] - 1).max() < 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("scheme", ["combined", "float32"])
def test_weights_that_are_not_finite_leave_no_file(bad, scheme, tmp_path):
    state = {"a": normal(3, 3), "b": np.array([[1.0, bad]], np.float32)}
    with pytest.raises(InputError, match="'b' holds 1 weights that are NaN or infinite"):
        store(state, tmp_path, scheme)
    assert list(tmp_path.iterdir()) == []


def test_ranges_never_leave_the_tensors_own_type(tmp_path):
    """A range ends above the largest weight; in float16 that may already be infinity."""
    state = {
        "half": (normal(40, 40) * 15_000).clip(-65_504, 65_504).astype(np.float16),
        "brain": torch.from_numpy(normal(40, 40).clip(-3.38, 3.38) * 1e38).bfloat16(),
    }
    state["half"][0, 0] = 65_504
    for scheme in ("naive", "combined", "int8"):
        restored, _ = read_back(store(state, tmp_path, scheme))
        assert np.abs(restored["half"]).max() <= 65_504
        brain = torch.from_numpy(restored["brain"]).bfloat16()
        assert bool(torch.isfinite(brain).all())


def test_chips_differ_and_ageing_costs(tmp_path):
    state = {"a": normal(60, 200)}
    path = store(state, tmp_path, "inversion+sign+adaptive", "pcm-mushroom", age=TEN_YEARS)
    error = {
        (seed, age): float(np.mean((read_back(path, seed=seed, age=age)[0]["a"] - state["a"]) ** 2))
        for seed in (1, 2)
        for age in (0.0, TEN_YEARS)
    }
    assert error[1, 0.0] != error[2, 0.0]
    assert error[1, 0.0] == pytest.approx(error[2, 0.0], rel=0.1)
    assert error[1, TEN_YEARS] > 1.5 * error[1, 0.0]


# Failure is reported, never hidden


@pytest.mark.parametrize("scheme", ["float32", "float16", "int8"])
def test_cells_read_too_late_are_reported_as_failed(scheme, tmp_path):
    state = {
        "a": normal(100, 100),
        "half": normal(100, 10).astype(np.float16),
        "brain": torch.from_numpy(normal(100, 10)).bfloat16(),
    }
    path = store(state, tmp_path, scheme, "pcm-mushroom")
    restored, report = read_back(path)
    assert report.failed == 0
    late, told = read_back(path, age=TEN_YEARS)
    assert told.failed > 0.5 * told.frames == 0.5 * report.frames
    for name in state:
        assert np.isfinite(late[name]).all()
        assert (late[name] != restored[name]).any()
    assert np.abs(late["half"]).max() <= 65_504


def test_lost_side_information_is_an_error_in_one_line(tmp_path):
    state = {"a": normal(100, 100) * (normal(100, 100, seed=1) > 0)}
    path = store(state, tmp_path, "combined", "pcm-mushroom")
    with pytest.raises(DecodingError) as told:
        read_back(path, age=TEN_YEARS)
    assert "\n" not in str(told.value)
    assert "side information of tensor 'a' is lost" in str(told.value)
    assert "of its code words failed" in str(told.value)


def test_the_same_cells_hold_for_ten_years_when_planned_for_them(tmp_path):
    state = {"a": normal(100, 100) * (normal(100, 100, seed=1) > 0)}
    path = store(state, tmp_path, "combined", "pcm-mushroom", age=TEN_YEARS)
    restored, report = read_back(path, age=TEN_YEARS)
    assert (report.failed, report.corrected > 0) == (0, True)
    assert (np.sign(restored["a"]) * np.sign(state["a"]) >= 0).all()


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_must_be_positive(threads, tmp_path):
    path = store({"a": normal(3, 3)}, tmp_path)
    with (
        CellImage(path) as image,
        pytest.raises(InputError, match="at least 1 thread"),
    ):
        Restoration(image, SimulatedChip(image, seed=0), threads=threads)


@pytest.mark.parametrize(
    "options",
    [
        {"seed": -1},
        {"seed": 1.5},
        {"seed": 2**63},
        {"seed": 0, "age_seconds": -1.0},
        {"seed": 0, "age_seconds": float("nan")},
    ],
)
def test_bad_chips_are_refused_at_once(options, tmp_path):
    with CellImage(store({"a": normal(3, 3)}, tmp_path)) as image, pytest.raises(InputError):
        SimulatedChip(image, **options)


# Memory

MEASURE = """
import resource, sys
import softcell
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
options = {"cells_per_weight": 2.0} if sys.argv[3] == "combined" else {}
softcell.write(sys.argv[1], sys.argv[2], scheme=sys.argv[3], **options)
softcell.restore(sys.argv[2], sys.argv[2] + ".safetensors", seed=1)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) / (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["combined", "int8", "float32"])
def test_memory_is_that_of_a_few_tensors(scheme, tmp_path):
    """Four tensors of 32 MB: peak memory stays at a few of them, for the file of any length."""
    infos = [TensorInfo(f"t{i}", (2000, 4000), "F32") for i in range(4)]
    with WeightsWriter(tmp_path / "big.safetensors", infos) as writer:
        for i, info in enumerate(infos):
            writer.write(info.name, normal(*info.shape, seed=i))
    arguments = [str(tmp_path / "big.safetensors"), str(tmp_path / "x.cells"), scheme]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, check=True
    )
    megabytes = float(done.stdout.split()[-1])
    assert megabytes < 300
    assert Path(arguments[1] + ".safetensors").stat().st_size > 4 * 32e6
