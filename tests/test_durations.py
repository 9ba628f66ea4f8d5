"""Ages as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softcell.durations import format_age, parse_age
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
