import numpy as np
import pytest
import torch

from softcell.curvature import LayerCurvature
from softcell.devices import parse_device
from softcell.errors import InputError
from softcell.feedback.factor import factorise
from softcell.feedback.loop import feedback_loop, weighted_error
from softcell.search import Goal, Recipe, TrialMaker
from softcell.search.subjects import own_subject
from softcell.streams import Stream
from softcell.training import LoopNoise, noise_in_loop
from softcell.training.loop_noise import row_noise
from softcell.weights import StateDictWeights

COLUMNS = 12


def layer(groups=1, rows=3, joined=False):
    mixed = Stream.of(4, "inputs").normal(groups * COLUMNS * 40).reshape(groups, COLUMNS, 40)
    mixed = mixed + 2 * mixed.mean(axis=1, keepdims=True)
    scale = np.logspace(0, 1, COLUMNS, dtype=np.float32)[:, None]
    covariance = (mixed * scale) @ (mixed * scale).swapaxes(1, 2) / 40
    covariance = ((covariance + covariance.swapaxes(1, 2)) / 2).astype(np.float32)
    return LayerCurvature(covariance, np.ones(groups * rows, np.float32), joined=joined)


def matrix(rows, columns=COLUMNS):
    drawn = Stream.of(8, "w").normal(rows * columns).reshape(rows, columns)
    return drawn * np.logspace(-1, 1, rows, dtype=np.float32)[:, None]


def drawn(storage, weight, passes=4000):
    with torch.no_grad():
        return np.stack([storage(torch.from_numpy(weight)).numpy() for _ in range(passes)])


def test_columns_are_off_their_targets_by_white_noise_of_the_size_of_the_row():
    noise = np.array([0.1, 0.3, 1.0])
    one, wanted = layer(), matrix(3)
    seen = drawn(LoopNoise(one, noise, seed=1, label="w"), wanted)
    factor = factorise(one.covariance)
    off = (seen - wanted)[:, :, factor.order]
    # target_k = w_k + sum over j < k of (w_j - s_j) U_jk
    error = off + off @ factor.coefficients[0]
    error /= np.sqrt(np.mean(wanted**2, axis=1))[:, None]
    np.testing.assert_allclose(error.mean(axis=0), 0, atol=0.06)
    for row, expected in enumerate(noise):
        within = np.cov(error[:, row].T)
        np.testing.assert_allclose(within, expected**2 * np.eye(COLUMNS), atol=0.08 * expected**2)


@pytest.mark.parametrize("groups", [1, 3])
def test_the_loss_feels_of_it_what_it_feels_of_the_loop_itself(groups):
    one, wanted = layer(groups, 2), matrix(2 * groups)
    storage = LoopNoise(one, np.full(2 * groups, 0.3), seed=1, label="w")
    felt = [weighted_error(wanted, seen, one.covariance) for seen in drawn(storage, wanted, 800)]
    deviation = (0.3 * np.sqrt(np.mean(wanted**2, axis=1))).astype(np.float32)
    real = []
    for seed in range(800):
        stream = Stream.of(seed, "real")

        def store(column, targets, stream=stream):
            return targets + deviation * stream.at(column * len(targets)).normal(len(targets))

        seen = feedback_loop(wanted, factorise(one.covariance), store)[1]
        real.append(weighted_error(wanted, seen, one.covariance))
    np.testing.assert_allclose(np.mean(felt, axis=0), np.mean(real, axis=0), rtol=0.1)
    # Errors that nothing absorbs are felt more.
    plain = deviation**2 * np.repeat(np.einsum("gkk->g", one.covariance), 2)
    assert (np.mean(felt, axis=0) < 0.7 * plain).all()


def test_a_joined_row_is_the_weights_of_several_outputs():
    joined = layer(rows=2, joined=True)
    noise = np.array([0.2, np.inf])
    weight = matrix(2).reshape(6, 1, 2, 2)
    seen = LoopNoise(joined, noise, seed=1, label="w")(torch.from_numpy(weight)).numpy()
    apart = LoopNoise(layer(rows=2), noise, seed=1, label="w")(torch.from_numpy(matrix(2)))
    np.testing.assert_array_equal(joined.matrix(seen), apart.numpy())


