import numpy as np
import pytest
import torch

from softcell.channel import channel_of
from softcell.codes.packed.code import SINGLE, PackedCode, PackedCodec, scale_index
from softcell.codes.store.hard_store import design_store
from softcell.devices import parse_device
from softcell.errors import InputError
from softcell.feedback.memory import SimulatedMemory, into
from softcell.streams import Stream
from softcell.training import NoisyStorage


def weights(rows, columns):
    drawn = Stream.of(8, "w").normal(rows * columns).reshape(rows, columns)
    return torch.from_numpy(drawn * np.logspace(-2, 1, rows)[:, None].astype(np.float32))


def test_every_row_has_its_gain_and_its_signal_to_distortion_ratio():
    weight = weights(3, 40_000)
    gain = np.array([1.0, 0.9, 0.5])
    storage = NoisyStorage(np.array([0.1, 0.3, 1.0]), gain=gain, seed=2, label="w")
    error = storage(weight) - torch.from_numpy(gain.astype(np.float32))[:, None] * weight
    relative = error.square().mean(1).sqrt() / weight.square().mean(1).sqrt()
    np.testing.assert_allclose(relative, [0.1, 0.3, 1.0], rtol=0.02)
    np.testing.assert_allclose((error * weight).mean(1) / weight.square().mean(1), 0, atol=0.02)


def test_decibels():
    weight = weights(1, 40_000)
    error = NoisyStorage.at(8.0, seed=0, label="w")(weight) - weight
    sdr = 10 * torch.log10(weight.square().sum() / error.square().sum())
    assert float(sdr) == pytest.approx(8.0, abs=0.1)


def test_a_seed_decides_and_every_pass_draws_anew():
    weight = weights(2, 50)

    def passes(seed, label="w"):
        storage = NoisyStorage.at(10.0, seed=seed, label=label)
        return torch.stack([storage(weight) for _ in range(2)])

    one = passes(1)
    assert torch.equal(one, passes(1))
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(one, passes(2))
    assert not torch.equal(one, passes(1, "other"))
    storage = NoisyStorage.at(10.0, seed=1, label="w").eval()
    first = storage(weight)
    assert torch.equal(first, storage(weight))
    # An evaluation in between does not change what training draws.
    assert torch.equal(storage.train()(weight), one[0])


def test_the_gradient_knows_that_noise_moves_with_the_weights():
    weight = weights(2, 5).double().requires_grad_()
    storage = NoisyStorage(0.5, gain=0.8, seed=4, label="w").eval()
    (storage(weight) ** 2).sum().backward()
    moved = weight.detach().clone()
    moved[1, 3] += 1e-2
    other = weight.detach().clone()
    other[1, 3] -= 1e-2
    slope = ((storage(moved) ** 2).sum() - (storage(other) ** 2).sum()) / 2e-2
    assert weight.grad[1, 3].item() == pytest.approx(float(slope), rel=1e-3)


def test_a_row_of_zeros_stays_zero_and_has_a_gradient():
    weight = torch.zeros(2, 3, requires_grad=True)
    seen = NoisyStorage(0.5, seed=0, label="w")(weight)
    assert not seen.any()
    seen.sum().backward()
    np.testing.assert_array_equal(weight.grad, np.ones((2, 3)))


def test_moments_agree_with_those_of_a_real_code_on_another_chip():
    device = parse_device("pcm-partial-reset")
    law = channel_of(device)
    rows, columns = 6, 1500
    wanted = Stream.of(1, "w").normal(rows * columns).reshape(rows, columns)
    scale = scale_index(np.linspace(1.5, 3.0, rows))  # some rows saturate: their gain is below 1
    code = PackedCode(np.full(rows, SINGLE, np.uint8), scale)
    codec = PackedCodec(code, law, design_store(law))

    def chip(seed):
        store = into(SimulatedMemory(device, seed), "cells/w", codec, law)
        return np.stack([store(k, wanted[:, k].copy()) for k in range(columns)], axis=1)

    def moments(seen):
        gain = (wanted * seen).sum(1) / (wanted**2).sum(1)
        return gain, np.sqrt(((seen - gain[:, None] * wanted) ** 2).mean(1) / (wanted**2).mean(1))

    surrogate = NoisyStorage.like(wanted, chip(0), seed=0, label="w")
    ours = moments(surrogate(torch.from_numpy(wanted)).numpy())
    real = moments(chip(1))
    assert real[0][0] < 0.95 < real[0][-1]
    np.testing.assert_allclose(ours[0], real[0], atol=0.03)
    np.testing.assert_allclose(ours[1], real[1], rtol=0.1)


