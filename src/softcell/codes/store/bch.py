"""Binary BCH codes, systematic and shortened: the conventional protection of stored bits."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from softcell.codes.store.bch_kernels import decode_frames, encode_frames
from softcell.codes.store.bch_tables import decoding_tables, division_table
from softcell.codes.store.galois_field import PRIMITIVE_POLYNOMIALS, galois_field, generator_degrees
from softcell.errors import InputError

LARGEST_FIELD = max(PRIMITIVE_POLYNOMIALS)

# Bits below which starting another thread costs more than it gains.
_BITS_PER_THREAD = 1 << 20


@dataclass(frozen=True)
class Decoded:
    """What a decoder made of received frames.

    Attributes:
        bits: Information bits, 0 or 1, shape (frames, k'), uint8. Those of a failed frame are
            as they were received.
        corrected: Bits corrected in every frame, parity included; 0 where failed; shape
            (frames,), int64.
        failed: Frames in which more errors were detected than can be corrected; shape
            (frames,), bool.
    """

    bits: NDArray[np.uint8]
    corrected: NDArray[np.int64]
    failed: NDArray[np.bool_]


@dataclass(frozen=True)
class BCH:
    """A narrow-sense primitive binary BCH code: k information bits, t errors corrected.

    A codeword is the information bits followed by parity = deg g bits, where g is the least
    common multiple of the minimal polynomials of alpha, alpha^2, ..., alpha^(2t) over GF(2^m):
    the remainder of information(x) * x^parity by g. Shortening leaves out leading zeros. More
    than t errors are usually detected, but some turn a codeword into the neighbourhood of
    another and are then corrected into that.

    Attributes:
        k: Information bits of a full codeword, from 1.
        t: Bit errors corrected, from 0; with t = 0 a codeword is the information bits.
        m: Degree of the field; 0 (and always with t = 0) for the smallest with room, that is
            with k + parity <= 2^m - 1. At most 16.

    Raises:
        InputError: k, t or m is out of range, or there is no room for the parity.

    Example:
        >>> code = BCH(k=4096, t=7)
        >>> code.m, code.parity, code.n
        (13, 91, 4187)
        >>> word = code.encode(np.ones((1, 4096), dtype=np.uint8))
        >>> word[0, [5, 600, 4186]] ^= 1
        >>> decoded = code.decode(word)
        >>> bool(decoded.bits.all()), decoded.corrected.tolist(), decoded.failed.tolist()
        (True, [3], [False])

    Source:
        Lin & Costello, "Error Control Coding", 2nd ed. (2004), sections 6.1 to 6.3.
    """

    k: int
    t: int
    m: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (("k", self.k, 1), ("t", self.t, 0), ("m", self.m, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"BCH: {name} must be a whole number from {least}, not {value!r}")
        if self.t == 0:
            object.__setattr__(self, "m", 0)
            return
        if self.m == 0:
            object.__setattr__(self, "m", smallest_field(self.k, self.t))
        elif self.m not in PRIMITIVE_POLYNOMIALS:
            raise InputError(f"BCH: m must be 2 to {LARGEST_FIELD}, or 0 to choose, not {self.m}")
        elif not has_room(self.k, self.t, self.m):
            raise InputError(
                f"BCH: {self.k} bits and the parity for t = {self.t} exceed the length "
                f"{(1 << self.m) - 1} of the code over GF(2^{self.m}); take a larger m or less t"
            )

    @property
    def parity(self) -> int:
        """Parity bits of every codeword: the degree of the generator polynomial."""
        return int(generator_degrees(self.m)[self.t]) if self.t else 0

    @property
    def n(self) -> int:
        """Bits of a full codeword."""
        return self.k + self.parity

    @property
    def rate(self) -> float:
        """Information bits per bit of a full codeword, in (0, 1]."""
        return self.k / self.n

    def encode(self, bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Append its parity to every frame of information bits.

        Args:
            bits: Information bits, 0 or 1, shape (frames, k') with 1 <= k' <= k, uint8 or bool.

        Returns:
            Codewords, shape (frames, k' + parity), uint8.

        Raises:
            InputError: The shape or type is another, or a value is neither 0 nor 1.

        Example:
            >>> BCH(k=11, t=1).encode(np.array([[1, 0, 0, 1]], dtype=np.uint8)).tolist()
            [[1, 0, 0, 1, 1, 0, 0, 0]]
        """
        frames = _checked_frames(bits, "encode", "information", 1, self.k)
        if self.t == 0:
            return frames.copy()
        table = division_table(self.m, self.t)
        codewords = np.empty((frames.shape[0], frames.shape[1] + self.parity), dtype=np.uint8)

        def encode(part: slice) -> None:
            encode_frames(frames[part], table, codewords[part])

        _for_frames(encode, *codewords.shape)
        return codewords

    def decode(self, received: NDArray[np.uint8]) -> Decoded:
        """Correct up to t errors in every received frame; flag frames with more where detected.

        Args:
            received: Received bits, 0 or 1, shape (frames, k' + parity) with 1 <= k' <= k,
                uint8 or bool.

        Returns:
            The information bits, the errors corrected and the frames that failed.

        Raises:
            InputError: The shape or type is another, or a value is neither 0 nor 1.

        Example:
            >>> code = BCH(k=7, t=2)
            >>> too_many = np.array([[1, 0, 1, 1] + 11 * [0]], dtype=np.uint8)
            >>> decoded = code.decode(too_many)
            >>> decoded.failed.tolist(), decoded.bits.tolist()
            ([True], [[1, 0, 1, 1, 0, 0, 0]])
        """
        frames = _checked_frames(received, "decode", "received", 1 + self.parity, self.n)
        count, length = frames.shape
        bits = np.empty((count, length - self.parity), dtype=np.uint8)
        corrected = np.zeros(count, dtype=np.int64)
        failed = np.zeros(count, dtype=np.bool_)
        if self.t == 0:
            bits[:] = frames
            return Decoded(bits, corrected, failed)
        field = galois_field(self.m)
        division = division_table(self.m, self.t)
        tables = decoding_tables(self.m, self.t)
        search = (tables.monomials, tables.cycles, tables.inverses)

        def decode(part: slice) -> None:
            decode_frames(
                frames[part],
                division,
                tables.syndromes,
                search,
                field.powers,
                field.logarithms,
                bits[part],
                corrected[part],
                failed[part],
            )

        _for_frames(decode, count, length)
        return Decoded(bits, corrected, failed)


def has_room(k: int, t: int, m: int) -> bool:
    """Say whether k bits and the parity for t errors fit the code of length 2^m - 1.

    Example:
        >>> has_room(7, 2, 4), has_room(8, 2, 4)
        (True, False)
    """
    degrees = generator_degrees(m)
    return t < degrees.size and k + int(degrees[t]) <= (1 << m) - 1


def smallest_field(k: int, t: int) -> int:
    """Find the least m for which k bits and the parity for t errors fit into 2^m - 1 bits.

    Args:
        k: Information bits, from 1.
        t: Bit errors corrected, from 1.

    Raises:
        InputError: Not even the largest field has room.

    Example:
        >>> smallest_field(4096, 7)
        13
    """
    for m in PRIMITIVE_POLYNOMIALS:
        if k < 1 << m and has_room(k, t, m):
            return m
    raise InputError(
        f"BCH: {k} bits and the parity for t = {t} exceed {(1 << LARGEST_FIELD) - 1} bits, "
        "the length of the longest code; use shorter frames or correct fewer errors"
    )


def _checked_frames(
    bits: NDArray[np.uint8], verb: str, kind: str, least: int, most: int
) -> NDArray[np.uint8]:
    """Return the frames as contiguous uint8, or say what is wrong with them."""
    if not isinstance(bits, np.ndarray) or bits.dtype not in (np.uint8, np.bool_):
        got = bits.dtype if isinstance(bits, np.ndarray) else type(bits).__name__
        raise InputError(f"BCH.{verb}: {kind} bits must be an array of uint8 or bool, not {got}")
    if bits.ndim != 2 or not least <= bits.shape[1] <= most:
        raise InputError(
            f"BCH.{verb}: {kind} bits must have shape (frames, {least} to {most}), "
            f"not {bits.shape}; cut them into frames first"
        )
    frames = np.ascontiguousarray(bits).view(np.uint8)
    frames.flags.writeable = False  # of this view: read-only input must not compile anew
    if frames.size and int(frames.max()) > 1:
        raise InputError(
            f"BCH.{verb}: every bit must be 0 or 1, not {int(frames.max())}; unpack bytes first"
        )
    return frames


def _for_frames(work: Callable[[slice], None], frames: int, length: int) -> None:
    """Do the work on all frames, on as many threads as there are processors where it is worth it.

    These are plain threads on kernels that release the lock, rather than numba's own parallel
    loops: those abort the process when two threads, or a forked child, enter them.
    """
    threads = min(os.cpu_count() or 1, frames, frames * length // _BITS_PER_THREAD)
    if threads <= 1:
        work(slice(0, frames))
        return
    edges = [frames * i // threads for i in range(threads + 1)]
    parts = [slice(start, stop) for start, stop in pairwise(edges)]
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, parts):
            pass
