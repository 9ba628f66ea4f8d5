import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from softcell.errors import InputError
from softcell.evaluate.networks import BatchNorm
from softcell.training import (
    CrossEntropy,
    NoisyStorage,
    QuantisedStorage,
    StoredTraining,
    StoredWeights,
    WrittenStorage,
    train_stored,
)
from softcell.training.price import SteeredPrice


def quantised(network, step=0.4):
    return StoredWeights(network, lambda name, w: QuantisedStorage(w, step=step, refresh=5))


def bits_of(stored):
    return sum(8 * len(data) for data in stored.encode().values()) / stored.weights


def test_the_price_rises_above_the_target_and_falls_below():
    price = SteeredPrice(0.5)
    price.see(bits=2.0, wanted=1.0)
    high = price.value
    assert high > 0.5
    price.see(bits=1.0, wanted=1.0)
    # What lasts of it stays, what answers at once goes.
    assert 0.5 < price.value < high
    for _ in range(200):
        price.see(bits=0.7, wanted=1.0)
    assert price.value < 0.5
    before = price.value
    price.see(bits=float("nan"), wanted=1.0)
    assert price.value == before


def test_a_steered_price_settles_where_bits_answer_to_it():
    # Bits that follow the logarithm of the price, as at high rate, a hundredth of the way a step.
    price = SteeredPrice(0.05)
    bits = [4.0]
    for _ in range(4000):
        price.see(bits=bits[-1], wanted=1.5)
        bits.append(bits[-1] + 0.01 * (2.0 - 0.4 * np.log(price.value) - bits[-1]))
    assert min(bits) > 1.2  # it does not go far beyond
    np.testing.assert_allclose(bits[-100:], 1.5, rtol=1e-3)


@pytest.mark.parametrize("target", [0.8, 1.4])
def test_bits_end_near_their_target(network, batches, target):
    stored = quantised(network)
    assert bits_of(stored) > 2
    training = StoredTraining(
        steps=500, learning_rate=1e-2, price=0.1, target_bits=target, warm_up=0.5, storage_rate=1.0
    )
    train_stored(stored, CrossEntropy(), batches, training, seed=0)
    assert bits_of(stored) == pytest.approx(target, rel=0.06)


def test_an_interrupted_steered_training_resumes_to_the_bit(network, batches, tmp_path):
    training = StoredTraining(
        steps=30,
        learning_rate=1e-2,
        price=0.1,
        target_bits=1.0,
        warm_up=0.4,
        settle=0.8,
        checkpoint_every=10,
    )
    original = copy.deepcopy(network)
    whole = quantised(network)
    train_stored(whole, CrossEntropy(), batches, training, seed=3)

    class StopError(Exception):
        pass

    def stop(at):
        if at.step == 17:
            raise StopError

    path = tmp_path / "state.safetensors"
    options = {"seed": 3, "checkpoint": path}
    with pytest.raises(StopError):
        train_stored(
            quantised(copy.deepcopy(original)),
            *(CrossEntropy(), batches, training),
            progress=stop,
            **options,
        )
    stored = quantised(original)
    train_stored(stored, CrossEntropy(), batches, training, resume=True, **options)
    wanted = whole.state_dict()
    for name, values in stored.state_dict().items():
        assert torch.equal(values, wanted[name]), name


def test_zeros_stay_zero_once_they_settle(network, batches):
    zeros = []

    def look(at):
        zeros.append([stored.storage(n)(stored.wanted(n)) == 0 for n in stored.names])

    stored = quantised(network, step=1.0)
    training = StoredTraining(steps=40, learning_rate=3e-2, price=0.1, settle=0.5)
    train_stored(stored, CrossEntropy(), batches, training, seed=0, progress=look)
    settled = zeros[19]

    def come_back(before, after):
        return sum(int((a & ~b).sum()) for a, b in zip(before, after, strict=True))

    assert any(come_back(a, b) for a, b in itertools.pairwise(zeros[:20]))
    assert not any(come_back(settled, after) for after in zeros[20:])


