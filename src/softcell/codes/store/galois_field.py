"""The fields GF(2^m) and the generator polynomials of binary BCH codes over them.

A binary polynomial is a Python integer: bit i is the coefficient of x^i.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# One primitive polynomial of each degree, that of fewest terms: Lin & Costello, "Error Control
# Coding", 2nd ed. (2004), Table 2.7. They are not Conway's, so another tool must be given them.
PRIMITIVE_POLYNOMIALS: dict[int, int] = {
    2: 0b111,
    3: 0b1011,
    4: 0b10011,
    5: 0b100101,
    6: 0b1000011,
    7: 0b10001001,
    8: 0b100011101,
    9: 0b1000010001,
    10: 0b10000001001,
    11: 0b100000000101,
    12: 0b1000001010011,
    13: 0b10000000011011,
    14: 0b100010001000011,
    15: 0b1000000000000011,
    16: 0b10001000000001011,
}


@dataclass(frozen=True, eq=False)
class GaloisField:
    """Logarithms and powers of the primitive element alpha of GF(2^m).

    The logarithm of zero is 2 * order, and powers from there on are zero, so that
    ``powers[logarithms[a] + logarithms[b]]`` is the product a * b for every a and b.

    Attributes:
        m: Degree of the field over GF(2), 2 to 16.
        order: Order of its multiplicative group, 2^m - 1.
        powers: alpha^i, zero for i >= 2 * order; shape (4 * order + 1,), uint16.
        logarithms: Discrete logarithm of every element; shape (2^m,), int32.
    """

    m: int
    order: int
    powers: NDArray[np.uint16]
    logarithms: NDArray[np.int32]


@lru_cache
def galois_field(m: int) -> GaloisField:
    """Tabulate GF(2^m) with the primitive polynomial of ``PRIMITIVE_POLYNOMIALS``.

    Args:
        m: Degree of the field, 2 to 16.

    Example:
        >>> field = galois_field(4)
        >>> int(field.powers[4])  # alpha^4 = alpha + 1
        3
    """
    order = (1 << m) - 1
    powers = np.zeros(4 * order + 1, dtype=np.uint16)
    logarithms = np.full(1 << m, 2 * order, dtype=np.int32)
    element = 1
    for i in range(order):
        powers[i] = powers[i + order] = element
        logarithms[element] = i
        element <<= 1
        if element >> m:
            element ^= PRIMITIVE_POLYNOMIALS[m]
    powers.flags.writeable = False
    logarithms.flags.writeable = False
    return GaloisField(m=m, order=order, powers=powers, logarithms=logarithms)


def cyclotomic_coset(exponent: int, m: int) -> tuple[int, ...]:
    """List exponent * 2^j modulo 2^m - 1: the exponents of the conjugates of alpha^exponent.

    Example:
        >>> cyclotomic_coset(3, 4)
        (3, 6, 12, 9)
    """
    order = (1 << m) - 1
    members = [exponent % order]
    while (following := members[-1] * 2 % order) != members[0]:
        members.append(following)
    return tuple(members)


def minimal_polynomial(exponent: int, m: int) -> int:
    """Find the binary polynomial of least degree that has alpha^exponent as a root.

    It is the product of (x - alpha^c) over the cyclotomic coset of the exponent.

    Example:
        >>> bin(minimal_polynomial(3, 4))  # x^4 + x^3 + x^2 + x + 1
        '0b11111'
    """
    field = galois_field(m)
    coefficients = [1]
    for root in cyclotomic_coset(exponent, m):
        shifted = [0, *coefficients]
        for i, coefficient in enumerate(coefficients):
            shifted[i] ^= int(field.powers[field.logarithms[coefficient] + root])
        coefficients = shifted
    return sum(coefficient << i for i, coefficient in enumerate(coefficients))


@lru_cache
def generator_degrees(m: int) -> NDArray[np.int64]:
    """Count the parity bits of every narrow-sense primitive BCH code of length 2^m - 1.

    Entry t is the degree of the generator polynomial with roots alpha, alpha^2, ..., alpha^(2t):
    at most m * t, and less once cyclotomic cosets are short or coincide.

    Args:
        m: Degree of the field, 2 to 16.

    Returns:
        Degrees for t = 0, 1, ..., 2^(m-1) - 1, shape (2^(m-1),).

    Example:
        >>> generator_degrees(4)[:4].tolist()
        [0, 4, 8, 10]
    """
    order = (1 << m) - 1
    covered = np.zeros(order, dtype=bool)
    degrees = np.zeros(1 << (m - 1), dtype=np.int64)
    for t in range(1, degrees.size):
        degrees[t] = degrees[t - 1]
        if not covered[2 * t - 1]:
            coset = cyclotomic_coset(2 * t - 1, m)
            covered[list(coset)] = True
            degrees[t] += len(coset)
    degrees.flags.writeable = False
    return degrees


def generator_polynomial(m: int, t: int) -> int:
    """Multiply the minimal polynomials of alpha, alpha^3, ..., alpha^(2t-1), each once.

    Args:
        m: Degree of the field, 2 to 16.
        t: Bit errors corrected, 0 to 2^(m-1) - 1.

    Returns:
        The generator polynomial of the code that corrects t errors.

    Example:
        >>> bin(generator_polynomial(4, 2))  # x^8 + x^7 + x^6 + x^4 + 1
        '0b111010001'

    Source:
        Lin & Costello, "Error Control Coding", 2nd ed. (2004), eq. (6.3) and Table 6.4.
    """
    generator = 1
    covered: set[int] = set()
    for exponent in range(1, 2 * t, 2):
        if exponent in covered:
            continue
        covered.update(cyclotomic_coset(exponent, m))
        factor = minimal_polynomial(exponent, m)
        generator = _carryless_product(generator, factor)
    return generator


def _carryless_product(a: int, b: int) -> int:
    """Multiply two binary polynomials."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        b >>= 1
    return product