def sparse(rows, columns, share):
    """Return weights of which a share, another in each row, is not zero."""
    kept = Stream.of(5, "mask").uniform(rows * columns).reshape(rows, columns)
    return weights(rows, columns) * torch.from_numpy(kept < np.asarray(share)[:, None])


def test_exact_zeros_come_back_as_zeros_and_noise_is_relative_to_the_others():
    weight = sparse(3, 40_000, [0.05, 0.3, 1.0])
    storage = NoisyStorage(0.3, gain=0.9, seed=2, label="w", exact_zeros=True)
    seen = storage(weight)
    assert torch.equal(seen == 0, weight == 0)
    for row, back in zip(weight, seen, strict=True):
        there = row != 0
        error = back[there] - 0.9 * row[there]
        relative = error.square().mean().sqrt() / row[there].square().mean().sqrt()
        assert float(relative) == pytest.approx(0.3, rel=0.05)
    # A code without a mask spreads noise over the zeros, too, of the same power in all.
    spread = NoisyStorage(0.3, gain=0.9, seed=2, label="w")(weight)
    assert (spread[0] != 0).all()
    np.testing.assert_allclose(
        (spread - 0.9 * weight).square().sum(1), (seen - 0.9 * weight).square().sum(1), rtol=0.1
    )


def test_decibels_of_a_masked_matrix():
    weight = sparse(1, 80_000, [0.2])
    error = NoisyStorage.at(8.0, seed=0, label="w", exact_zeros=True)(weight) - weight
    sdr = 10 * torch.log10(weight.square().sum() / error.square().sum())
    assert float(sdr) == pytest.approx(8.0, abs=0.15)


def test_the_noise_that_a_masked_code_was_seen_to_have():
    wanted = sparse(2, 60_000, [0.05, 0.5]).numpy()
    law = NoisyStorage(np.array([0.2, 0.6]), gain=0.7, seed=1, label="law", exact_zeros=True)
    seen = law(torch.from_numpy(wanted)).numpy()
    like = NoisyStorage.like(wanted, seen, seed=0, label="w", exact_zeros=True)
    np.testing.assert_allclose(like.noise[:, 0], [0.2, 0.6], rtol=0.05)
    np.testing.assert_allclose(like.gain[:, 0], 0.7, atol=0.03)
    back = like(torch.from_numpy(wanted)).numpy()
    assert ((back == 0) == (wanted == 0)).all()
    error = np.square(back - 0.7 * wanted).sum(1) / np.square(wanted).sum(1)
    np.testing.assert_allclose(np.sqrt(error), [0.2, 0.6], rtol=0.05)


def test_rows_of_zeros_and_of_one_weight_behind_a_mask():
    weight = torch.tensor([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]], requires_grad=True)
    storage = NoisyStorage(0.5, seed=3, label="w", exact_zeros=True)
    drawn = torch.stack([storage(weight) for _ in range(300)])
    assert not drawn[:, 0].any()
    assert not drawn[:, 1, [0, 2]].any()
    assert float(drawn[:, 1, 1].detach().std()) == pytest.approx(1.0, rel=0.15)
    drawn.sum().backward()
    assert torch.isfinite(weight.grad).all()


def test_a_code_that_keeps_no_mask_has_no_exact_zeros():
    wanted = np.array([[0.0, 1.0]])
    with pytest.raises(InputError, match="keeps no mask"):
        NoisyStorage.like(wanted, wanted + 0.1, seed=0, label="w", exact_zeros=True)


@pytest.mark.parametrize(
    "make",
    [
        lambda: NoisyStorage(-0.1, seed=0, label="w"),
        lambda: NoisyStorage(np.inf, seed=0, label="w"),
        lambda: NoisyStorage(np.ones((2, 2)), seed=0, label="w"),
        lambda: NoisyStorage(0.1, seed=-1, label="w"),
        lambda: NoisyStorage.like(np.ones((2, 3)), np.ones((2, 4)), seed=0, label="w"),
    ],
)
def test_bad_arguments(make):
    with pytest.raises(InputError):
        make()