def test_the_learning_rate_falls_to_zero_before_zeros_settle_and_again_after():
    training = StoredTraining(steps=100, learning_rate=2.0, settle=0.6)
    rates = [training.rate(step) for step in range(100)]
    assert rates[0] == rates[60] == 2.0
    assert rates[30] == pytest.approx(1.0)
    assert rates[80] == pytest.approx(1.0)
    assert rates[59] < 0.01
    assert all(a > b for a, b in itertools.pairwise(rates[:60]))
    whole = StoredTraining(steps=100, learning_rate=2.0)
    assert whole.rate(50) == pytest.approx(1.0)
    assert whole.rate(100) == pytest.approx(0.0)


class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(16, 4), BatchNorm(4)

    def forward(self, x):
        return self.norm(self.linear(x))


@pytest.mark.parametrize("frozen", [True, False])
def test_statistics_are_frozen_if_asked_for(batches, frozen):
    torch.manual_seed(0)
    stored = StoredWeights(Normalised(), lambda name, w: NoisyStorage.at(20.0, seed=0, label=name))
    training = StoredTraining(steps=5, learning_rate=1e-2, frozen_statistics=frozen)
    train_stored(stored, CrossEntropy(), batches, training, seed=0)
    norm = stored.module.norm
    assert torch.equal(norm.running_mean, torch.zeros(4)) == frozen
    assert not torch.equal(norm.weight.detach(), torch.ones(4))


def test_short_arithmetic_is_near_the_long_one(network, batches):
    states = []
    for short in (False, True):
        stored = quantised(copy.deepcopy(network))
        training = StoredTraining(steps=3, learning_rate=1e-3, bfloat16=short)
        train_stored(stored, CrossEntropy(), batches, training, seed=0)
        assert all(p.dtype == torch.float32 for p in stored.parameters())
        states.append(stored.module.get_parameter("0.weight").detach())
    assert not torch.equal(*states)
    np.testing.assert_allclose(states[0], states[1], atol=4e-3)


def test_written_matrices_stay_and_the_rest_learns(network, batches):
    read = {name: v.detach() + 0.1 for name, v in network.named_parameters() if v.ndim > 1}
    stored = StoredWeights(network, lambda name, _: WrittenStorage(read[name]))
    losses = []
    training = StoredTraining(steps=60, learning_rate=3e-2)
    train_stored(
        stored,
        *(CrossEntropy(), batches, training),
        seed=0,
        progress=lambda at: losses.append(at.loss),
    )
    state = stored.state()
    for name, values in read.items():
        np.testing.assert_array_equal(state[name], values)
    assert np.any(state["0.bias"] != 0)
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_what_was_read_must_fit():
    with pytest.raises(InputError, match="NaN"):
        WrittenStorage(torch.tensor([[float("nan")]]))
    with pytest.raises(InputError, match="shape"):
        WrittenStorage(torch.ones(2, 3))(torch.ones(3, 2))


@pytest.mark.parametrize(
    "change", [{"settle": 1.5}, {"target_bits": 0.0}, {"target_bits": 1.0, "price": 0.0}]
)
def test_bad_settings(change):
    with pytest.raises(InputError):
        replace(StoredTraining(steps=5, price=0.1), **change)


@pytest.mark.parametrize("step", [np.ones(3), np.array([0.1, -1.0]), np.ones((2, 1))])
def test_first_steps_are_one_or_one_for_each_row(step):
    with pytest.raises(InputError):
        QuantisedStorage(torch.ones(2, 4), step=step)


def test_first_steps_of_a_stream_are_kept():
    from softcell.codes.entropy.stream import stored_steps

    steps = stored_steps(np.array([0.3, 0.05, 0.4]))
    storage = QuantisedStorage(torch.randn(3, 9), step=steps)
    np.testing.assert_array_equal(storage.steps().detach()[:, 0], steps)
