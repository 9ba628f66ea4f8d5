import numpy as np
import pytest
import torch

from softcell.codes.entropy.stream import decode
from softcell.errors import InputError
from softcell.evaluate.datasets import DATASETS
from softcell.evaluate.networks import DigitsCNN, with_weights
from softcell.evaluate.preprocessing import DIGITS, Augmentation
from softcell.evaluate.small_networks import initial_weights
from softcell.streams import Stream
from softcell.training import (
    CrossEntropy,
    ImageBatches,
    QuantisedStorage,
    StoredTraining,
    StoredWeights,
    train_stored,
)


def laplacian(shape, label="w"):
    u = Stream.of(5, label).uniform(int(np.prod(shape))).reshape(shape).astype(np.float64) - 0.5
    return torch.from_numpy((-np.sign(u) * np.log1p(-2 * np.abs(u))).astype(np.float32))


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("shape", [(40, 30), (7, 5, 3, 3), (1, 50)])
@pytest.mark.parametrize("step", [0.004, 0.3, 2.0])
def test_what_training_sees_is_what_is_decoded(shape, by_row, step):
    weight = laplacian(shape) * torch.logspace(-1, 1, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    storage = QuantisedStorage(weight, step=step, by_row=by_row)
    seen = storage(weight).detach().numpy()
    data = storage.encode(weight)
    decoded = decode(data, (shape[0], int(np.prod(shape[1:])))).reshape(shape)
    np.testing.assert_array_equal(seen, decoded)
    # Just coded, the bits are those of the stream.
    assert float(storage.bits(weight).detach()) == pytest.approx(8 * len(data), rel=1e-4)


def test_gradients_of_rounding_are_those_of_learned_step_size_quantisation():
    weight = torch.tensor([[0.3, -0.8], [2.6, 0.1]], requires_grad=True)
    storage = QuantisedStorage(weight.detach(), step=1.0)
    with torch.no_grad():
        storage.log_step.zero_()  # a step of 1, which bfloat16 has
    factors = torch.tensor([[1.0, 10.0], [100.0, 1000.0]])
    (storage(weight) * factors).sum().backward()
    np.testing.assert_array_equal(weight.grad, factors)
    # d/ds = round(w / s) - w / s: -0.3, -0.2, 0.4, -0.1; and s = 1 is its own logarithm's slope.
    expected = -0.3 * 1 - 0.2 * 10 + 0.4 * 100 - 0.1 * 1000
    assert storage.log_step.grad.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("spread", [1.0, 120.0])  # indices within the table, and above it
def test_gradient_of_bits_is_that_of_the_expected_bits_under_uniform_noise(spread):
    weight = spread * laplacian((30, 20))
    storage = QuantisedStorage(weight, step=1.0)
    with torch.no_grad():
        storage.log_step.zero_()
    storage.eval()
    storage.learn_lengths(weight)
    w = weight.clone().requires_grad_()
    storage.bits(w).backward()
    noise = (torch.arange(400) + 0.5) / 400 - 0.5

    def expected(values):
        with torch.no_grad():
            parts = [storage.bits((values + n).round()) for n in noise]
        return float(torch.stack(parts).double().mean())

    chosen = [(0, 0), (3, 7), (12, 5), (29, 19)]
    if spread > 1:
        chosen = [tuple(np.argwhere(weight.numpy() > 70)[0])]
    for at in chosen:
        up, down = weight.clone(), weight.clone()
        # Far enough apart for float32 sums, and within two neighbouring indices.
        base = float(weight[at].floor())
        up[at], down[at] = base + 0.9, base + 0.1
        slope = (expected(up) - expected(down)) / 0.8
        assert w.grad[at].item() == pytest.approx(slope, rel=0.05, abs=0.01)
        assert np.sign(slope) in (0, np.sign(float(weight[at])))
    # A larger step makes indices smaller and bits fewer.
    assert storage.log_step.grad.item() < 0


def test_bits_of_independent_samples_are_near_their_entropy():
    weight = laplacian((300, 200))
    storage = QuantisedStorage(weight, step=0.8)
    indices = np.rint(storage(weight).detach().numpy() / storage.steps().item())
    share = np.unique(indices, return_counts=True)[1] / indices.size
    entropy = -(share * np.log2(share)).sum()
    assert float(storage.bits(weight).detach()) / weight.numel() == pytest.approx(entropy, rel=0.02)


def test_expected_bits_of_trained_weights_agree_with_the_coder():
    network = with_weights(DigitsCNN, initial_weights(DigitsCNN, Stream.of(0, "agree")))
    stored = StoredWeights(network, lambda name, w: QuantisedStorage(w, step=1.5))
    plain = Augmentation(shift=1, mix=0.0)
    images = DATASETS["digits"].training()
    batches = ImageBatches(images, DIGITS, augmentation=plain, size=16)
    before = sum(8 * len(data) for data in stored.encode().values())
    training = StoredTraining(steps=90, learning_rate=1e-2, price=1.0, storage_rate=3.0)
    train_stored(stored, CrossEntropy(), batches, training, seed=0)
    real = sum(8 * len(data) for data in stored.encode().values())
    assert real < 0.8 * before
    # The lengths are some steps old: 20 calls lie between two codings.
    assert float(stored.bits().detach()) == pytest.approx(real, rel=0.02)
    # Nothing but the lengths themselves, without what the last coding says was left out.
    excess = sum(float(stored.storage(name).excess) for name in stored.names)
    assert float(stored.bits().detach()) - excess == pytest.approx(real, rel=0.1)
    state = stored.state()
    for name, data in stored.encode().items():
        shape = state[name].shape
        decoded = decode(data, (shape[0], int(np.prod(shape[1:])))).reshape(shape)
        np.testing.assert_array_equal(decoded, state[name])


def test_lengths_are_learned_now_and_then_and_only_in_training():
    weight = laplacian((50, 40))
    storage = QuantisedStorage(weight, step=1.0, refresh=3)
    old = storage.lengths.clone()
    storage.eval()
    storage.bits(3 * weight)
    assert torch.equal(storage.lengths, old)
    assert int(storage.calls) == 0
    storage.train()
    storage.bits(3 * weight)
    new = storage.lengths.clone()
    assert not torch.equal(new, old)
    storage.bits(weight)
    storage.bits(weight)
    assert torch.equal(storage.lengths, new)
    storage.bits(weight)
    assert torch.equal(storage.lengths, old)


def test_not_a_number_reaches_the_loss():
    weight = laplacian((3, 4))
    storage = QuantisedStorage(weight)
    spoilt = weight.clone()
    spoilt[1, 1] = torch.nan
    assert torch.isnan(storage(spoilt)).any()
    assert torch.isnan(storage.bits(spoilt))
    with torch.no_grad():
        storage.log_step.fill_(torch.nan)
    assert torch.isnan(storage(weight)).all()


@pytest.mark.parametrize(
    ("weight", "settings", "said"),
    [
        (torch.ones(2, 2), {"step": 0.0}, "expected step > 0"),
        (torch.ones(2, 2), {"refresh": 0}, "refresh >= 1"),
        (torch.ones(4), {}, r"shape \(4,\)"),
        (torch.full((2, 2), torch.inf), {}, "NaN or infinities"),
    ],
)
def test_bad_arguments(weight, settings, said):
    with pytest.raises(InputError, match=said):
        QuantisedStorage(weight, **settings)
