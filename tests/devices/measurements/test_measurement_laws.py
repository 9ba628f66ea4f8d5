"""Which law readings allow, and how far their number lets one be sure of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from softcell.channel import capacity_interval, channel_of
from softcell.devices import fit_table
from softcell.devices.measurements import Samples, choose_law, fitted_law, folds
from softcell.devices.measurements.laws import _student_law
from softcell.errors import InputError

LEVELS = 12


def samples(draw, count: int, *, seed: int = 0, deviation=None) -> Samples:
    """Return readings of one cell, `count` at each level."""
    random = np.random.default_rng(seed)
    spread = np.full(LEVELS, 0.1) if deviation is None else deviation
    place = np.repeat(np.arange(LEVELS), count)
    return Samples(place + spread[place] * draw(random, len(place)), place, place, LEVELS)


def normal(random, count):
    return random.normal(size=count)


def student(random, count):
    return random.standard_t(3, count)


def with_outliers(random, count):
    wide = random.random(count) < 0.03
    return np.where(wide, random.normal(-6, 2, count), random.normal(0, 0.7, count))


def two_sided(random, count):
    return np.where(random.random(count) < 0.5, -1, 1) + random.normal(0, 0.2, count)


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (normal, {"normal"}),
        (student, {"student"}),
        (with_outliers, {"outliers"}),
        (two_sided, {"outliers", "empirical"}),
    ],
)
def test_the_law_that_readings_came_from_is_chosen(draw, expected):
    evidence = choose_law(samples(draw, 400))
    assert evidence.law in expected, evidence
    assert evidence.rejected <= 2
    if draw is not normal:
        assert evidence.rejected_normal > 6
        assert evidence.scores[evidence.law] > 0.02
    for found, law in zip(evidence.beyond, evidence.expected):
        assert law > found - 4 * np.sqrt(found + 1)
        assert law < 2 * found + 4 * np.sqrt(found + 1) + 1


@pytest.mark.parametrize(
    ("kind", "draw"),
    [
        ("normal", normal),
        ("student", normal),
        ("student", student),
        *((kind, draw) for kind in ("outliers", "empirical") for draw in (normal, with_outliers)),
        ("empirical", student),
    ],
)
def test_fitted_laws_have_the_mean_and_bulk_of_the_readings(kind, draw):
    given = samples(draw, 400)
    law = fitted_law(kind, given)
    z = (given.values - given.centre[given.place]) / np.sqrt(given.variance)[given.place]
    bulk = np.mean(np.abs(z) < 1)
    assert 1 - law.beyond(1.0).mean() == pytest.approx(bulk, abs=0.03)
    assert (law.weight * law.centre).sum(axis=1).mean() == pytest.approx(z.mean(), abs=0.03)


def test_outliers_on_one_side_stay_there():
    law = fitted_law("outliers", samples(with_outliers, 400))
    assert (law.centre[:, 1] < -2).all()


@pytest.mark.parametrize("freedom", [3.0, 8.0, 24.0, 400.0])
def test_a_mixture_of_normal_components_stands_for_students_t(freedom):
    law = _student_law("student", np.full(2, freedom), np.ones(2))
    for deviations in (0.5, 1.0, 2.0, 4.0):
        exact = 2 * stats.t.sf(deviations, freedom)
        assert law.beyond(deviations)[0] == pytest.approx(exact, rel=0.03)
    rare = float(stats.t.isf(1e-7, freedom))
    assert 0.5e-7 < law.beyond(rare)[0] / 2 < 2e-7


def test_deviations_of_few_readings_are_drawn_towards_their_neighbours():
    few = samples(normal, 4)
    deviation, freedom = few.predicted
    own = np.sqrt(few.variance)
    assert np.log(deviation).std() < 0.6 * np.log(own).std()
    assert (freedom > 3).all()
    many = samples(normal, 2000, deviation=np.geomspace(0.01, 1, LEVELS))
    deviation, freedom = many.predicted
    assert deviation == pytest.approx(np.sqrt(many.variance), rel=0.01)


def test_a_reading_that_was_left_out_is_predicted_by_the_others():
    given = samples(normal, 3000)
    assert given.left_out.std() == pytest.approx(1, abs=0.02)
    few = np.concatenate([samples(normal, 5, seed=k).left_out for k in range(200)])
    # 5 readings and a prior of some: t of about 8 and more degrees of freedom.
    assert np.mean(np.abs(few) < stats.t.ppf(0.975, 8)) == pytest.approx(0.955, abs=0.015)


@pytest.mark.parametrize("count", [5, 20, 100])
def test_confidence_is_the_share_of_deviations_that_are_no_larger(count):
    right = []
    for seed in range(60):
        given = samples(normal, count, seed=seed)
        right.append(given.predicted[0] * given.margin(0.9) >= 0.1)
    assert 0.87 < np.mean(right) <= 1
    assert (given.margin(0.99) > given.margin(0.9)).all()
    assert (given.margin(0.5) == 1).all()


def test_more_readings_make_a_narrower_law():
    beyond = [
        fitted_law("normal", samples(normal, n), 0.98).beyond(3.0).mean() for n in (8, 40, 600)
    ]
    assert beyond[0] > 2 * beyond[1] > 3 * beyond[2] > 6e-3


def test_folds_share_out_the_readings_of_every_level():
    given = samples(normal, 11)
    parts = folds(given)
    assert (np.sum(parts, axis=0) == 1).all()
    assert all(np.bincount(given.place[part]).min() >= 2 for part in parts)
    assert folds(samples(normal, 4)) == []


def measured(path, count: int, seed: int = 0):
    random = np.random.default_rng(seed)
    volts = np.repeat(np.linspace(1, 3, 9), count)
    ohm = 10 ** (4 + volts + random.normal(0, 0.15, len(volts)))
    rows = [f"{v:.3f},{r:.6g}" for v, r in zip(volts, ohm)]
    path.write_text("\n".join(["pulse_V,resistance_ohm", *rows]))
    return path


def test_the_interval_of_a_capacity_holds_it_and_narrows_with_readings(tmp_path):
    true = channel_of(fit_table(measured(tmp_path / "all.csv", 5000), law="plain").device)
    widths = []
    for count in (20, 400):
        fit = fit_table(measured(tmp_path / "some.csv", count, seed=3))
        low, high = capacity_interval(fit.likeliest, fit.folds)
        assert low - 0.05 < true.capacity.bits < high + 0.05
        assert channel_of(fit.device).capacity.bits < channel_of(fit.likeliest).capacity.bits
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
    assert capacity_interval(fit.likeliest, ()) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"law": "flat"}, "law is one of best, normal, outliers, student, empirical, plain"),
        ({"confidence": 0.3}, "from 0.5 to 0.9999, got 0.3"),
        ({"confidence": float("nan")}, "from 0.5 to 0.9999"),
    ],
)
def test_options_of_a_fit_are_checked(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        fit_table(measured(tmp_path / "cell.csv", 20), **options)
