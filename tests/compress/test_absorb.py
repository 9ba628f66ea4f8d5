"""Pruning through the feedback loop: what stays makes up for what goes."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.compress import kmeans_codebook, prune_absorbing, prune_magnitude, prune_saliency
from softcell.curvature import Calibration, LayerCurvature
from softcell.errors import InputError
from softcell.feedback import weighted_error


def curvature(rows, columns, *, groups=1, seed=0, **more):
    """Curvature of correlated inputs."""
    mixing = np.random.default_rng(seed).normal(size=(groups, columns, 3 * columns))
    mixing *= np.logspace(0, -1.5, 3 * columns)
    covariance = (mixing @ mixing.swapaxes(1, 2)).astype(np.float32)
    covariance = (covariance + covariance.swapaxes(1, 2)) / 2
    mean = np.einsum("gkk->g", covariance) / columns
    return LayerCurvature(covariance, np.repeat(mean, rows // groups).astype(np.float32), **more)


def network(seed=3):
    rng = np.random.default_rng(seed)
    return {
        "conv.weight": rng.normal(size=(12, 3, 3, 3)).astype(np.float32),
        "fc.weight": 0.5 * rng.normal(size=(10, 40)),
        "fc.bias": rng.normal(size=10).astype(np.float32),
    }


def calibration(kind="fisher", **layers):
    """Calibration of `network`; the Fisher information of a row is that of its curvature."""
    named = {"conv.weight": curvature(12, 27, groups=2), "fc.weight": curvature(10, 40, seed=1)}
    named |= layers
    fisher = {}
    for name, values in network().items():
        if name in named and kind == "fisher":
            rows = named[name].rows.reshape(-1, *[1] * (values.ndim - 1))
            fisher[name] = np.broadcast_to(rows, values.shape).astype(np.float32)
    return Calibration(named, {}, 1, kind, fisher)


def loss(known, state, pruned):
    """Return twice what the loss rises by to second order."""
    return sum(
        weighted_error(
            layer.matrix(state[name]), layer.matrix(pruned[name]), layer.covariance
        ).sum()
        for name, layer in known.layers.items()
    )


def zeros(state):
    return sum(int((values == 0).sum()) for values in state.values() if values.ndim > 1)


@pytest.mark.parametrize("exponent", [0, 0.5, 1])
@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.8])
def test_the_number_is_exact_and_absorbing_lowers_the_loss(fraction, exponent):
    state, known = network(), calibration()
    pruned = prune_absorbing(state, fraction, known, exponent=exponent)
    assert zeros(pruned) == int(fraction * (12 * 27 + 400))
    # The same weights gone, and nothing absorbed.
    plain = {name: np.where(values == 0, 0, state[name]) for name, values in pruned.items()}
    assert loss(known, state, pruned) < 0.9 * loss(known, state, plain)
    assert loss(known, state, pruned) < 0.9 * loss(known, state, prune_magnitude(state, fraction))


def test_the_curvature_chooses_better_than_magnitude():
    state, known = network(), calibration()
    chosen, by_size = (
        loss(known, state, prune_absorbing(state, 0.5, known, exponent=a)) for a in (1, 0)
    )
    assert chosen < 0.95 * by_size


def test_types_vectors_and_the_input_stay():
    state = network()
    copy = {name: values.copy() for name, values in state.items()}
    pruned = prune_absorbing(state, 0.5, calibration())
    for name, values in copy.items():
        np.testing.assert_array_equal(state[name], values)
        assert (pruned[name].dtype, pruned[name].shape) == (values.dtype, values.shape)
    np.testing.assert_array_equal(pruned["fc.bias"], copy["fc.bias"])


def test_nothing_removed_changes_nothing():
    pruned = prune_absorbing(network(), 0, calibration())
    for name, values in network().items():
        np.testing.assert_allclose(pruned[name], values, rtol=1e-6)


def test_without_correlation_it_is_saliency_by_row():
    state = network()
    flat = {
        "conv.weight": LayerCurvature(np.eye(27, dtype=np.float32)[None], np.ones(12, np.float32)),
        "fc.weight": LayerCurvature(np.eye(40, dtype=np.float32)[None], np.ones(10, np.float32)),
    }
    known = calibration(**flat)
    fisher = {name: felt * (5 if name[0] == "c" else 1) for name, felt in known.fisher.items()}
    pruned = prune_absorbing(state, 0.5, known, fisher=fisher, exponent=1)
    expected = prune_saliency(state, 0.5, fisher)
    for name in state:
        np.testing.assert_allclose(pruned[name], expected[name], rtol=1e-6)


def test_zeros_stay_zero_and_count():
    state = network()
    state["fc.weight"][:, ::2] = 0
    known = calibration()
    assert zeros(prune_absorbing(state, 0.5, known)) == 362
    few = prune_absorbing(state, 0.1, known)
    assert zeros(few) == 200
    assert (few["fc.weight"][:, ::2] == 0).all()


def test_outputs_joined_into_one_row_absorb_across_outputs():
    state = {"w": np.random.default_rng(0).normal(size=(8, 1, 2, 2)).astype(np.float32)}
    across = curvature(2, 16, joined=True)
    layer = LayerCurvature(np.eye(4, dtype=np.float32)[None], np.ones(8, np.float32), across=across)
    fisher = {"w": np.ones((8, 1, 2, 2), np.float32)}
    known = Calibration({"w": layer}, {}, 1, "fisher", fisher)
    pruned = prune_absorbing(state, 0.5, known)
    plain = np.where(pruned["w"] == 0, 0, state["w"])
    assert zeros(pruned) == 16
    felt = [
        weighted_error(across.matrix(state["w"]), across.matrix(w), across.covariance).sum()
        for w in (pruned["w"], plain)
    ]
    assert felt[0] < 0.7 * felt[1]


def test_a_matrix_without_curvature_goes_by_its_fisher_information():
    state, whole = network(), calibration()
    known = Calibration({"conv.weight": whole.layers["conv.weight"]}, {}, 1, "fisher", whole.fisher)
    pruned = prune_absorbing(state, 0.5, known)
    stay = pruned["fc.weight"] != 0
    np.testing.assert_array_equal(pruned["fc.weight"][stay], state["fc.weight"][stay])
    assert zeros(pruned) == 362
    by_row = whole.fisher["fc.weight"] ** 0.5 * state["fc.weight"] ** 2
    assert by_row[~stay].max() <= by_row[stay].min()


def test_what_is_kept_and_what_is_refused():
    state, known = network(), calibration()
    kept = prune_absorbing(state, 0.5, known, keep=["fc.weight"])
    np.testing.assert_array_equal(kept["fc.weight"], state["fc.weight"])
    assert (kept["conv.weight"] == 0).sum() == 162
    inputs = calibration("inputs")
    assert zeros(prune_absorbing(state, 0.5, inputs, exponent=0)) == 362
    with pytest.raises(InputError, match="no Fisher information of 'conv.weight', 'fc.weight'"):
        prune_absorbing(state, 0.5, inputs)
    with pytest.raises(InputError, match="exponent"):
        prune_absorbing(state, 0.5, known, exponent=1.5)
    with pytest.raises(InputError, match="fraction"):
        prune_absorbing(state, 1.0, known)
    with pytest.raises(InputError, match="another network"):
        prune_absorbing({"fc.weight": state["fc.weight"]}, 0.5, known)


def test_code_books_in_the_loop_lose_less():
    state = network()
    known = calibration()
    plain, books = kmeans_codebook(state, 3)
    looped, same = kmeans_codebook(state, 3, calibration=known)
    assert loss(known, state, looped) < 0.7 * loss(known, state, plain)
    for name, book in books.items():
        assert np.array_equal(book, same[name])
        assert np.isin(looped[name], book.astype(np.float32)).all()
        assert (looped[name][state[name] == 0] == 0).all()
