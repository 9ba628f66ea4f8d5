"""Cells shared among rows: the budget, the exchange condition, order among equals."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.allocate.curves import Curve
from softcell.allocate.sharing import share, steepest_first

CURVE = 4.0 ** -np.arange(7)


def share_bits(loss, weights, budget, **how):
    curve = Curve(-np.diff(loss), np.asarray(weights)[:, None])
    return share(steepest_first([curve]), budget, **how)[0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 1.5])
def test_the_budget_holds_and_no_exchange_of_equal_size_helps(seed, part):
    rng = np.random.default_rng(seed)
    scale = 10 ** rng.uniform(-3, 3, 60)
    weights = np.full(60, 25)
    loss = scale[:, None] * CURVE
    budget = part * 6 * weights.sum()
    bits = share_bits(loss, weights, budget)
    assert (weights * bits).sum() <= budget
    rows = np.arange(60)
    next_gain = np.where(bits < 6, loss[rows, bits] - loss[rows, np.minimum(bits + 1, 6)], 0)
    last_gain = np.where(bits > 0, loss[rows, np.maximum(bits, 1) - 1] - loss[rows, bits], np.inf)
    assert next_gain.max() <= last_gain.min() * (1 + 1e-12)
    if part >= 1:
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


def test_without_filling_the_first_step_that_does_not_fit_is_the_end():
    loss = np.outer([10.0, 1.0], CURVE)
    assert share_bits(loss, np.array([100, 3]), 10, fill=False).tolist() == [0, 0]
    assert share_bits(loss, np.array([100, 3]), 100, fill=False).tolist() == [1, 0]


def test_equal_steps_come_in_the_order_of_rows_or_evenly_over_curves():
    curves = [Curve(np.ones((4, 1)), np.array(1)), Curve(np.ones((2, 1)), np.array(1))]
    in_order = share(steepest_first(curves), 3)
    assert [rows.tolist() for rows in in_order] == [[1, 1, 1, 0], [0, 0]]
    alike = share(steepest_first(curves, evenly=True), 3)
    assert [rows.tolist() for rows in alike] == [[1, 1, 0, 0], [1, 0]]


def test_shares_equalise_what_a_cell_gains():
    curve = Curve(np.outer(4.0 ** np.arange(3), -np.diff(CURVE)), np.array(10))
    assert share(steepest_first([curve]), 60, fill=False)[0].tolist() == [1, 2, 3]


def test_without_curves_nothing_is_shared():
    for evenly in (False, True):
        for fill in (False, True):
            assert share(steepest_first([], evenly=evenly), 10, fill=fill) == []
