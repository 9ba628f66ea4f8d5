"""Cells that relax: their law, their histories and their statistics are those of the readings."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest, kstwo, norm

from softcell.devices import Device, RelaxingCellB, parse_device, relaxing
from softcell.devices.relaxation import SCORES, Relaxation, relaxation, without_noise
from softcell.errors import InputError
from softcell.streams import Stream

NAMES = ["rram-relax-b", "rram-relax-c"]
CELLS = 100_000
SCRIPT = Path(__file__).parents[2] / "scripts/fit_relaxing_devices.py"
MEASURED = Path(os.environ.get("SOFTCELL_DATA", "nowhere")) / "cells"


def readings(device: Device, level: float, ages: list[float]) -> np.ndarray:
    """Return readings of the same cells at some ages, shape (cells, ages)."""
    cells = device.write(np.full(CELLS, level, np.float32), stream=Stream.of(4, "write"))
    read = [device.read(device.age(cells, a), stream=Stream.of(4, f"read {a}")) for a in ages]
    return np.stack(read, axis=1).astype(np.float64)


@pytest.mark.parametrize(
    ("name", "age"),
    [
        *((name, age) for name in NAMES for age in (0.0, 0.003, 0.01, 1.0, 30.0, 1e3, 1e5, 3e8)),
        ("rram-relax-b:read_noise=0", 0.3),
        ("rram-relax-c:read_noise=2", 0.3),
    ],
)
def test_the_law_is_that_of_simulated_readings_at_any_age(name, age):
    device = parse_device(name)
    levels = np.array([0.0, 0.11, 0.4, 1.0])
    edges = np.concatenate([[-np.inf], np.linspace(*device.span(age), 1023), [np.inf]])
    law = device.law(levels, edges, age)
    for level, row in zip(levels, law, strict=True):
        read = readings(device, level, [age])[:, 0]
        counts = np.histogram(read, np.concatenate([[-1e9], edges[1:-1], [1e9]]))[0]
        assert np.abs(np.cumsum(counts / CELLS - row)).max() < 2.23 / np.sqrt(CELLS) + 0.002
        if not device.read_noise:  # a law without any noise is made of steps
            continue
        expected = row * CELLS  # chi-square over bins of at least 100 readings
        groups = np.unique(np.floor(np.cumsum(expected) / 200).astype(int), return_index=True)[1]
        found, expected = (np.add.reduceat(x, groups) for x in (counts, expected))
        enough = expected >= 100
        excess = ((found - expected)[enough] ** 2 / expected[enough]).mean()
        assert excess < 2.0, (level, excess)  # an error of 7 % in every bin of 200 readings


@pytest.mark.parametrize("name", NAMES)
def test_readings_at_the_measured_times_have_the_measured_quantiles(name):
    device, data = parse_device(name), relaxation(name)
    for i, age in enumerate(data.times):
        for k in (3, 12, 25):
            read = readings(device, k / (len(data.start) - 1), [0.0, float(age)])
            found = np.quantile(read[:, 1] - read[:, 0], norm.cdf([-1.5, -0.5, 0, 0.5, 1.5]))
            known = np.interp([-1.5, -0.5, 0, 0.5, 1.5], data.scores, data.change[i, k])
            scale = known[-1] - known[0]
            assert np.abs(found - known).max() < 0.04 * scale + 0.1 * device.read_noise


@pytest.mark.parametrize("name", NAMES)
def test_scores_have_their_correlations_and_are_normal_between_the_times_too(name):
    device, data = parse_device(name), relaxation(name)
    cells = device.write(np.full(CELLS, 0.5, np.float32), stream=Stream.of(0, "write"))
    scores = np.stack([cells.state[f"score_{i}"] for i in range(len(data.times))])
    assert np.corrcoef(scores) == pytest.approx(data.correlation, abs=0.015)
    assert scores.std(axis=1) == pytest.approx(1, abs=0.01)
    between = [device._score(device.age(cells, age)) for age in (0.05, 30.0, 3000.0, 1e9)]
    for score in between:
        assert score.mean() == pytest.approx(0, abs=0.015)
        assert score.std() == pytest.approx(1, abs=0.01)
    assert (between[-1] == scores[-1]).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_keeps_its_place_and_forgets_it_slowly(name):
    device = parse_device(f"{name}:read_noise=0")
    read = readings(device, 0.4, [0.0, 0.1, 1.0, 1.5, 3.0, 4000.0])
    change = read[:, 1:] - read[:, :1]
    near = np.corrcoef(change.T)[1]  # with the change at 1 s
    assert 0.4 < near[0] < 0.75
    assert near[2] > 0.95
    assert (np.diff(near[1:]) < 0).all()
    deviation = change.std(axis=0)
    assert (np.diff(deviation) > 0).all()


def test_statistics_of_change_are_those_measured():
    """Mean and deviation in % of the range, all levels together: figures of the data's own page."""
    for name, ages, mean, deviation in (
        ("rram-relax-b", [0.01, 0.1, 1, 1e3, 1e4], [-0.09, -0.26, -0.48, -0.99, -1.04], None),
        ("rram-relax-b", [0.01, 0.1, 1, 1e3, 1e4], None, [1.78, 2.73, 3.54, 4.56, 6.08]),
        ("rram-relax-c", [0.01, 0.1, 1, 1e5], [-0.10, -0.39, -0.67, -3.62], None),
        ("rram-relax-c", [0.01, 0.1, 1, 1e5], None, [2.32, 3.89, 5.11, 9.10]),
    ):
        device = parse_device(name)
        levels = np.repeat(np.linspace(0, 1, 32, dtype=np.float32), 4000)
        cells = device.write(levels, stream=Stream.of(2, "write"))
        start = device.read(cells, stream=Stream.of(2, "read")).astype(np.float64)
        for i, age in enumerate(ages):
            change = device.read(device.age(cells, age), stream=Stream.of(2, f"read {age}")) - start
            change *= 100 / relaxation(name).g_max
            if mean:
                assert change.mean() == pytest.approx(mean[i], abs=0.08)
            else:  # the last of B holds cells that were never in one of the 32 ranges
                assert change.std() == pytest.approx(deviation[i], rel=0.03 if age < 1e4 else 0.1)


