"""Magnitude pruning: exact number, one threshold, vectors untouched."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.compress import prune_magnitude
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
