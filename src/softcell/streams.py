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
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from softcell.compiled import compiled
from softcell.errors import InputError

_MASK = np.uint64(0xFFFFFFFF)
_MULTIPLIER = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_SHIFT = np.uint64(32)

LANES = 64
"""Counters that are evaluated side by side."""
_GROUP = 4 * LANES  # words of these counters
_GROUPS = 8  # handled at a time, so that what passes between loops stays in the nearest cache


@compiled(inline="always")
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


@compiled()
def _fill_words(out, key, draw, first):
    """Fill out (groups, 4, LANES) with the words of groups first, first + 1, ... of (key, draw).

    A group is LANES counters; its first words come first, so that the inner loop is whole vectors.
    """
    k0, k1 = key & _MASK, key >> _SHIFT
    for group in range(out.shape[0]):
        base = (first + np.uint64(group)) * np.uint64(LANES)
        low, high = base & _MASK, base >> _SHIFT
        for lane in range(LANES):
            w0, w1, w2, w3 = _philox(low + np.uint64(lane), high, draw, np.uint64(0), k0, k1)
            out[group, 0, lane] = w0
            out[group, 1, lane] = w1
            out[group, 2, lane] = w2
            out[group, 3, lane] = w3


@lru_cache(maxsize=1)
def _normal_table() -> NDArray[np.float32]:
    """Cubics of the normal quantile, one for each eighth of an octave of the tail probability.

    A word's upper 31 bits plus one half, over 2**32, are a probability p below 1/2; as a float32
    its exponent and first three mantissa bits name the segment. Chebyshev nodes keep the error
    below 1e-6 standard deviations everywhere.
    """
    from scipy.special import ndtri

    nodes, segments = 4, 33 * 8
    x = np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes) * 0.5 + 0.5
    table = np.zeros((segments, nodes))
    for segment in range(segments):
        octave, part = divmod(segment, 8)
        p = 2.0 ** (octave - 33) * (1 + (part + x) / 8)
        table[segment] = np.polynomial.polynomial.polyfit(x, ndtri(np.minimum(p, 0.5)), nodes - 1)
    # A grid far coarser than the error of the fit: a machine's last bit does not show.
    return np.ldexp(np.rint(np.ldexp(table, 24)), -24).astype(np.float32)


@compiled()
def _words_to_normal(words, out, table):
    """Map at most _GROUPS groups of words to standard normal numbers: the lowest bit is the sign.

    The table is looked up in a loop of its own, so that the rest runs in SIMD lanes.
    """
    segment = np.empty(_GROUPS * _GROUP, np.uint32)
    fraction = np.empty(_GROUPS * _GROUP, np.float32)
    sign = np.empty(_GROUPS * _GROUP, np.float32)
    for i in range(words.size):
        p = np.float32(np.int32(words[i] >> np.uint32(1))) + np.float32(0.5)
        bits = np.float32(p).view(np.int32)
        segment[i] = np.uint32((bits >> 20) - 126 * 8)
        fraction[i] = np.float32(np.int32(bits & 0xFFFFF)) * np.float32(2.0**-20)
        sign[i] = np.float32(1 - 2 * np.int32(words[i] & np.uint32(1)))
    for i in range(words.size):
        s, x = segment[i], fraction[i]
        value = table[s, 3] * x + table[s, 2]
        value = value * x + table[s, 1]
        value = value * x + table[s, 0]
        out[i] = value * sign[i]


@compiled()
def _words_at(out, key, draw, places):
    """Fill out with the words of single cells of (key, draw)."""
    k0, k1 = key & _MASK, key >> _SHIFT
    for i in range(places.size):
        group, within = divmod(places[i], _GROUP)
        counter = np.uint64(group * LANES + within % LANES)
        words = _philox(counter & _MASK, counter >> _SHIFT, draw, np.uint64(0), k0, k1)
        word = within // LANES
        if word == 0:
            out[i] = words[0]
        elif word == 1:
            out[i] = words[1]
        elif word == 2:
            out[i] = words[2]
        else:
            out[i] = words[3]


@compiled()
def _fill_normal(out, key, draw, first, skip, table):
    """Fill out with the normal numbers of group `first` on, without the first `skip`."""
    words = np.empty((_GROUPS, 4, LANES), np.uint32)
    flat = words.reshape(-1)
    done = 0
    while done < out.size:
        count = min(flat.size - skip, out.size - done)
        _fill_words(words[: (skip + count + _GROUP - 1) // _GROUP], key, draw, first)
        _words_to_normal(flat[skip : skip + count], out[done : done + count], table)
        done += count
        first += np.uint64(_GROUPS)
        skip = 0


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
        _check(count, draw)
        first, skip = divmod(self.start, _GROUP)
        out = np.empty((-(-(skip + count) // _GROUP), 4, LANES), np.uint32)
        _fill_words(out, np.uint64(self.key), np.uint64(draw), np.uint64(first))
        return out.reshape(-1)[skip : skip + count]

    def normal(self, count: int, *, draw: int = 0) -> NDArray[np.float32]:
        """Return standard normal numbers, shape (count,), within +-6.4."""
        _check(count, draw)
        first, skip = divmod(self.start, _GROUP)
        out, table = np.empty(count, np.float32), _normal_table()
        _fill_normal(out, np.uint64(self.key), np.uint64(draw), np.uint64(first), skip, table)
        return out

    def cells(self, places: NDArray[np.int64]) -> CellStream:
        """Return the stream of some cells, given by their places from this stream's start.

        Raises:
            InputError: A place is negative.
        """
        places = np.ascontiguousarray(places, np.int64)
        if places.ndim != 1 or (places.size and places.min() < 0):
            raise InputError("places of cells must be a list of numbers from 0")
        return CellStream(self.key, self.start, places=places)

    def uniform(self, count: int, *, draw: int = 0) -> NDArray[np.float32]:
        """Return numbers uniform in (0, 1), shape (count,), multiples of 2**-23 plus 2**-24."""
        # 23 bits and a half are all that float32 holds below 1: one bit more would round up to 1.
        top = self.words(count, draw=draw) >> np.uint32(9)
        return (top.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)


@dataclass(frozen=True, eq=False)
class CellStream(Stream):
    """The numbers of some cells of a stream, wherever they lie: made by `Stream.cells`.

    Args:
        places: Places of the cells, counted from `start`, shape (cells,).

    Example:
        >>> stream = Stream.of(7, "conv1.weight")
        >>> bool((stream.cells(np.array([8, 3])).normal(2) == stream.normal(9)[[8, 3]]).all())
        True
    """

    places: NDArray[np.int64] = field(kw_only=True, repr=False)

    def words(self, count: int, *, draw: int = 0) -> NDArray[np.uint32]:
        """Return one 32-bit word for each of the first `count` cells."""
        _check(count, draw)
        out = np.empty(count, np.uint32)
        _words_at(out, np.uint64(self.key), np.uint64(draw), self.start + self.places[:count])
        return out

    def normal(self, count: int, *, draw: int = 0) -> NDArray[np.float32]:
        """Return the standard normal numbers of the first `count` cells."""
        words, out, table = (
            self.words(count, draw=draw),
            np.empty(count, np.float32),
            _normal_table(),
        )
        for first in range(0, count, _GROUPS * _GROUP):
            last = first + _GROUPS * _GROUP
            _words_to_normal(words[first:last], out[first:last], table)
        return out


def _check(count: int, draw: int) -> None:
    if count < 0 or not 0 <= draw < 2**32:
        raise InputError(
            f"a stream draws for 0 or more cells, numbered from 0 to 2**32 - 1: got {count}, {draw}"
        )


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
