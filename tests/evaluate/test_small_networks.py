import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from softcell.errors import InputError, SoftcellError
from softcell.evaluate import small_networks
from softcell.evaluate.datasets import DATASETS, Images
from softcell.evaluate.networks import DigitsCNN
from softcell.evaluate.tasks import load_task
from softcell.streams import Stream

DIGITS = small_networks.RECIPES["digits", "cnn"]
SHORT = replace(DIGITS, epochs=1)


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    """An empty cache, and a digits recipe of one epoch."""
    monkeypatch.setenv("SOFTCELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(small_networks.RECIPES, ("digits", "cnn"), SHORT)
    return tmp_path / "cache"


def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads():
    images = DATASETS["digits"].training()
    threads = torch.get_num_threads()
    random_state = torch.get_rng_state()
    try:
        torch.set_num_threads(2)
        one = small_networks.fit(SHORT, images, seed=0)
        torch.set_num_threads(1)
        same = small_networks.fit(SHORT, images, seed=0)
    finally:
        torch.set_num_threads(threads)
    other = small_networks.fit(SHORT, images, seed=1)
    for name, array in one.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, same[name])
    assert (one["conv1.weight"] != other["conv1.weight"]).any()
    assert torch.equal(torch.get_rng_state(), random_state)


def test_training_leaves_the_number_of_threads():
    threads = torch.get_num_threads()
    images = DATASETS["digits"].training()
    try:
        torch.set_num_threads(2)
        small_networks.fit(SHORT, Images(images.pixels[:64], images.labels[:64]), seed=0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_progress_counts_every_step():
    images = DATASETS["digits"].training()
    calls = []
    few = Images(images.pixels[:300], images.labels[:300])
    recipe = replace(SHORT, epochs=2, batch=128)
    small_networks.fit(recipe, few, seed=0, progress=lambda *told: calls.append(told))
    assert calls == [("training", step, 6) for step in range(1, 7)]


def test_divergence_is_an_error():
    images = DATASETS["digits"].training()
    reckless = replace(SHORT, learning_rate=1e38, weight_decay=0.0)
    with pytest.raises(SoftcellError, match=r"diverged at step .* lower the learning rate"):
        small_networks.fit(reckless, images, seed=0)


def test_initial_weights_have_the_variance_of_he():
    state = small_networks.initial_weights(DigitsCNN, Stream.of(3, "test"))
    weight = state["conv3.weight"]  # 9216 values, 288 inputs each
    assert weight.var() == pytest.approx(2 / 288, rel=0.06)
    assert abs(weight.mean()) < 5 * math.sqrt(2 / 288 / weight.size)
    assert np.abs(weight).max() <= math.sqrt(6 / 288)
    assert (state["bn1.running_var"] == 1).all()
    assert (state["bn1.weight"] == 1).all()
    assert not state["bn1.running_mean"].any()
    assert not state["linear.bias"].any()


def test_a_network_is_trained_once_and_kept(fresh_cache, caplog):
    calls = []
    with caplog.at_level(logging.INFO, logger="softcell"):
        first = small_networks.trained_weights("digits", "cnn", progress=lambda *c: calls.append(c))
        assert "training cnn for digits" in caplog.text
        caplog.clear()
        count = len(calls)
        second = small_networks.trained_weights(
            "digits", "cnn", progress=lambda *c: calls.append(c)
        )
    assert count == len(calls) > 0
    assert caplog.text == ""
    assert [path.name for path in fresh_cache.iterdir()] == ["digits-cnn-seed0.safetensors"]
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


@pytest.mark.parametrize("damage", ["cut", "bit", "recipe"])
def test_a_cached_file_that_cannot_be_used_is_replaced(fresh_cache, caplog, monkeypatch, damage):
    path = small_networks.train("digits", "cnn")
    contents = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(contents[: len(contents) // 2])
    elif damage == "bit":
        contents[-5] ^= 4
        path.write_bytes(contents)
    else:
        monkeypatch.setitem(
            small_networks.RECIPES, ("digits", "cnn"), replace(SHORT, weight_decay=0.1)
        )
    small_networks.trained_weights("digits", "cnn")
    assert "trained again" in caplog.text
    caplog.clear()
    small_networks.trained_weights("digits", "cnn")
    assert caplog.text == ""
    assert len(list(fresh_cache.iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SOFTCELL_CACHE", str(tmp_path / "file"))
    monkeypatch.setitem(small_networks.RECIPES, ("digits", "cnn"), SHORT)
    with pytest.raises(InputError, match="choose another"):
        small_networks.train("digits", "cnn")


def test_what_has_no_recipe_is_refused():
    with pytest.raises(InputError, match="mnist lenet5"):
        small_networks.train("cifar10", "resnet20")


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"batch": 0}, {"learning_rate": 0.0}, {"weight_decay": -1.0}]
)
def test_recipes_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        replace(DIGITS, **wrong)


@pytest.mark.slow
@pytest.mark.usefixtures("data", "cache")
@pytest.mark.parametrize(("model", "least"), [("lenet-300-100", 0.982), ("lenet5", 0.990)])
def test_mnist_networks_reach_their_accuracy(model, least):
    task = load_task("mnist", model)
    assert task.evaluate(task.state_dict()) >= least