def test_the_read_that_ended_programming_is_within_its_range():
    device = parse_device("rram-relax-b:read_noise=0")
    for level in (0.0, 10 / 31, 1.0):
        read = readings(device, level, [0.0])[:, 0]
        target = device.level_axis.to_unit(np.array(level))
        assert np.abs(read - target).max() < 2.001  # uS: half a range
        assert read.std() > 0.3


def test_reading_again_adds_read_noise_alone():
    device = parse_device("rram-relax-b")
    cells = device.age(device.write(np.full(CELLS, 0.7, np.float32), stream=Stream.of(0, "w")), 9.0)
    first, second = (device.read(cells, stream=Stream.of(0, n)).astype(np.float64) for n in "ab")
    assert (first - second).std() == pytest.approx(np.sqrt(2) * device.read_noise, rel=0.02)


def test_noise_is_taken_out_of_quantiles():
    quantiles = np.array([[-3.0, -1.0, 0.0, 1.0, 3.0]]) * 5.0 + 1.0
    scores = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])
    quiet = without_noise(quantiles, scores, 3.0)
    inside = np.abs(SCORES) <= 3
    assert quiet[0, inside] == pytest.approx(1 + 4 * SCORES[inside])  # 5^2 = 4^2 + 3^2
    assert without_noise(quantiles, scores, 9.0)[0] == pytest.approx(1)


def test_ages_are_known_up_to_the_last_measured_one():
    assert [parse_device(name).measured_seconds for name in NAMES] == [1e4, 1e5]
    data = relaxation("rram-relax-b")
    last, before = data.changed(1e4), data.changed(1.0)
    assert data.changed(1e8) == pytest.approx(2 * last - before)  # as many decades again
    assert data.changed(1e4 * 1.0001) == pytest.approx(last, abs=0.01)
    assert data.changed(0.005) == pytest.approx(data.change[0] / 2)
    assert data.changed(10.0) == pytest.approx((data.change[2] + data.change[3]) / 2)


