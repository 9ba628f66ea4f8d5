import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from softcell.errors import FormatError, InputError, SoftcellError
from softcell.training import (
    CrossEntropy,
    Distillation,
    GradualPruning,
    Mixture,
    NoisyStorage,
    QuantisedStorage,
    StoredTraining,
    StoredWeights,
    train_stored,
)
from softcell.weights.tensor_file import read_tensors, write_tensors

TRAINING = StoredTraining(
    steps=45,
    learning_rate=1e-2,
    price=0.05,
    warm_up=0.3,
    pruning=GradualPruning(0.6, 5, 30, every=4),
    checkpoint_every=20,
)


def through_both(name, weight):
    """Quantise the first matrix, and put noise on the second."""
    if name == "0.weight":
        return QuantisedStorage(weight, step=0.5, by_row=True, refresh=7)
    return NoisyStorage.at(12.0, seed=9, label=name)


def trained(network, batches, training=TRAINING, *, seed=1, **options):
    stored = StoredWeights(network, through_both)
    train_stored(stored, CrossEntropy(), batches, training, seed=seed, **options)
    return stored


def values_of(stored):
    return {name: values.clone() for name, values in stored.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def another(network):
    """Make copies of the network as it was."""
    original = copy.deepcopy(network)
    return lambda: copy.deepcopy(original)


def test_a_seed_gives_the_same_weights_to_the_bit(another, batches):
    before = torch.get_rng_state()
    first = values_of(trained(another(), batches))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)  # what the global generator does elsewhere does not matter
    assert same(first, values_of(trained(another(), batches)))
    # Another seed drops other units.
    assert not same(first, values_of(trained(another(), batches, seed=2)))


def test_an_interrupted_training_resumes_to_the_same_weights_to_the_bit(another, batches, tmp_path):
    whole = values_of(trained(another(), batches))
    path = tmp_path / "run" / "state.safetensors"

    class StopError(Exception):
        pass

    def stop(at):
        if at.step == 33:
            raise StopError

    with pytest.raises(StopError):
        trained(another(), batches, checkpoint=path, progress=stop)
    seen = []
    stored = trained(
        another(), batches, checkpoint=path, resume=True, progress=lambda at: seen.append(at.step)
    )
    assert seen[0] == 21
    assert same(values_of(stored), whole)
    # Resumed once more there is nothing to do.
    seen.clear()
    stored = trained(
        another(), batches, checkpoint=path, resume=True, progress=lambda at: seen.append(at.step)
    )
    assert seen == []
    assert same(values_of(stored), whole)


def test_training_lowers_the_loss_and_the_bits_and_prunes(another, batches):
    told = []
    network = another()
    stored = StoredWeights(network, lambda name, w: QuantisedStorage(w, step=0.5))
    training = replace(TRAINING, steps=150, price=0.3, pruning=GradualPruning(0.6, 5, 100))
    objective = Mixture([(0.9, CrossEntropy()), (0.1, Distillation(another()))])
    train_stored(stored, objective, batches, training, seed=0, progress=told.append)
    assert [at.step for at in told] == list(range(1, 151))
    assert told[-1].loss < 0.6 * told[0].loss
    assert told[-1].bits_per_weight < 0.6 * told[0].bits_per_weight
    zero = sum(float((stored.wanted(name) == 0).sum()) for name in stored.names)
    assert int(zero) == int(0.6 * (16 * 24 + 24 * 4))
    assert not stored.training


def test_a_higher_price_buys_fewer_bits(another, batches):
    bits = []
    for price in (0.0, 0.1, 1.0):
        stored = StoredWeights(another(), lambda name, w: QuantisedStorage(w, step=0.5))
        training = StoredTraining(steps=80, learning_rate=1e-2, price=price)
        train_stored(stored, CrossEntropy(), batches, training, seed=0)
        bits.append(sum(len(data) for data in stored.encode().values()))
    assert bits[0] > bits[1] > bits[2]


