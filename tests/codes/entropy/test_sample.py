"""Samples of matrices: all of small ones, rows of every size, places that a seed chooses."""

import numpy as np
import pytest

from softcell.codes.entropy.sample import sample
from softcell.streams import Stream


def normal(rows, columns, seed=0):
    return Stream.of(seed, "sampled").normal(rows * columns).reshape(rows, columns)


def test_a_small_matrix_is_its_own_sample():
    weights = normal(30, 40)
    np.testing.assert_array_equal(sample(weights, 1200).of(weights), weights)


@pytest.mark.parametrize("shape", [(1, 9000), (9000, 1), (3, 4000), (700, 9), (100, 100)])
@pytest.mark.parametrize("size", [1, 500, 5000])
def test_a_sample_has_about_as_many_weights_as_it_should_and_all_are_the_matrix_s(shape, size):
    weights = normal(*shape)
    chosen = sample(weights, size)
    part = chosen.of(weights)
    assert 0.5 * size <= part.size <= 1.5 * size
    np.testing.assert_array_equal(
        part[0], weights[chosen.rows[0], chosen.first[0] :][: part.shape[1]]
    )


def test_rows_of_every_size_are_in_it():
    weights = normal(4096, 64) * np.geomspace(1e-3, 1e3, 4096, dtype=np.float32)[:, None]
    part = sample(weights[Stream.of(1, "order").uniform(4096).argsort()], 1 << 14).of(weights)
    whole, some = (np.log2(np.abs(each).mean(axis=1)) for each in (weights, part))
    assert abs(np.mean(some) - np.mean(whole)) < 0.5
    assert np.std(some) == pytest.approx(np.std(whole), rel=0.2)


def test_another_seed_chooses_other_places():
    weights = normal(300, 300)
    places = [sample(weights, 5000, seed=seed).of(weights) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(places[0], places[1])
    assert (places[0] != places[2]).any()
