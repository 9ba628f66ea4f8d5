"""Laws of the feedback loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softcell.errors import InputError
from softcell.feedback.factor import factorise
from softcell.feedback.loop import feedback_loop, weighted_error


def covariance(columns, *, groups=1, seed=0, rank=None):
    """Covariance of correlated inputs, with eigenvalues over three decades."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(groups):
        mixing = rng.normal(size=(columns, rank or columns))
        made.append(mixing * np.logspace(0, -1.5, mixing.shape[1]) @ mixing.T)
    return np.array([m @ m.T for m in made])


def matrix(rows, columns, seed=1):
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


def rounded(step):
    return lambda column, targets: np.rint(targets / step) * np.float32(step)


def noisy(deviation, seed=2):
    rng = np.random.default_rng(seed)
    return lambda column, targets: (
        targets + rng.normal(0, deviation, targets.shape).astype(np.float32)
    )


class TestFactor:
    @pytest.mark.parametrize("columns", [1, 2, 7, 40])
    def test_it_multiplies_back_to_the_damped_covariance(self, columns):
        given_ = covariance(columns, groups=2)
        factor = factorise(given_, damping=0.1)
        for group in range(2):
            ordered = given_[group][np.ix_(factor.order, factor.order)]
            damped = ordered + 0.1 * np.trace(ordered) / columns * np.eye(columns)
            u = factor.coefficients[group] + np.eye(columns)
            assert np.allclose((u * factor.pivots[group]) @ u.T, damped, rtol=1e-4, atol=1e-5)
            assert (np.tril(factor.coefficients[group]) == 0).all()

    def test_what_is_left_of_an_error_never_costs_more_than_without_feedback(self):
        given_ = covariance(30)
        factor = factorise(given_, damping=1e-6)
        diagonal = np.diagonal(given_[0])[factor.order]
        assert (factor.pivots[0] <= diagonal * (1 + 1e-4)).all()
        assert factor.pivots[0].mean() < 0.5 * diagonal.mean()

    def test_dead_inputs_have_no_feedback(self):
        factor = factorise(np.zeros((1, 5, 5)))
        assert not factor.coefficients.any()
        half = np.zeros((1, 4, 4))
        half[0, :2, :2] = [[2, 1], [1, 2]]
        assert np.isfinite(factorise(half).coefficients).all()

    @pytest.mark.parametrize(
        "bad", [np.ones((3, 3)), np.full((1, 2, 2), np.nan), np.array([[[1.0, 9], [9, 1]]])]
    )
    def test_it_refuses_what_is_no_covariance(self, bad):
        with pytest.raises(InputError):
            factorise(bad)

    @pytest.mark.parametrize("damping", [0, -1, np.nan, np.inf])
    def test_it_refuses_a_damping_that_is_none(self, damping):
        with pytest.raises(InputError, match="damping"):
            factorise(np.eye(3)[None], damping=damping)


class TestLoop:
    @pytest.mark.parametrize("groups", [1, 3])
    def test_without_noise_nothing_changes(self, groups):
        weights = matrix(6, 50)
        factor = factorise(covariance(50, groups=groups))
        targets, seen = feedback_loop(weights, factor, lambda column, given_: given_)
        assert np.array_equal(targets, weights)
        assert np.array_equal(seen, weights)

    def test_with_the_identity_it_is_the_open_loop(self):
        weights = matrix(6, 50)
        targets, seen = feedback_loop(weights, factorise(np.eye(50)[None]), rounded(0.5))
        assert np.array_equal(targets, weights)
        assert np.array_equal(seen, np.rint(weights / 0.5) * np.float32(0.5))

    @pytest.mark.parametrize("block", [1, 3, 64, 1000])
    def test_blocks_do_not_change_a_bit(self, block):
        weights, factor = matrix(7, 130), factorise(covariance(130))
        reference = feedback_loop(weights, factor, rounded(0.4))
        for one, other in zip(feedback_loop(weights, factor, rounded(0.4), block=block), reference):
            assert np.array_equal(one, other)

    def test_rows_do_not_depend_on_each_other(self):
        weights, factor = matrix(7, 60), factorise(covariance(60))
        whole = feedback_loop(weights, factor, rounded(0.4))[1]
        alone = feedback_loop(weights[3:4], factor, rounded(0.4))[1]
        assert np.array_equal(whole[3:4], alone)

    def test_groups_are_matrices_of_their_own(self):
        given_, weights = covariance(20, groups=2), matrix(8, 20)
        order = factorise(given_).order
        whole = feedback_loop(weights, factorise(given_), rounded(0.4))[1]
        for group in range(2):
            part = factorise(given_[group : group + 1])
            if np.array_equal(part.order, order):
                rows = slice(4 * group, 4 * group + 4)
                assert np.array_equal(
                    whole[rows], feedback_loop(weights[rows], part, rounded(0.4))[1]
                )

    @given(st.integers(2, 40), st.floats(0.05, 1.0), st.integers(0, 1000))
    @settings(max_examples=30, deadline=None)
    def test_the_weighted_error_is_what_the_pivots_say(self, columns, deviation, seed):
        given_, weights = covariance(columns, seed=seed), matrix(5, columns)
        factor = factorise(given_)
        targets, seen = feedback_loop(weights, factor, noisy(deviation, seed))
        own = (seen - targets)[:, factor.order].astype(np.float64)
        damped = given_ + 0.03 * np.trace(given_[0]) / columns * np.eye(columns)
        expected = (own**2 * factor.pivots[0]).sum(axis=1)
        assert np.allclose(weighted_error(weights, seen, damped), expected, rtol=2e-2)

    def test_the_loop_is_never_worse_than_none_and_much_better_on_correlated_inputs(self):
        weights, given_ = matrix(200, 60), covariance(60)
        _, closed = feedback_loop(weights, factorise(given_), noisy(0.3))
        opened = np.stack([noisy(0.3, k)(k, weights[:, k]) for k in range(60)], axis=1)
        ratio = weighted_error(weights, closed, given_).sum()
        ratio /= weighted_error(weights, opened, given_).sum()
        assert ratio < 0.35

    def test_the_sign_of_the_feedback(self):
        # Two inputs that are always equal: what the first has too little the second has too much.
        factor = factorise(np.ones((1, 2, 2)), damping=1e-9)
        short = iter([np.float32(-0.3), np.float32(0)])
        _, seen = feedback_loop(
            np.array([[1.0, 1.0]], np.float32), factor, lambda column, t: t + next(short)
        )
        assert np.allclose(seen, [[0.7, 1.3]], atol=1e-5)

    def test_it_refuses_what_does_not_fit(self):
        factor = factorise(covariance(4, groups=2))
        for weights in (matrix(2, 5), matrix(3, 4), matrix(2, 4)[0]):
            with pytest.raises(InputError):
                feedback_loop(weights, factor, rounded(1))
        with pytest.raises(InputError, match="block"):
            feedback_loop(matrix(2, 4), factor, rounded(1), block=0)
        with pytest.raises(InputError, match="NaN or infinite"):
            feedback_loop(matrix(2, 4), factor, lambda column, t: t * np.float32(np.nan))
