"""Sharing coarse bits: the budget, the exchange condition, order among equals."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.allocate.row_bits import share_bits

CURVE = 4.0 ** -np.arange(7)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.5])
def test_the_budget_holds_and_no_exchange_of_equal_size_helps(seed, share):
    rng = np.random.default_rng(seed)
    scale = 10 ** rng.uniform(-3, 3, 60)
    weights = np.full(60, 25)
    loss = scale[:, None] * CURVE
    budget = share * 6 * weights.sum()
    bits = share_bits(loss, weights, budget)
    assert (weights * bits).sum() <= budget
    rows = np.arange(60)
    next_gain = np.where(bits < 6, loss[rows, bits] - loss[rows, np.minimum(bits + 1, 6)], 0)
    last_gain = np.where(bits > 0, loss[rows, np.maximum(bits, 1) - 1] - loss[rows, bits], np.inf)
    assert next_gain.max() <= last_gain.min() * (1 + 1e-12)
    if share >= 1:
        assert (bits == 6).all()


def test_more_important_groups_get_at_least_as_many_bits():
    scale = np.array([100.0, 1.0, 1e4, 10.0])
    bits = share_bits(scale[:, None] * CURVE, np.full(4, 10), 100)
    assert bits[2] >= bits[0] >= bits[3] >= bits[1]
    assert bits[2] > bits[1]


def test_no_budget_gives_no_bits_and_worthless_bits_are_not_bought():
    loss = np.outer([1.0, 0.0], CURVE)
    assert share_bits(loss, np.array([5, 5]), 0).tolist() == [0, 0]
    assert share_bits(loss, np.array([5, 5]), 1e9).tolist() == [6, 0]


def test_a_small_group_takes_what_a_large_one_cannot():
    loss = np.outer([10.0, 1.0], CURVE)
    assert share_bits(loss, np.array([100, 3]), 10).tolist() == [0, 3]
