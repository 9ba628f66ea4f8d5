"""Cells for rows: evenly, and in the order of what they take from the loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softcell.codes.analog.plan.cells import MOST, even_cells, sensitive_cells


@given(rows=st.integers(1, 60), mean=st.floats(0.1, 20))
def test_even_cells_keep_to_the_mean(rows, mean):
    cells = even_cells(rows, mean)
    wanted = min(max(mean, 1), MOST)
    assert cells.mean() <= wanted + 1e-9
    assert wanted - cells.mean() < 1 / rows + 1e-9
    assert cells.max() - cells.min() <= 1
    assert (np.diff(cells.astype(int)) <= 0).all()


@given(weights=st.lists(st.integers(0, 500), min_size=1, max_size=40), mean=st.floats(1, MOST))
def test_even_cells_keep_to_the_mean_of_unequal_rows(weights, mean):
    weights = np.array(weights)
    cells = even_cells(len(weights), mean, weights)
    spent = int((weights * cells).sum())
    assert spent <= mean * weights.sum() + 1e-6
    assert mean * weights.sum() - spent <= weights.max() + 1e-6
    assert (np.diff(cells.astype(int)) <= 0).all()


GAINS = st.floats(0, 1e6).map(lambda x: x if x > 1e-6 else 0.0)


@settings(max_examples=200, deadline=None)
@given(
    groups=st.lists(st.tuples(GAINS, st.integers(0, 100)), min_size=1, max_size=30),
    mean=st.floats(0.5, 16),
)
def test_no_exchange_of_cells_takes_more_from_the_loss(groups, mean):
    gain, weights = (np.array(column) for column in zip(*groups))
    gain = gain.astype(float)
    budget = mean * weights.sum()
    cells = sensitive_cells(gain, weights, budget).astype(int)
    assert cells.min() >= 1
    assert cells.max() <= MOST
    spent = int((weights * cells).sum())
    if budget >= weights.sum():
        assert spent <= budget
    else:
        assert (cells == 1).all()
    some = (gain > 0) & (weights > 0)
    assert (cells[~some] == 1).all()
    following = np.where(some & (cells < MOST), gain / (cells * (cells + 1)), 0)
    last = np.where(some & (cells > 1), gain / (cells * (cells - 1) + (cells == 1)), np.inf)
    # No group's next cell gains more than the last cell of another, which would pay for it.
    left = max(budget - spent, 0)
    pays = weights[:, None] + left >= weights[None, :]
    assert not (pays & (following[None, :] > last[:, None] * (1 + 1e-6))).any()
    # What is left is too little for some group that would still gain.
    if (following > 0).any():
        assert left < weights[following > 0].max() + 1e-6


def test_sharing_is_the_best_of_all_on_a_small_case():
    gain, weights, budget = np.array([1.0, 5.0, 30.0]), np.array([4, 4, 4]), 36
    cells = sensitive_cells(gain, weights, budget)
    best = min(
        sum(g * w / r for g, w, r in zip(gain, weights, (a, b, c)))
        for a in range(1, 10)
        for b in range(1, 10)
        for c in range(1, 10)
        if 4 * (a + b + c) <= budget
    )
    assert (gain * weights / cells).sum() == pytest.approx(best)
    assert cells[0] < cells[1] < cells[2]


def test_four_times_the_gain_takes_twice_the_cells():
    """At the optimum r^2 is proportional to the gain, as gain / r^2 is equal everywhere."""
    gain = np.array([1.0] * 50 + [4.0] * 50)
    cells = sensitive_cells(gain, np.full(100, 10), 6 * 1000)
    assert cells[50:].mean() / cells[:50].mean() == pytest.approx(2, rel=0.15)


def test_equal_groups_share_what_is_left_in_their_order():
    cells = sensitive_cells(np.ones(5), np.full(5, 10), 73)
    assert cells.tolist() == [2, 2, 1, 1, 1]


def test_gains_of_any_size():
    cells = sensitive_cells(np.array([1e-300, 1e300]), np.array([10, 10]), 100)
    assert cells.tolist() == [1, 9]
    assert sensitive_cells(np.zeros(2), np.array([10, 10]), 100).tolist() == [1, 1]
