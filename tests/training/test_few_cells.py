from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from softcell.devices import parse_device
from softcell.durations import Ages
from softcell.errors import InputError
from softcell.evaluate.tasks import load_task
from softcell.training import few_cells
from softcell.training.settings import FewCells, settings_for
from softcell.training.start import start_of
from softcell.training.task_network import task_problem, train_task
from softcell.training.trained_network import TrainedNetwork, trained_network
from softcell.training.training_log import left_files

DEVICE = parse_device("pcm-partial-reset")
NOW = Ages(0.0, 0.0)


@pytest.fixture(scope="module")
def digits():
    return load_task("digits", "cnn")


def trained(task, settings, **options):
    named = {"name": "small", "command": "softcell train"}
    return train_task(task, DEVICE, settings, **named, **options)


def test_a_network_ends_at_its_number_of_cells(digits, tmp_path):
    lines = []
    network = trained(digits, settings_for("digits", 0.8, epochs=12), told=lines.append)
    assert 0.6 < network.plan.target < 0.82
    assert digits.evaluate(network.state) > 0.93
    assert tuple(lines) == network.log
    assert lines[0].startswith("start: ")
    # It starts at some more.
    assert float(lines[0].split()[1]) == pytest.approx(1.04, rel=0.05)
    again = TrainedNetwork.load(network.save(tmp_path))
    for name, values in network.state.items():
        np.testing.assert_array_equal(again.state[name], values)


def test_an_interrupted_run_ends_as_another(digits, tmp_path, monkeypatch):
    often = partial(few_cells.StoredTraining, checkpoint_every=100)
    monkeypatch.setattr(few_cells, "StoredTraining", often)
    settings = settings_for("digits", 2.0, epochs=3, above=0.0)
    whole = trained(digits, settings, seed=5)
    path = tmp_path / "checkpoint.safetensors"

    class StopError(Exception):
        pass

    def stop(what, done, total):
        if what == "training steps" and path.exists():
            raise StopError

    lines = []

    with pytest.raises(StopError):
        trained(digits, settings, seed=5, checkpoint=path, progress=stop, told=lines.append)
    assert len(lines) > 2
    assert len(left_files(path)) == 2
    resumed = trained(digits, settings, seed=5, checkpoint=path, resume=True)
    # The log, too, is of the whole training.
    assert resumed.log[: len(lines)] == tuple(lines)
    assert resumed.log[len(lines)].startswith("resumed after")
    assert resumed.log[-1] == whole.log[-1]
    for name, values in whole.state.items():
        np.testing.assert_array_equal(resumed.state[name], values)
    with pytest.raises(InputError, match="another training"):
        trained(digits, settings, seed=6, checkpoint=path, resume=True)
    other = replace(settings, temperature=3.0)
    with pytest.raises(InputError, match="another training"):
        trained(digits, other, seed=5, checkpoint=path, resume=True)


def test_vectors_learn_to_live_with_written_matrices(digits, tmp_path):
    settings = FewCells(1.2, epochs=3, batch=64, plans=2, mix=0.25)
    problem = task_problem(digits, settings)
    begun = start_of(problem, DEVICE, NOW, settings, given=problem.state)
    network = trained(digits, settings)
    assert begun.cells <= 1.2
    assert network.plan.target == pytest.approx(begun.cells, rel=0.02)
    for name, values in begun.latent.items():
        same = np.array_equal(network.state[name], values)
        assert same == (values.ndim > 1 or "running" in name), name
    assert digits.evaluate(network.state) >= digits.evaluate(begun.latent) - 0.01
    # Weights on the paths of a trellis are kept to the bit.
    assert begun.states == 8
    again = TrainedNetwork.load(network.save(tmp_path))
    for name, values in network.state.items():
        np.testing.assert_array_equal(again.state[name], values)


def test_training_goes_on_from_a_trained_network(digits, tmp_path):
    settings = FewCells(1.2, epochs=2, batch=64, plans=1, mix=0.25)
    first = trained(digits, settings)
    path = tmp_path / "checkpoint.safetensors"
    kept = {"checkpoint": path, "source": TrainedNetwork.load(first.save(tmp_path))}
    second = trained(digits, settings, **kept)
    assert second.plan.target == pytest.approx(first.plan.target, rel=1e-3)
    for name, values in first.state.items():
        same = np.array_equal(second.state[name], values)
        assert same == (values.ndim > 1 or "running" in name), name
    assert second.log[: len(first.log)] == first.log
    assert second.log[len(first.log)].startswith("on from")
    # It begins with what the first has learnt.
    losses = [float(line.split("loss ")[1]) for line in second.log if "of 2" in line]
    assert losses[2] < losses[0]
    with pytest.raises(InputError, match="another training"):
        trained(digits, settings, **kept | {"source": second}, resume=True)
    with pytest.raises(InputError, match="at the start"):
        trained(digits, replace(settings, drop=("conv2",)), source=first)
    with pytest.raises(InputError, match="resnet20"):
        trained(digits, settings, source=trained_network("resnet20"))


def test_training_goes_on_from_entropy_codes_alone():
    named = SimpleNamespace(name="cifar10", model="resnet20")
    with pytest.raises(InputError, match="entropy code"):
        trained(named, FewCells(1.0), source=trained_network("resnet20-lookup"))


def test_parts_that_go_leave_zeros_and_the_rest_learns(digits):
    # The network knows its images: what goes is missed, and made up for.
    settings = FewCells(0.9, epochs=1, batch=64, plans=1, mix=0.25, drop=("conv2",))
    settings = replace(settings, drop_epochs=4, drop_rate=1e-2)
    lines = []
    network = trained(digits, settings, told=lines.append)
    assert lines[0] == "without conv2"
    assert not network.state["conv2.weight"].any()
    losses = [float(line.split("loss ")[1]) for line in lines if "of 4" in line]
    assert losses[-1] < 0.9 * losses[0]
    with pytest.raises(InputError, match="no part"):
        trained(digits, replace(settings, drop=("conv9",)))


def test_teachers_are_asked_together(digits):
    settings = FewCells(1.2, epochs=1, batch=64, plans=1, mix=0.25)
    alone, both = (
        trained(digits, replace(settings, teachers=("cnn",) * number)).log for number in (1, 2)
    )
    # The mean answer of the same network twice is its own.
    assert alone == both
    with pytest.raises(InputError, match="resnet9"):
        trained(digits, replace(settings, teachers=("cnn", "resnet9")))


def test_too_few_cells_are_refused(digits):
    with pytest.raises(InputError, match="too few"):
        trained(digits, settings_for("digits", 0.001, above=0.5))


@pytest.mark.parametrize(
    "change",
    [
        {"cells": 0.0},
        {"room": 0.5},
        {"labels": 0.5},  # images are mixed
        {"plans": 0},
        {"batch": 0},
        {"epochs": 0.0},
    ],
)
def test_bad_settings(change):
    with pytest.raises(InputError):
        FewCells(**({"cells": 1.0} | change))
