"""The uncorrectable bit error rate, and the code chosen for it."""

from __future__ import annotations

from fractions import Fraction
from math import comb, inf, nan

import numpy as np
import pytest

from softcell.codes.store.bch import BCH
from softcell.codes.store.protection import choose_bch, uncorrectable_bit_error_rate
from softcell.errors import InfeasibleError, InputError


def exact_rate(n: int, k: int, t: int, raw: float) -> Fraction:
    """The same in rational arithmetic; terms past t + 25 are too small to matter,
    but for codes short enough to count them all."""
    p = Fraction(raw)
    top = min(n, t + 25)
    return sum(comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(t + 1, top + 1)) / k


@pytest.mark.parametrize(
    ("n", "k", "t", "raw"),
    [
        (15, 7, 2, 0.03),
        (15, 7, 2, 1e-9),
        (15, 11, 14, 0.25),
        (27, 16, 2, 0.5),
        (100, 100, 0, 1e-17),
        (560, 512, 5, 1e-3),
        (1100, 1024, 6, 1e-5),
    ],
)
def test_the_rate_equals_rational_arithmetic(n, k, t, raw):
    exact = float(exact_rate(n, k, t, raw))
    assert uncorrectable_bit_error_rate(n, k, t, raw) == pytest.approx(exact, rel=1e-12, abs=0)


def test_the_rate_keeps_its_digits_below_1e_30():
    # The leading terms dominate: P = C(n, t + 1) p^(t + 1) (1 - p)^(n - t - 1) (1 + 1e-4 or so).
    n, t, raw = 4187, 7, 1e-7
    terms = [comb(n, j) * raw**j * (1 - raw) ** (n - j) for j in range(t + 1, t + 6)]
    rate = uncorrectable_bit_error_rate(n, 4096, t, raw)
    assert rate < 1e-35
    assert rate == pytest.approx(sum(terms) / 4096, rel=1e-9, abs=0)


def test_the_rate_at_its_limits():
    assert uncorrectable_bit_error_rate(100, 50, 3, 0.0) == 0
    assert uncorrectable_bit_error_rate(100, 50, 3, 1.0) == pytest.approx(1 / 50)
    assert uncorrectable_bit_error_rate(100, 50, 100, 0.7) == 0
    assert uncorrectable_bit_error_rate(100, 50, 0, 1e-3) == pytest.approx((1 - 0.999**100) / 50)


def test_the_rate_is_that_of_frames_that_the_decoder_cannot_correct():
    code = BCH(k=120, t=2)
    raw = 0.01
    rng = np.random.default_rng(11)
    frames = 40000
    received = (rng.random((frames, code.n)) < raw).astype(np.uint8)
    decoded = code.decode(received)
    wrong = (decoded.failed | decoded.bits.any(axis=1)).mean()
    # One frame in a thousand with three errors has all of them in its parity.
    expected = uncorrectable_bit_error_rate(code.n, code.k, code.t, raw) * code.k
    assert wrong == pytest.approx(expected, rel=0.04)


def test_conventional_storage_needs_t_7_and_carries_1_957_bits_per_cell():
    code = choose_bch(2.9e-5)
    assert (code.k, code.t, code.parity) == (4096, 7, 91)
    assert 2 * code.rate == pytest.approx(1.957, abs=5e-4)
    longer = choose_bch(2.9e-5, k=8192)
    assert (longer.k, longer.t) == (8192, 8)
    assert 2 * longer.rate == pytest.approx(1.973, abs=5e-4)


@pytest.mark.parametrize("raw", [1e-8, 1e-6, 2.9e-5, 1e-3, 1e-2, 0.05])
@pytest.mark.parametrize("uber", [1e-15, 1e-9])
def test_the_chosen_code_reaches_the_rate_and_a_weaker_one_does_not(raw, uber):
    code = choose_bch(raw, uber=uber)
    assert uncorrectable_bit_error_rate(code.n, code.k, code.t, raw) <= uber
    weaker = BCH(k=code.k, t=code.t - 1)
    assert uncorrectable_bit_error_rate(weaker.n, weaker.k, weaker.t, raw) > uber


def test_more_errors_or_a_stricter_demand_never_raise_the_rate_of_the_code():
    rates = [choose_bch(raw).rate for raw in (0.0, 1e-12, 1e-7, 1e-5, 1e-3, 1e-2, 0.03, 0.07, 0.1)]
    assert rates == sorted(rates, reverse=True)
    assert len(set(rates)) == len(rates)
    strict = [choose_bch(1e-3, uber=uber).rate for uber in (1e-6, 1e-12, 1e-18, 1e-30)]
    assert strict == sorted(strict, reverse=True)


def test_shorter_frames_are_taken_where_they_have_the_better_rate():
    code = choose_bch(0.07)
    assert code.k < 4096
    assert code.rate > 0.1


def test_the_capacity_of_the_channel_is_never_exceeded():
    for raw in (1e-4, 1e-2, 0.05, 0.1):
        capacity = 1 + raw * np.log2(raw) + (1 - raw) * np.log2(1 - raw)
        assert choose_bch(raw).rate < capacity


def test_no_code_where_none_is_needed():
    assert choose_bch(0.0) == BCH(k=4096, t=0)
    assert choose_bch(1e-16) == BCH(k=4096, t=0)


@pytest.mark.parametrize("raw", [0.2, 0.5, 1.0])
def test_hopeless_error_rates_are_infeasible(raw):
    with pytest.raises(InfeasibleError, match="use fewer levels per cell"):
        choose_bch(raw)


def test_bad_arguments_are_refused():
    for raw in (-1e-3, 1.1, nan, inf):
        with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
            choose_bch(raw)
        with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
            uncorrectable_bit_error_rate(15, 7, 2, raw)
    for uber in (0.0, 1.0, nan):
        with pytest.raises(InputError, match="uber"):
            choose_bch(1e-4, uber=uber)
    with pytest.raises(InputError, match="at least 1 bit"):
        choose_bch(1e-4, k=0)
    for n, k, t in ((15, 16, 1), (15, 0, 1), (15, 7, -1)):
        with pytest.raises(InputError, match="1 <= k <= n"):
            uncorrectable_bit_error_rate(n, k, t, 0.1)
