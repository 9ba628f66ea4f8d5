"""A budget is lowered until what it makes keeps to the target, or can be no less."""

from __future__ import annotations

from softcell.allocate.fitting import fit


def test_a_budget_that_fits_is_not_touched():
    assert fit(lambda budget: (budget, -1.0, budget), 7.0) == 7.0


def test_room_is_made_for_what_rows_cost_besides():
    tried = []

    def made_at(budget):
        """Rows of four cells, each with one more of side information; ten cells in all."""
        tried.append(budget)
        rows = int(budget // 4)
        return rows, 5.0 * rows - 10, 4.0 * rows

    assert fit(made_at, 15.0) == 1
    assert tried == [15.0, 7.0]
    assert fit(made_at, 15.0, of_cell=0.5) == 2
    assert tried[2:] == [15.0, 9.5]


def test_nothing_left_to_take_away_is_the_end():
    assert fit(lambda budget: ("least", 3.0, 0.0), 100.0) == "least"
