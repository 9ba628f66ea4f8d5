"""The public functions, on files, NumPy arrays and torch modules."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from torch import nn

import softcell
from drawn import normal
from softcell.errors import FormatError, InfeasibleError, InputError, SoftcellError
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.weights import WeightsReader

STATE = {"a": normal(20, 50), "bias": normal(20), "steps": np.array(3)}


@pytest.fixture
def module():
    """A network of every kind of tensor, whose outputs follow its weights."""
    torch_generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
    for parameter in net.parameters():
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=torch_generator))
    return net.eval()


def test_write_and_read_a_module(module, tmp_path):
    header = softcell.write(module.state_dict(), tmp_path / "x.cells", scheme="int8")
    assert header.weights == sum(v.numel() for v in module.state_dict().values())
    restored = softcell.read(tmp_path / "x.cells", seed=3)
    assert restored.keys() == module.state_dict().keys()
    module.load_state_dict({n: torch.from_numpy(v) for n, v in restored.items()})
    assert restored["1.num_batches_tracked"].dtype == np.int64


def test_writing_again_and_reading_with_any_threads_gives_the_same(tmp_path):
    options = {"device": "pcm-mushroom", "cells_per_weight": 3.0, "age": "1d"}
    softcell.write(STATE, tmp_path / "a.cells", **options)
    softcell.write(STATE, str(tmp_path / "b.cells"), **options)
    assert (tmp_path / "a.cells").read_bytes() == (tmp_path / "b.cells").read_bytes()
    one = softcell.read(tmp_path / "a.cells", seed=7, age="1h", threads=1)
    for other in (
        softcell.read(str(tmp_path / "b.cells"), seed=7, age=3600, threads=3),
        softcell.read(tmp_path / "a.cells", seed=7, age="60m"),
    ):
        assert all((one[name] == other[name]).all() for name in STATE)
    assert (one["a"] != softcell.read(tmp_path / "a.cells", seed=8, age="1h")["a"]).any()


def test_a_file_and_its_tensors_are_stored_alike(tmp_path):
    tensors = {
        "z": torch.from_numpy(normal(6, 8)),
        "a": torch.from_numpy(normal(6, 8)).bfloat16(),
        "h": torch.from_numpy(normal(5)).half(),
    }
    save_file(tensors, tmp_path / "x.safetensors")
    with WeightsReader(tmp_path / "x.safetensors") as reader:
        order = reader.names
    softcell.write(tmp_path / "x.safetensors", tmp_path / "file.cells", scheme="float32")
    softcell.write({n: tensors[n] for n in order}, tmp_path / "dict.cells", scheme="float32")
    assert (tmp_path / "file.cells").read_bytes() == (tmp_path / "dict.cells").read_bytes()


@pytest.mark.parametrize("scheme", ["float32", "int8", "combined"])
def test_restore_keeps_every_type(scheme, tmp_path):
    tensors = {
        "single": torch.from_numpy(normal(8, 30)),
        "half": torch.from_numpy(normal(8, 30)).half(),
        "brain": torch.from_numpy(normal(8, 30)).bfloat16(),
        "double": torch.from_numpy(normal(8, 30)).double(),
        "count": torch.tensor([[1, 2**40]]),
        "flags": torch.tensor([True, False]),
        "scalar": torch.tensor(0.5),
        "empty": torch.zeros(0, 3),
    }
    save_file(tensors, tmp_path / "x.safetensors")
    cells = 4.0 if scheme == "combined" else None
    softcell.write(
        tmp_path / "x.safetensors", tmp_path / "x.cells", scheme=scheme, cells_per_weight=cells
    )
    report = softcell.restore(tmp_path / "x.cells", tmp_path / "y.safetensors", seed=1)
    assert report.failed == 0
    with WeightsReader(tmp_path / "y.safetensors") as after:
        for name, tensor in tensors.items():
            values = after.read(name)
            assert values.shape == tuple(tensor.shape)
            wide = tensor.to(torch.float32).numpy()
            if scheme == "float32" or not tensor.is_floating_point():
                assert (values == wide).all() or (values == tensor.numpy()).all()
            elif tensor.numel():
                assert np.abs(values - wide).max() < (0.02 if scheme == "int8" else 2.0)
        with WeightsReader(tmp_path / "x.safetensors") as before:
            assert {n: after.info(n) for n in after.names} == {
                n: before.info(n) for n in before.names
            }


def test_restore_equals_read_and_leaves_nothing_on_failure(tmp_path):
    softcell.write(STATE, tmp_path / "x.cells", cells_per_weight=3.0)
    softcell.restore(tmp_path / "x.cells", tmp_path / "y.safetensors", seed=5, threads=2)
    expected = softcell.read(tmp_path / "x.cells", seed=5)
    for name, values in load_file(tmp_path / "y.safetensors").items():
        assert (values == expected[name]).all()
    content = bytearray((tmp_path / "x.cells").read_bytes())
    content[40] ^= 1
    (tmp_path / "bad.cells").write_bytes(content)
    with pytest.raises(FormatError):
        softcell.restore(tmp_path / "bad.cells", tmp_path / "z.safetensors")
    with pytest.raises(FormatError):
        softcell.read(tmp_path / "bad.cells")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"x.cells", "y.safetensors", "bad.cells"}


def test_restore_from_measured_readings(tmp_path):
    softcell.write(STATE, tmp_path / "x.cells", scheme="int8")
    with CellImage(tmp_path / "x.cells") as image:
        chip = SimulatedChip(image, seed=9)
        log_ohm = np.concatenate([chip.read(r, 0, r.cells) for r in image.regions()])
    np.save(tmp_path / "chip.npy", 10.0 ** log_ohm.astype(np.float64))
    softcell.restore(
        tmp_path / "x.cells", tmp_path / "y.safetensors", readings=tmp_path / "chip.npy"
    )
    expected = softcell.read(tmp_path / "x.cells", seed=9)
    for name, values in load_file(tmp_path / "y.safetensors").items():
        assert (values == expected[name]).all()


# compare


def test_compare_gives_torch_tensors_to_torch_users(module, tmp_path):
    images = torch.from_numpy(normal(64, 12))
    with torch.no_grad():
        labels = module(images).argmax(dim=1)
    seen = []

    def evaluate(state):
        seen.append({name: (type(v), v.dtype, v.shape) for name, v in state.items()})
        copy = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
        copy.load_state_dict(state)
        with torch.no_grad():
            return float((copy.eval()(images).argmax(dim=1) == labels).float().mean())

    results = list(
        softcell.compare(
            module.state_dict(),
            evaluate,
            schemes=("float32", "int8", "naive", "combined"),
            cells_per_weight=(6.0,),
            seeds=2,
        )
    )
    expected = {n: (torch.Tensor, v.dtype, v.shape) for n, v in module.state_dict().items()}
    assert all(told == expected for told in seen)
    exact, byte, naive, combined = results
    assert exact.float_accuracy == exact.accuracy_mean == 1.0
    assert byte.accuracy_mean > 0.9
    assert naive.accuracy_mean < combined.accuracy_mean


def test_the_function_may_overwrite_what_it_was_given(module):
    """A state dict shares the memory of its module, into which a function loads what it gets."""
    inputs = torch.randn(64, 12, generator=torch.Generator().manual_seed(1))
    answers = module(inputs).argmax(1)

    def measured(loaded):
        def evaluate(state):
            loaded.load_state_dict(state)
            return float((loaded(inputs).argmax(1) == answers).float().mean())

        state = module.state_dict()
        options = {"schemes": ["naive", "int8"], "cells_per_weight": [6], "seeds": 1}
        accuracies = [r.accuracy_mean for r in softcell.compare(state, evaluate, **options)]
        loaded.load_state_dict(given)
        options = {"module": module, "inputs": inputs, "max_drop": 0.05, "seeds": 1}
        found = softcell.optimise(state, evaluate=evaluate, **options)
        loaded.load_state_dict(given)
        return accuracies, found.best

    given = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    apart = measured(deepcopy(module))
    assert apart[0][0] < apart[0][1] == 1
    assert measured(module) == apart


def test_compare_counts_the_networks_own_formats(tmp_path):
    """bfloat16 weights take half of float32's cells, from tensors and from their file alike."""
    tensors = {"a": torch.from_numpy(normal(40, 50)).bfloat16(), "n": torch.tensor(1)}
    save_file(tensors, tmp_path / "x.safetensors")
    header = softcell.write(tensors, tmp_path / "x.cells", scheme="float32")
    seen = []

    def evaluate(state):
        seen.append(state["a"].dtype)
        return 1.0

    options = {"schemes": ["float32"], "seeds": 1}
    (of_tensors,) = softcell.compare(tensors, evaluate, **options)
    (of_file,) = softcell.compare(tmp_path / "x.safetensors", evaluate, **options)
    assert of_tensors.cells_per_weight == of_file.cells_per_weight == header.cells_per_weight < 9
    assert seen == [torch.bfloat16, np.float32]


