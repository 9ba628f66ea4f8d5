"""Random streams that are a function of (seed, label, position) and of nothing else.

Every number is computed from its own counter, so a block, a tensor or a whole model gives the
same numbers in whatever order, on however many threads they are drawn. Normal numbers use only
additions, multiplications and conversions, which IEEE 754 fixes to the bit, so that the machine
does not matter either.

Source:
    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Philox-4x32-10).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import ndtri

from softcell.errors import InputError

_MASK = np.uint64(0xFFFFFFFF)
_MULTIPLIER = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_SHIFT = np.uint64(32)


@njit(cache=True, inline="always")
def _philox(c0, c1, c2, c3, k0, k1):
    """Ten rounds of Philox-4x32; all words are uint64 below 2**32."""
    for _ in range(10):
        p0 = _MULTIPLIER[0] * c0
        p1 = _MULTIPLIER[1] * c2
        c0, c1, c2, c3 = (
            (p1 >> _SHIFT) ^ c1 ^ k0,
            p1 & _MASK,
            (p0 >> _SHIFT) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0 = (k0 + _WEYL[0]) & _MASK
        k1 = (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


@njit(cache=True, nogil=True)
def _fill_words(out, key, draw, first):
    """Fill out (blocks, 4) with the words of counters first, first + 1, ... of (key, draw)."""
    k0, k1 = key & _MASK, key >> _SHIFT
    for i in range(out.shape[0]):
        counter = first + np.uint64(i)
        w0, w1, w2, w3 = _philox(counter & _MASK, counter >> _SHIFT, draw, np.uint64(0), k0, k1)
        out[i, 0] = w0
        out[i, 1] = w1
        out[i, 2] = w2
        out[i, 3] = w3


@lru_cache(maxsize=1)
def _normal_table() -> NDArray[np.float32]:
    """Cubics of the normal quantile, one for each eighth of an octave of the tail probability.

    A word's upper 31 bits, plus one half, are a probability p in (0, 1/2) in units of 2**-32; as
    a float32 its exponent and first three mantissa bits name the segment. Chebyshev nodes keep
    the error below 1e-6 standard deviations everywhere.
    """
    octaves, parts, nodes = 33, 8, 4
    table = np.zeros((octaves * parts, nodes), np.float64)
    x = np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes) * 0.5 + 0.5
    for octave in range(octaves):
        for part in range(parts):
            low = 2.0**octave * (1 + part / parts)
            p = (low + x * (2.0**octave / parts)) * 2.0**-33
            table[octave * parts + part] = np.polynomial.polynomial.polyfit(
                x, ndtri(np.minimum(p, 0.5)), nodes - 1
            )
    return table.astype(np.float32)


@njit(cache=True, nogil=True)
def _words_to_normal(words, out, table):
    """Map each word to a standard normal number: its lowest bit is the sign."""
    for i in range(words.size):
        word = words[i]
        # p = (2 * (word >> 1) + 1) / 2**33, an odd integer below 2**32: never zero
        bits = np.float64(word | np.uint32(1)).view(np.uint64)
        segment = (bits >> np.uint64(49)) - np.uint64(1023 * 8)
        fraction = np.float32(bits & np.uint64((1 << 49) - 1)) * np.float32(2.0**-49)
        value = table[segment, 3]
        value = value * fraction + table[segment, 2]
        value = value * fraction + table[segment, 1]
        value = value * fraction + table[segment, 0]
        out[i] = value if word & np.uint32(1) else -value


@dataclass(frozen=True)
class Stream:
    """A stream of random numbers, one for each cell.

    Args:
        key: The stream's identity, an integer in [0, 2**64).
        start: Index of the cell that the first number belongs to.

    Example:
        >>> whole = Stream.of(7, "conv1.weight").normal(10)
        >>> block = Stream.of(7, "conv1.weight").at(4).normal(6)
        >>> bool((whole[4:] == block).all())
        True
    """

    key: int
    start: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.key < 2**64 or not 0 <= self.start < 2**62:
            raise InputError(f"stream key or start out of range: {self.key}, {self.start}")

    @classmethod
    def of(cls, seed: int, label: str) -> Stream:
        """Return the stream of a seed (0 <= seed < 2**63) and a label."""
        if (
            isinstance(seed, bool)
            or not isinstance(seed, int | np.integer)
            or not 0 <= seed < 2**63
        ):
            raise InputError(f"seed must be an integer from 0 to 2**63 - 1, got {seed!r}")
        return cls(_digest(f"{int(seed)}/{label}"))

    def named(self, label: str) -> Stream:
        """Return an independent stream for the same cells."""
        return replace(self, key=_digest(f"{self.key}/{label}"))

    def at(self, offset: int) -> Stream:
        """Return the stream that begins `offset` cells later."""
        return replace(self, start=self.start + offset)

    def words(self, count: int, *, draw: int = 0) -> NDArray[np.uint32]:
        """Return one 32-bit word for each of `count` cells; `draw` numbers the draws of a cell."""
        first, skip = divmod(self.start, 4)
        out = np.empty(((skip + count + 3) // 4, 4), np.uint32)
        _fill_words(out, np.uint64(self.key), np.uint64(draw), np.uint64(first))
        return out.reshape(-1)[skip : skip + count]

    def normal(self, count: int, *, draw: int = 0) -> NDArray[np.float32]:
        """Return standard normal numbers, shape (count,), within +-6.4."""
        out = np.empty(count, np.float32)
        _words_to_normal(self.words(count, draw=draw), out, _normal_table())
        return out

    def uniform(self, count: int, *, draw: int = 0) -> NDArray[np.float32]:
        """Return numbers uniform in (0, 1), shape (count,), multiples of 2**-24 plus 2**-25."""
        top = self.words(count, draw=draw) >> np.uint32(8)
        return (top.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-24)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
