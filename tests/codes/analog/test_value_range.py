"""Ranges: the expected distortion is the measured one, and the choice is the best of all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softcell.channel import channel_of
from softcell.codes.analog.code import AnalogCode, decode_rows, encode_rows, tables_of
from softcell.codes.analog.position_map import moments
from softcell.codes.analog.value_range import (
    PLACES,
    Histogram,
    ValueRange,
    choose_range,
    choose_range_above,
    distortion,
    map_of,
)
from softcell.devices import parse_device
from softcell.streams import Stream

WEIGHTS = Stream.of(5, "weights").normal(200_000)


def measured(weights, value_range, device, *, sign, reads, age=0.0):
    """Mean squared error of encode, write, age, read and decode."""
    design = channel_of(device)
    code = AnalogCode(sign, False, (value_range,), np.full((1, 1), reads, np.uint8))
    tables = tables_of(code, design, channel_of(device, age))
    rows = weights[None]
    classes = code.classes(rows)
    levels = encode_rows(rows, classes, code, tables) / np.float32(255)
    cells = device.age(device.write(levels, stream=Stream.of(1, "write")), age)
    readings = device.read(cells, stream=Stream.of(1, "read"))
    restored = decode_rows(readings, classes, (rows < 0).astype(np.uint8), code, tables)
    return float(np.mean((restored.astype(np.float64) - rows) ** 2))


def expected(weights, value_range, channel, *, sign, reads):
    histogram = Histogram.of(weights, magnitudes=sign)
    bias, variance = distortion(
        histogram, value_range, moments(map_of(value_range, channel), channel, reads)
    )
    return (bias + variance / reads) / weights.size


def decibels(error):
    return -10 * np.log10(error)


@pytest.mark.parametrize("sign", [False, True])
@pytest.mark.parametrize("reads", [1, 2, 4, 11])
@pytest.mark.parametrize(
    "name", ["pcm-partial-reset", "pcm-sweep", "rram-reset", "pcm-mushroom", "rram-wan"]
)
def test_expected_distortion_is_the_measured_one(name, reads, sign):
    device = parse_device(name)
    channel = channel_of(device)
    chosen = choose_range(
        Histogram.of(WEIGHTS, magnitudes=sign), channel, signed=not sign, reads=reads
    )
    told = expected(WEIGHTS, chosen, channel, sign=sign, reads=reads)
    assert measured(WEIGHTS, chosen, device, sign=sign, reads=reads) == pytest.approx(
        told, rel=0.03
    )


@pytest.mark.parametrize("name", ["rram-reset", "gaussian:snr_db=12", "pcm-partial-reset"])
@pytest.mark.parametrize("reads", [2, 11])
def test_readings_are_averaged_before_they_are_clipped(name, reads):
    """Near the ends, bias and variance of the average do not follow from those of one read."""
    device = parse_device(name)
    channel = channel_of(device)
    for value_range, sign in ((ValueRange(-2.0, 2.0), False), (ValueRange(0.0, 9.0), True)):
        told = expected(WEIGHTS, value_range, channel, sign=sign, reads=reads)
        found = measured(WEIGHTS, value_range, device, sign=sign, reads=reads)
        assert found == pytest.approx(told, rel=0.03)


def test_gaussian_weights_on_measured_cells_reach_the_designs_figures():
    device = parse_device("pcm-partial-reset")
    channel = channel_of(device)
    signed = choose_range(Histogram.of(WEIGHTS), channel, signed=True)
    assert 9.8 <= decibels(measured(WEIGHTS, signed, device, sign=False, reads=1)) <= 10.0
    apart = choose_range(Histogram.of(WEIGHTS, magnitudes=True), channel, signed=False)
    assert decibels(measured(WEIGHTS, apart, device, sign=True, reads=1)) >= 13.7
    # The quiet end of this cell is the low one's opposite: small magnitudes go to high readings.
    assert apart.start > apart.stop


@pytest.mark.parametrize("name", ["pcm-partial-reset", "pcm-sweep", "rram-reset", "pcm-mushroom"])
@pytest.mark.parametrize("signed", [True, False])
def test_choice_beats_the_full_range_and_any_other(name, signed):
    device = parse_device(name)
    channel = channel_of(device)
    kind = Stream.of(9, name)
    laplacian = np.float32(0.02) * kind.normal(50_000) * np.abs(kind.named("b").normal(50_000))
    histogram = Histogram.of(laplacian, magnitudes=not signed)

    def told(value_range):
        return expected(laplacian, value_range, channel, sign=not signed, reads=1)

    chosen = choose_range(histogram, channel, signed=signed)
    full = float(np.abs(laplacian).max())
    best = told(chosen)
    assert best <= told(ValueRange(-full if signed else 0.0, full)) * (1 + 1e-9)
    for part in (0.02, 0.1, 0.2, 0.4, 0.7, 1.0):
        for start, stop in ((0, PLACES), (PLACES, 0), (4, 12)):
            other = ValueRange(-full * part if signed else 0.0, full * part, start, stop)
            assert best <= told(other) * 1.005


def test_more_reads_less_distortion_and_a_wider_range():
    channel = channel_of(parse_device("pcm-partial-reset"))
    histogram = Histogram.of(WEIGHTS)
    chosen = [choose_range(histogram, channel, signed=True, reads=r) for r in (1, 3, 10)]
    told = [expected(WEIGHTS, c, channel, sign=False, reads=r) for c, r in zip(chosen, (1, 3, 10))]
    assert told[0] > told[1] > told[2]
    assert chosen[0].high < chosen[1].high < chosen[2].high


@pytest.mark.parametrize("reads", [2, 4, 10])
def test_averaging_gains_ten_log_r_while_variance_dominates(reads):
    device = parse_device("gaussian:snr_db=20")
    weights = np.clip(WEIGHTS, -2, 2)
    value_range = ValueRange(-3.0, 3.0)  # nothing is clipped
    once = measured(weights, value_range, device, sign=False, reads=1)
    often = measured(weights, value_range, device, sign=False, reads=reads)
    assert 10 * np.log10(once / often) == pytest.approx(10 * np.log10(reads), abs=0.15)


def test_one_enormous_weight_does_not_spoil_the_others():
    channel = channel_of(parse_device("pcm-partial-reset"))
    spoiled = np.append(WEIGHTS, np.float32(1e4))
    chosen = choose_range(Histogram.of(spoiled), channel, signed=True)
    assert 1.3 < chosen.high < 2.3


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_choice_scales_with_the_weights(scale):
    channel = channel_of(parse_device("pcm-partial-reset"))
    one = choose_range(Histogram.of(WEIGHTS, magnitudes=True), channel, signed=False)
    scaled = WEIGHTS * np.float32(scale)
    other = choose_range(Histogram.of(scaled, magnitudes=True), channel, signed=False)
    assert (other.start, other.stop) == (one.start, one.stop)
    assert other.high == pytest.approx(one.high * scale, rel=0.05)


def test_zeros_alone_make_an_empty_range():
    channel = channel_of(parse_device("pcm-partial-reset"))
    chosen = choose_range(Histogram.of(np.zeros(9, np.float32)), channel, signed=True)
    assert (chosen.low, chosen.high) == (0.0, 0.0)


def test_a_given_end_is_kept_and_its_map_chosen():
    channel = channel_of(parse_device("pcm-partial-reset"))
    histogram = Histogram.of(WEIGHTS, magnitudes=True)
    chosen = choose_range_above(histogram, channel, low=0.0, reads=1, high=1.5)
    assert (chosen.low, chosen.high) == (0.0, 1.5)
    told = expected(WEIGHTS, chosen, channel, sign=True, reads=1)
    assert told < expected(WEIGHTS, ValueRange(0.0, 1.5), channel, sign=True, reads=1)


# Histograms

FLOATS = st.floats(-(2.0**60), 2.0**60, width=32)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(FLOATS, min_size=1, max_size=80), magnitudes=st.booleans())
def test_histogram_keeps_count_sum_and_extremes(values, magnitudes):
    values = np.array(values, np.float32)
    histogram = Histogram.of(values, magnitudes=magnitudes)
    counted = np.abs(values) if magnitudes else values
    assert histogram.counts.sum() == values.size
    assert histogram.values[0] == pytest.approx(counted.min(), rel=1e-6)
    assert histogram.values[-1] == pytest.approx(counted.max(), rel=1e-6)
    assert (np.diff(histogram.values) >= 0).all()
    total = float(counted.astype(np.float64).sum())
    scale = float(np.abs(counted).astype(np.float64).sum())
    assert histogram.values @ histogram.counts == pytest.approx(total, abs=1e-5 * scale)


def test_histogram_bins_are_three_percent_wide():
    histogram = Histogram.of(WEIGHTS, magnitudes=True)
    inside = histogram.values[(histogram.values > 0.01) & (histogram.values < 3)]
    assert (np.diff(inside) / inside[1:]).max() < 0.07
    energy = histogram.values**2 @ histogram.counts / WEIGHTS.size
    assert energy == pytest.approx(float(np.mean(WEIGHTS.astype(np.float64) ** 2)), rel=2e-4)
    assert len(histogram.values) < 1000


def test_histogram_adds_zeros_and_pools():
    one = Histogram.of(np.array([1.0, 2.0, 2.0], np.float32), magnitudes=True).with_zeros(4)
    assert one.values.tolist() == [0.0, 1.0, 2.0]
    assert one.counts.tolist() == [4, 1, 2]
    both = Histogram.pooled([one, Histogram.of(np.array([2.0, 8.0], np.float32))])
    assert both.values.tolist() == [0.0, 1.0, 2.0, 8.0]
    assert both.counts.tolist() == [4, 1, 3, 1]
    nothing = Histogram.of(np.zeros(0, np.float32))
    assert Histogram.pooled([nothing]).counts.tolist() == [0]
    assert Histogram.pooled([]).counts.tolist() == [0]
    assert nothing.with_zeros(3).counts.tolist() == [3]


def test_histogram_works_in_runs(monkeypatch):
    whole = Histogram.of(WEIGHTS)
    monkeypatch.setattr("softcell.codes.analog.value_range._RUN", 777)
    parts = Histogram.of(WEIGHTS)
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-12)
    assert (parts.counts == whole.counts).all()