def test_compare_on_arrays_and_mixed_dicts():
    mixed = {"a": torch.from_numpy(normal(20, 30)), "b": normal(5, 5)}
    kinds = []

    def evaluate(state):
        kinds.append({name: type(v) for name, v in state.items()})
        return 0.5

    list(softcell.compare(mixed, evaluate, schemes=["int8"], seeds=1))
    list(softcell.compare({"b": normal(5, 5)}, evaluate, schemes=["int8"], seeds=1))
    assert kinds[0] == {"a": torch.Tensor, "b": np.ndarray}
    assert kinds[-1] == {"b": np.ndarray}


def test_compare_checks_its_arguments_at_once():
    with pytest.raises(InputError, match="unknown device"):
        softcell.compare(STATE, lambda s: 1.0, device="tape")
    with pytest.raises(InputError, match="expected an age"):
        softcell.compare(STATE, lambda s: 1.0, age="old")
    with pytest.raises(InputError, match="expected a safetensors file or a state dict"):
        softcell.compare(3, lambda s: 1.0)


# What goes wrong


def test_every_mistake_is_one_line(tmp_path):
    good = tmp_path / "x.cells"
    softcell.write(STATE, good, scheme="int8")
    wrong = {"a": np.array([[np.nan]], np.float32)}
    for work in (
        lambda: softcell.write(tmp_path / "missing.safetensors", tmp_path / "y.cells"),
        lambda: softcell.write(good, tmp_path / "y.cells"),
        lambda: softcell.write({}, tmp_path / "y.cells", scheme="int8"),
        lambda: softcell.write({"a": "text"}, tmp_path / "y.cells", scheme="int8"),
        lambda: softcell.write({3: normal(2, 2)}, tmp_path / "y.cells", scheme="int8"),
        lambda: softcell.write(wrong, tmp_path / "y.cells", scheme="int8"),
        lambda: softcell.write(STATE, tmp_path / "y.cells"),
        lambda: softcell.write(STATE, tmp_path / "y.cells", cells_per_weight=0.5),
        lambda: softcell.write(STATE, tmp_path / "y.cells", scheme="best"),
        lambda: softcell.write(STATE, tmp_path / "y.cells", scheme="int8", device="tape"),
        lambda: softcell.write(STATE, tmp_path / "y.cells", scheme="int8", age="old"),
        lambda: softcell.write(STATE, tmp_path / "no" / "y.cells", scheme="int8"),
        lambda: softcell.write(STATE, tmp_path, scheme="int8"),
        lambda: softcell.write(
            STATE, tmp_path / "y.cells", cells_per_weight=2, sensitivity={"a": np.ones(3)}
        ),
        lambda: softcell.read(tmp_path / "missing.cells"),
        lambda: softcell.read(good, seed=-1),
        lambda: softcell.read(good, age=-1),
        lambda: softcell.read(good, threads=0),
        lambda: softcell.restore(good, tmp_path / "no" / "y.safetensors"),
        lambda: softcell.restore(good, tmp_path / "y.safetensors", readings=tmp_path / "z.npy"),
    ):
        with pytest.raises(SoftcellError) as told:
            work()
        assert "\n" not in str(told.value)
    with pytest.raises(InfeasibleError):
        softcell.write(STATE, tmp_path / "y.cells", scheme="int8", device="gaussian:snr_db=-15")
    assert [path.name for path in tmp_path.iterdir()] == ["x.cells"]


def test_progress_is_told_all_the_way(tmp_path):
    seen = []

    def progress(what, done, total):
        seen.append(what)
        assert 1 <= done <= total

    softcell.write(STATE, tmp_path / "x.cells", cells_per_weight=2.0, progress=progress)
    softcell.restore(tmp_path / "x.cells", tmp_path / "y.safetensors", progress=progress)
    assert list(dict.fromkeys(seen)) == ["survey", "ranges", "write", "read"]
