"""Pruning by magnitude and by saliency: exact number, one threshold, vectors untouched."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.compress import prune_magnitude, prune_saliency
from softcell.errors import InputError


def network() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "small": rng.normal(size=(40, 5)).astype(np.float32),
        "large": 3 * rng.normal(size=(10, 4, 3, 3)).astype(np.float32),
        "bias": rng.normal(size=10).astype(np.float32),
        "steps": np.arange(4).reshape(2, 2),
    }


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.93])
def test_the_number_removed_is_exact_and_the_rest_unchanged(fraction):
    state = network()
    pruned = prune_magnitude(state, fraction)
    before = np.concatenate([state["small"].ravel(), state["large"].ravel()])
    after = np.concatenate([pruned["small"].ravel(), pruned["large"].ravel()])
    assert (after == 0).sum() == int(fraction * before.size)
    np.testing.assert_array_equal(after[after != 0], before[after != 0])
    if fraction:
        assert np.abs(before[after == 0]).max() <= np.abs(before[after != 0]).min()


def test_one_threshold_serves_all_matrices():
    pruned = prune_magnitude(network(), 0.5)
    assert (pruned["small"] == 0).mean() > 0.6 > 0.4 > (pruned["large"] == 0).mean()


def test_vectors_and_integers_stay_and_the_input_is_not_changed():
    state = network()
    copy = {name: values.copy() for name, values in state.items()}
    pruned = prune_magnitude(state, 0.7)
    for name in ("bias", "steps"):
        np.testing.assert_array_equal(pruned[name], copy[name])
    for name, values in state.items():
        np.testing.assert_array_equal(values, copy[name])


def test_equal_sizes_are_removed_in_order():
    pruned = prune_magnitude({"w": np.full((2, 4), -2.0)}, 0.5)
    np.testing.assert_array_equal(pruned["w"], [[0, 0, 0, 0], [-2, -2, -2, -2]])


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_an_impossible_fraction_is_refused(fraction):
    with pytest.raises(InputError, match="fraction"):
        prune_magnitude(network(), fraction)


def test_nothing_to_prune_and_nan_are_refused():
    with pytest.raises(InputError, match="no matrix"):
        prune_magnitude({"bias": np.ones(3)}, 0.5)
    with pytest.raises(InputError, match="NaN"):
        prune_magnitude({"w": np.full((2, 2), np.nan)}, 0.5)


def fisher(*, seed=4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: rng.exponential(size=v.shape).astype(np.float32) for n, v in network().items()}


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9])
def test_the_saliency_of_what_goes_lies_below_that_of_what_stays(fraction):
    state, felt = network(), fisher()
    pruned = prune_saliency(state, fraction, felt)
    names = ("small", "large")
    before = np.concatenate([felt[n].ravel() * state[n].ravel() ** 2.0 for n in names])
    gone = np.concatenate([pruned[n].ravel() == 0 for n in names])
    assert gone.sum() == int(fraction * gone.size)
    if fraction:
        assert before[gone].max() <= before[~gone].min()
        by_size = prune_magnitude(state, fraction)
        size_gone = np.concatenate([by_size[n].ravel() == 0 for n in names])
        assert before[gone].sum() < 0.8 * before[size_gone].sum()


@pytest.mark.parametrize("level", [1e-30, 1.0, 1e30])
def test_where_all_weights_are_felt_alike_magnitude_decides(level):
    state = network()
    alike = {name: np.full(values.shape, level, np.float32) for name, values in state.items()}
    by_size, by_loss = prune_magnitude(state, 0.4), prune_saliency(state, 0.4, alike)
    for name in state:
        np.testing.assert_array_equal(by_size[name], by_loss[name])


def test_weights_that_are_not_felt_go_first_and_in_order():
    felt = {"w": np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])}
    weights = {"w": np.arange(1.0, 7.0).reshape(2, 3)}
    pruned = prune_saliency(weights, 0.34, felt)
    np.testing.assert_array_equal(pruned["w"], [[1, 0, 3], [0, 5, 6]])


@pytest.mark.parametrize(
    "prune", [prune_magnitude, lambda s, f, keep: prune_saliency(s, f, fisher(), keep=keep)]
)
def test_what_is_to_be_kept_is(prune):
    state = network()
    pruned = prune(state, 0.5, keep=["small"])
    np.testing.assert_array_equal(pruned["small"], state["small"])
    assert (pruned["large"] == 0).sum() == 180
    with pytest.raises(InputError, match="'other'"):
        prune(state, 0.5, keep=["other"])
    with pytest.raises(InputError, match="no matrix"):
        prune(state, 0.5, keep=["small", "large"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda felt: felt.pop("large"), "no Fisher information of 'large'"),
        (lambda felt: felt.update(large=np.ones((10, 36))), "'large' has shape"),
        (lambda felt: felt["small"].__setitem__((0, 0), -1), "'small' holds"),
        (lambda felt: felt["small"].__setitem__((0, 0), np.nan), "'small' holds"),
    ],
)
def test_a_fisher_information_that_does_not_fit_is_refused(change, told):
    felt = fisher()
    change(felt)
    with pytest.raises(InputError, match=told):
        prune_saliency(network(), 0.5, felt)
