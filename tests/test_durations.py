"""Ages as people write them."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softcell.durations import Ages, format_age, parse_age, parse_ages
from softcell.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("20", 20.0),
        ("20s", 20.0),
        (" 1.5 h ", 5400.0),
        ("2m", 120.0),
        ("2min", 120.0),
        ("30D", 30 * 86_400.0),
        ("10y", 10 * 365.25 * 86_400),
        ("1e3", 1000.0),
        ("2.5e-1s", 0.25),
        (7, 7.0),
        (0.5, 0.5),
    ],
)
def test_ages(text, seconds):
    assert parse_age(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "y",
        "10 years",
        "-1",
        "-1s",
        "1..5h",
        ".",
        "nan",
        "inf",
        "1e999y",
        "5e",
        "1h30m",
        -1,
        -0.5,
        float("nan"),
        float("inf"),
        None,
        [1],
        "١s",
    ],
)
def test_what_is_no_age(text):
    with pytest.raises(InputError, match="expected an age such as 0, 20s, 1h, 30d or 10y"):
        parse_age(text)


def test_what_may_be_two_things_is_asked_about():
    with pytest.raises(InputError, match="'1M' may be minutes or months; write 1m for the one"):
        parse_age("1M")
    with pytest.raises(InputError, match="has two dots, such as 1d..10y, got '1d...10y'"):
        parse_ages("1d...10y")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (60.0, "1m"),
        (90.0, "90s"),
        (5400.0, "90m"),
        (86_400, "1d"),
        (315_576_000.0, "10y"),
        (1_234_567.0, "1234567s"),
        (0.25, "0.25s"),
    ],
)
def test_the_largest_unit_that_is_whole(seconds, text):
    assert format_age(seconds) == text


@given(seconds=st.floats(0, 1e12) | st.integers(0, 10**10))
def test_what_is_written_is_read(seconds):
    assert parse_age(format_age(seconds)) == seconds


def test_spans_of_ages():
    assert parse_ages("1d..10y") == Ages(86_400.0, 315_576_000.0)
    assert parse_ages(" 20s .. 1m ", told=False) == Ages(20.0, 60.0, told=False)
    for one in ("1h", 3600, "3600", "1h..60m"):
        assert parse_ages(one) == Ages(3600.0, 3600.0)
        assert parse_ages(one).single
    assert str(parse_ages("1d..10y")) == "1d..10y"
    assert str(parse_ages(90.0)) == "90s"


@pytest.mark.parametrize(
    "text", ["10y..1d", "..1d", "1d..", "1d...2d", "1d..2d..3d", "-1..5", "a..b", "..", "1d-2d"]
)
def test_what_is_no_span(text):
    with pytest.raises(InputError):
        parse_ages(text)


def test_one_age_is_always_told():
    with pytest.raises(InputError, match="needs a span"):
        parse_ages("1d", told=False)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_spaced_ages_keep_their_ends_and_grow_evenly(count):
    ages = Ages(0.0, 1e9).spaced(count)
    assert (len(ages), ages[0], ages[-1]) == (count, 0.0, 1e9)
    steps = [math.log1p(b) - math.log1p(a) for a, b in itertools.pairwise(ages)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-6)