def test_divergence_stops_and_keeps_the_last_good_checkpoint(network, batches, tmp_path):
    path = tmp_path / "state.safetensors"

    def spoilt(step):
        x, labels = batches(step)
        return (x * torch.nan if step == 30 else x), labels

    with pytest.raises(SoftcellError, match=r"diverged at step 31 of 45 .*last good state is in"):
        trained(network, spoilt, checkpoint=path)
    tensors, metadata = read_tensors(path)
    assert metadata["step"] == "20"
    assert all(np.isfinite(values).all() for values in tensors.values())


def test_weights_that_are_spoilt_after_a_finite_loss_are_not_kept(network, batches, tmp_path):
    path = tmp_path / "state.safetensors"
    stored = StoredWeights(network, through_both)

    class Spoils(CrossEntropy):
        def __call__(self, outputs, inputs, labels):
            loss = super().__call__(outputs, inputs, labels)
            # Finite, with an infinite gradient.
            return loss + (outputs * 0).abs().sqrt().sum() * (inputs is not None)

    with pytest.raises(SoftcellError, match="no checkpoint was kept"):
        training = replace(TRAINING, checkpoint_every=1)
        train_stored(stored, Spoils(), batches, training, seed=0, checkpoint=path)
    assert not path.exists()


def test_a_checkpoint_of_another_training_is_refused(another, batches, tmp_path):
    path = tmp_path / "state.safetensors"
    short = replace(TRAINING, steps=2)
    trained(another(), batches, short, checkpoint=path)
    with pytest.raises(InputError, match="of another training: its training is"):
        trained(another(), batches, checkpoint=path, resume=True)
    with pytest.raises(InputError, match="its seed is 1, not 3"):
        trained(another(), batches, short, seed=3, checkpoint=path, resume=True)
    stored = StoredWeights(nn.Linear(16, 4), lambda name, w: QuantisedStorage(w))
    with pytest.raises(InputError, match="of another network"):
        options = {"seed": 1, "checkpoint": path, "resume": True}
        train_stored(stored, CrossEntropy(), batches, short, **options)
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, {**metadata, "step": "2.5"})
    with pytest.raises(FormatError, match=r"step is a whole number, got 2\.5"):
        trained(another(), batches, short, checkpoint=path, resume=True)
    write_tensors(path, {"w": np.ones(2)}, {})
    with pytest.raises(FormatError, match="no checkpoint"):
        trained(another(), batches, short, checkpoint=path, resume=True)


def test_short_weights_cannot_be_kept(network, batches, tmp_path):
    stored = StoredWeights(network.to(torch.bfloat16), lambda name, w: QuantisedStorage(w))

    def short(step):
        x, labels = batches(step)
        return x.bfloat16(), labels

    with pytest.raises(InputError, match="bfloat16"):
        train_stored(
            stored, CrossEntropy(), short, StoredTraining(1), seed=0, checkpoint=tmp_path / "s"
        )


def test_schedules():
    training = StoredTraining(steps=100, learning_rate=0.2, price=3.0, warm_up=0.5)
    assert training.rate(0) == 0.2
    assert training.rate(50) == pytest.approx(0.1)
    assert training.rate(100) == pytest.approx(0, abs=1e-12)
    assert training.price_at(0) == pytest.approx(3 / 50)
    assert training.price_at(49) == training.price_at(99) == 3.0
    assert StoredTraining(steps=10, price=2.0).price_at(0) == 2.0
    pruning = GradualPruning(0.9, 10, 20, every=4)
    assert [t for t in range(30) if pruning.due(t)] == [10, 14, 18, 20]
    assert [round(pruning.sparsity(t), 6) for t in (0, 10, 15, 20, 99)] == [0, 0, 0.7875, 0.9, 0.9]


@pytest.mark.parametrize(
    "make",
    [
        lambda: StoredTraining(steps=0),
        lambda: StoredTraining(steps=1, learning_rate=0.0),
        lambda: StoredTraining(steps=1, price=-1.0),
        lambda: StoredTraining(steps=1, warm_up=2.0),
        lambda: StoredTraining(steps=1, checkpoint_every=0),
        lambda: GradualPruning(1.0, 0, 10),
        lambda: GradualPruning(0.5, 10, 10),
        lambda: GradualPruning(0.5, 0, 10, every=0),
    ],
)
def test_bad_settings(make):
    with pytest.raises(InputError):
        make()
