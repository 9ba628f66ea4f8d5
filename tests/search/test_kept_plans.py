"""The plans in benchmarks/plans can be loaded, and are those that the results tell of."""

from pathlib import Path

import pytest

from softcell.allocate.plan_file import load_plan
from softcell.evaluate.results import read_results
from softcell.search.record import PlanSettings
from softcell.search.trial import Trial

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PLANS = sorted((BENCHMARKS / "plans").glob("*.json"))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_a_kept_plan_is_the_one_that_was_measured(path):
    file = load_plan(path)
    settings = PlanSettings.of(file)
    (row,) = read_results(BENCHMARKS / "results" / f"{path.stem}-plan.json")
    assert (settings.task, settings.model) == (row.task, row.model)
    assert file.device.name == row.device
    assert file.weights == round(sum(e["weights"] for e in file.report["layers"]))
    confirmed = Trial.of(file.report["confirmed"], "confirmed")
    assert confirmed.recipe == settings.recipe
    assert row.cells_per_weight == pytest.approx(confirmed.cells_per_weight, rel=0.01)
    assert row.seeds == 10
    # Half a point is what was asked for, or what the budget was meant for.
    assert row.float_accuracy - row.accuracy_mean <= 0.005 + 1e-9


def test_there_are_plans():
    assert len(PLANS) >= 8
