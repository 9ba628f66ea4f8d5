"""Galois fields and generator polynomials, against algebra and against the galois library."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from softcell.codes.store.galois_field import (
    PRIMITIVE_POLYNOMIALS,
    galois_field,
    generator_degrees,
    generator_polynomial,
    minimal_polynomial,
)

VECTORS = json.loads((Path(__file__).parent / "vectors" / "bch_galois.json").read_text())["codes"]


@pytest.mark.parametrize("m", PRIMITIVE_POLYNOMIALS)
def test_powers_of_alpha_run_through_every_element_once(m):
    field = galois_field(m)
    assert PRIMITIVE_POLYNOMIALS[m].bit_length() == m + 1
    np.testing.assert_array_equal(np.sort(field.powers[: field.order]), np.arange(1, 1 << m))
    elements = np.arange(1, 1 << m)
    np.testing.assert_array_equal(field.powers[field.logarithms[elements]], elements)


def long_product(a: int, b: int, m: int) -> int:
    """Multiply two field elements bit by bit."""
    product = 0
    for i in range(m):
        if b >> i & 1:
            product ^= a << i
    for i in range(2 * m, m - 1, -1):
        if product >> i & 1:
            product ^= PRIMITIVE_POLYNOMIALS[m] << (i - m)
    return product


@pytest.mark.parametrize("m", [2, 4, 9, 13, 16])
def test_table_products_equal_long_multiplication(m):
    field = galois_field(m)
    pairs = np.random.default_rng(m).integers(0, 1 << m, (300, 2)).tolist()
    for a, b in [*pairs, [0, 0], [0, 1], [(1 << m) - 1, 0]]:
        assert field.powers[field.logarithms[a] + field.logarithms[b]] == long_product(a, b, m)


def value_at(polynomial: int, exponent: int, m: int) -> int:
    field = galois_field(m)
    value = 0
    for i in range(polynomial.bit_length()):
        if polynomial >> i & 1:
            value ^= int(field.powers[exponent * i % field.order])
    return value


@pytest.mark.parametrize(("m", "t"), [(4, 3), (6, 5), (8, 18), (10, 57), (13, 7)])
def test_the_generator_has_2t_consecutive_roots_and_the_counted_degree(m, t):
    generator = generator_polynomial(m, t)
    assert all(value_at(generator, exponent, m) == 0 for exponent in range(1, 2 * t + 1))
    assert value_at(generator, 0, m) != 0
    assert generator.bit_length() - 1 == generator_degrees(m)[t] <= m * t


@pytest.mark.parametrize("vectors", VECTORS, ids=lambda v: f"m{v['m']}-t{v['t']}")
def test_generators_equal_those_of_the_galois_library(vectors):
    assert hex(generator_polynomial(vectors["m"], vectors["t"])) == vectors["generator"]


def test_minimal_polynomials_of_the_textbook_field():
    # Lin & Costello, Table 2.9: GF(2^4) by x^4 + x + 1.
    assert [minimal_polynomial(i, 4) for i in (0, 1, 3, 5, 7)] == [
        0b11,
        0b10011,
        0b11111,
        0b111,
        0b11001,
    ]


def test_the_strongest_code_is_repetition():
    for m in (3, 5, 8):
        assert generator_degrees(m)[-1] == (1 << m) - 2