def test_a_wide_matrix_is_cut_into_blocks_of_columns():
    cut = layer(rows=6)  # 3 outputs of 24 weights
    noise = np.linspace(0.1, 0.6, 6)
    weight = matrix(3, 24)
    seen = LoopNoise(cut, noise, seed=1, label="w")(torch.from_numpy(weight)).numpy()
    blocks = np.ascontiguousarray(cut.matrix(weight))
    apart = LoopNoise(cut, noise, seed=1, label="w")(torch.from_numpy(blocks)).numpy()
    np.testing.assert_array_equal(cut.matrix(seen), apart)


def test_rows_that_are_not_stored_are_zero_and_have_no_gradient():
    weight = torch.from_numpy(matrix(3)).requires_grad_()
    seen = LoopNoise(layer(), np.array([np.inf, 0.0, 0.4]), seed=1, label="w")(weight)
    assert not seen[0].any()
    assert torch.equal(seen[1], weight[1])
    seen.sum().backward()
    assert not weight.grad[0].any()
    assert torch.equal(weight.grad[1], torch.ones(COLUMNS))
    assert weight.grad[2].any()


def test_a_seed_decides_and_every_pass_draws_anew():
    weight = torch.from_numpy(matrix(3))

    def storage(seed=1, label="w"):
        return LoopNoise(layer(), np.full(3, 0.2), seed=seed, label=label)

    one, again = storage(), storage()
    first = one(weight)
    assert torch.equal(first, again(weight))
    assert not torch.equal(first, one(weight))
    assert not torch.equal(first, storage(seed=2)(weight))
    assert not torch.equal(first, storage(label="other")(weight))
    still = storage().eval()
    assert torch.equal(still(weight), still(weight))
    assert {"noise", "spread", "draws"} == set(one.state_dict())


def test_the_noise_of_the_loop_is_that_of_another_chip(network):
    inputs = torch.from_numpy(Stream.of(1, "x").normal(400 * 16).reshape(400, 16))
    network.eval()
    state = {name: each.detach() for name, each in network.state_dict().items()}
    subject = own_subject(lambda: StateDictWeights(state), module=network, inputs=inputs)
    device = parse_device("pcm-partial-reset")
    noise = noise_in_loop(subject, device, 2.5, seed=0)
    assert set(noise) == {"0.weight", "3.weight"} == set(subject.calibration.layers)
    maker = TrialMaker(subject, device, Goal(max_cells=2.5, decoder="table"))
    written = maker.write(maker.plan(Recipe("packed"), 2.5), 1)[2]
    for name, one in subject.calibration.layers.items():
        wanted = state[name].numpy()
        assert noise[name].shape == (len(wanted),)
        felt = weighted_error(wanted, written.seen[name], one.covariance).sum()
        storage = LoopNoise(one, noise[name], seed=3, label=name)
        modelled = [
            weighted_error(wanted, each, one.covariance) for each in drawn(storage, wanted, 50)
        ]
        assert np.mean(np.sum(modelled, axis=1)) == pytest.approx(felt, rel=0.5)


def test_a_subject_without_a_calibration_has_no_loop():
    subject = own_subject(
        lambda: StateDictWeights({"w": np.ones((4, 4), np.float32)}), evaluate=lambda state: 1.0
    )
    with pytest.raises(InputError, match="calibration"):
        noise_in_loop(subject, parse_device("pcm-partial-reset"), 1.0)


def test_rows_of_zeros():
    wanted = np.array([[0.0, 0.0], [1.0, 1.0]])
    seen = np.array([[0.1, 0.0], [0.0, 0.0]])
    assert row_noise(wanted, wanted, seen).tolist() == [0.0, np.inf]


@pytest.mark.parametrize("noise", [[0.1] * 2, [[0.1]] * 3, [-0.1, 0, 0], [np.nan] * 3])
def test_noise_of_another_shape_or_sign(noise):
    with pytest.raises(InputError, match="noise of at least 0 for each of 3 rows"):
        LoopNoise(layer(), np.asarray(noise), seed=0, label="w")


def test_weights_of_another_shape():
    storage = LoopNoise(layer(), np.full(3, 0.1), seed=0, label="w")
    with pytest.raises(InputError, match="3 rows and 12 columns"):
        storage(torch.ones(2, COLUMNS))
