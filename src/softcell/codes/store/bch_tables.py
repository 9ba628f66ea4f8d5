"""Tables that a BCH codec looks up: remainders, syndromes and the values of locator monomials."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

from softcell.codes.store.galois_field import galois_field, generator_polynomial

WORD_BITS = 64


@lru_cache(maxsize=16)
def division_table(m: int, t: int) -> NDArray[np.uint64]:
    """Tabulate b(x) * x^(parity + 8 j) modulo the generator, for every polynomial b of a byte.

    Remainders are left-aligned in 64-bit words: the top bit of word 0 is the coefficient of
    x^(parity - 1). Aligned so, the division step does not depend on the generator's degree.

    Args:
        m: Degree of the field, 2 to 16.
        t: Bit errors corrected, from 1.

    Returns:
        Remainders for j = 0 to 7, shape (8, 256, words).

    Example:
        >>> int(division_table(4, 1)[0, 1, 0]) >> 60  # x^4 = x + 1 modulo x^4 + x + 1
        3
    """
    generator = generator_polynomial(m, t)
    parity = generator.bit_length() - 1
    words = -(-parity // WORD_BITS)
    table = np.zeros((8, 256, words), dtype=np.uint64)
    power = generator ^ (1 << parity)
    for bit in range(WORD_BITS):
        aligned = (power << (words * WORD_BITS - parity)).to_bytes(words * 8, "big")
        row, place = divmod(bit, 8)
        with_bit = slice(1 << place, 2 << place)
        table[row, with_bit] = table[row, : 1 << place] ^ np.frombuffer(aligned, dtype=">u8")
        power <<= 1
        if power >> parity:
            power ^= generator
    table.flags.writeable = False
    return table


@dataclass(frozen=True, eq=False)
class DecodingTables:
    """What turns remainders into syndromes, and locator polynomials into error positions.

    The search for roots needs c * alpha^(l p) for p = 0, 1, 2, ...: whatever the coefficient c,
    that is a contiguous stretch of the cyclic sequence of powers of alpha^l. Row l of
    ``monomials`` holds those cycles one after the other, as many as gcd(l, order), each started
    at alpha^b for b = 0, 1, ...; so a whole locator polynomial is evaluated everywhere by adding
    up stretches of memory, without a single multiplication.

    Attributes:
        syndromes: alpha^((2 i + 1) (p - parity)) for the coefficients x^p, p = 0 to parity - 1,
            of the remainder of received(x) * x^parity, and i = 0 to t - 1; shape (parity, t),
            uint16.
        monomials: The cycles; shape (t + 1, order), uint16. Row 0 is unused.
        cycles: gcd(l, order) for every row; shape (t + 1,), int64.
        inverses: Inverse of l / gcd modulo order / gcd: turns a logarithm into a place in its
            cycle; shape (t + 1,), int64.
    """

    syndromes: NDArray[np.uint16]
    monomials: NDArray[np.uint16]
    cycles: NDArray[np.int64]
    inverses: NDArray[np.int64]


@lru_cache(maxsize=16)
def decoding_tables(m: int, t: int) -> DecodingTables:
    """Build the tables of the code over GF(2^m) that corrects t errors.

    They take about 2 t (2^m + m t) bytes: 0.1 MB for m = 13, t = 7, and 3 MB for t = 120.

    Args:
        m: Degree of the field, 2 to 16.
        t: Bit errors corrected, from 1.
    """
    field = galois_field(m)
    order = field.order
    parity = generator_polynomial(m, t).bit_length() - 1
    odd = np.arange(1, 2 * t, 2, dtype=np.int64)
    syndromes = np.empty((parity, t), dtype=np.uint16)
    for position in range(parity):
        syndromes[position] = field.powers[(position - parity) * odd % order]

    monomials = np.zeros((t + 1, order), dtype=np.uint16)
    cycles = np.ones(t + 1, dtype=np.int64)
    inverses = np.zeros(t + 1, dtype=np.int64)
    for degree in range(1, t + 1):
        count = gcd(degree, order)
        length = order // count
        steps = np.arange(length, dtype=np.int64) * degree
        exponents = (np.arange(count, dtype=np.int64)[:, np.newaxis] + steps) % order
        monomials[degree] = field.powers[exponents.ravel()]
        cycles[degree] = count
        inverses[degree] = pow(degree // count, -1, length)
    for table in (syndromes, monomials, cycles, inverses):
        table.flags.writeable = False
    return DecodingTables(syndromes, monomials, cycles, inverses)
