import numpy as np
import pytest
from scipy import stats

from softcell.errors import InputError
from softcell.evaluate.statistics import mean_and_ci95, wilson_interval


@pytest.mark.parametrize("count", [2, 3, 10, 200])
def test_the_interval_is_that_of_scipy(count):
    values = np.random.default_rng(count).normal(0.9, 0.02, count)
    mean, interval = mean_and_ci95(list(values))
    expected = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert mean == pytest.approx(values.mean(), rel=1e-12)
    assert interval == pytest.approx(expected, rel=1e-9)


def test_the_interval_covers_the_truth_19_times_in_20():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        _, (low, high) = mean_and_ci95(rng.normal(5.0, 2.0, 4))
        covered += low <= 5.0 <= high
    # Binomial standard deviation 0.5 %; five of them allowed.
    assert covered / 2000 == pytest.approx(0.95, abs=0.025)


def test_one_value_is_its_own_interval_and_equal_values_have_none():
    assert mean_and_ci95([0.7]) == (0.7, (0.7, 0.7))
    assert mean_and_ci95([0.5] * 8) == (0.5, (0.5, 0.5))


@pytest.mark.parametrize("values", [[], [np.nan], [1.0, np.inf], [[1.0, 2.0]]])
def test_values_without_a_mean_are_refused(values):
    with pytest.raises(InputError, match="finite"):
        mean_and_ci95(values)


@pytest.mark.parametrize(("correct", "total"), [(915, 1000), (0, 10), (10, 10), (1, 3)])
def test_the_wilson_interval_is_that_of_scipy(correct, total):
    expected = stats.binomtest(correct, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(correct, total) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("correct", "total"), [(-1, 10), (11, 10), (0, 0)])
def test_impossible_counts_are_refused(correct, total):
    with pytest.raises(InputError, match="correct"):
        wilson_interval(correct, total)