@pytest.mark.parametrize("noise", ["-1", "nan", "128", "inf"])
def test_read_noise_beyond_reason_is_refused(noise):
    with pytest.raises(InputError, match=r"read_noise in uS must lie in \[0, 128\)"):
        parse_device(f"rram-relax-b:read_noise={noise}")


def test_the_name_says_what_differs():
    assert RelaxingCellB().name == "rram-relax-b"
    assert parse_device("rram-relax-b:read_noise=0.1").name == "rram-relax-b:read_noise=0.1"
    assert RelaxingCellB() == parse_device("rram-relax-b")


@pytest.mark.parametrize("name", NAMES)
def test_the_law_holds_far_out_where_stores_are_designed(name):
    device = parse_device(name)
    levels = np.full(2_000_000, 0.9, np.float32)
    cells = device.age(device.write(levels, stream=Stream.of(3, "write")), 1e5)
    read = device.read(cells, stream=Stream.of(3, "read")).astype(np.float64)
    parts = np.array([1e-4, 1e-3])
    quantiles = np.quantile(read, np.concatenate([parts, 1 - parts[::-1]]))
    law = device.law(levels[:1], np.concatenate([[-np.inf], quantiles, [np.inf]]), 1e5)[0]
    assert np.cumsum(law)[:2] == pytest.approx(parts, rel=0.25)
    assert np.cumsum(law[::-1])[:2] == pytest.approx(parts, rel=0.25)


@pytest.mark.slow
@pytest.mark.skipif(not MEASURED.is_dir(), reason="needs the measurements (SOFTCELL_DATA)")
@pytest.mark.parametrize("technology", ["B", "C"])
def test_the_law_of_half_of_the_cells_is_that_of_the_others(technology, monkeypatch):
    """Quantiles of a random half against readings of the other, range by range and at each time."""
    spec = importlib.util.spec_from_file_location("fit_relaxing_devices", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    data = dict(np.load(MEASURED / f"rram_relax_tech{technology}.npz"))
    fitted = np.random.default_rng(0).random(len(data["addr"])) < 0.5
    half = Relaxation(**script.statistics(data, fitted, technology))
    monkeypatch.setattr(relaxing, "relaxation", lambda name: half)
    device = parse_device(f"rram-relax-{technology.lower()}:read_noise={half.read_noise}")
    g, level = data["g_uS"].astype(np.float64), data["level"]
    rejected = normal_rejected = laws = 0
    beyond, readings_in_all = np.zeros(3), 0
    for i, age in enumerate(data["t_nominal_s"]):
        inner = np.linspace(*device.span(age), 4097)
        law = device.law(np.arange(32) / 31, np.concatenate([[-np.inf], inner, [np.inf]]), age)
        for k, row in enumerate(np.cumsum(law, axis=1)[:, :-1]):
            known, held_out = (
                each[np.isfinite(each)]
                for each in (g[chosen & (level == k), i] for chosen in (fitted, ~fitted))
            )
            p = np.interp(np.sort(held_out), inner, row)
            count = len(p)
            rank = np.arange(count)
            distance = max((p - rank / count).max(), ((rank + 1) / count - p).max())
            # Both halves have their chance: two samples.
            pair = count * len(known) / (count + len(known))
            rejected += kstwo.sf(distance, round(pair)) < 0.01
            normal = kstest(held_out, norm(known.mean(), known.std()).cdf).statistic
            normal_rejected += kstwo.sf(normal, round(pair)) < 0.01
            beyond += [(np.minimum(p, 1 - p) < part / 2).sum() for part in (0.05, 0.01, 0.001)]
            readings_in_all += count
            laws += 1
    print(technology, laws, rejected, normal_rejected, beyond, beyond / readings_in_all)
    assert rejected <= 0.02 * laws < 0.25 * laws < normal_rejected
    assert beyond / readings_in_all == pytest.approx([0.05, 0.01, 0.001], rel=0.3, abs=0.0015)
