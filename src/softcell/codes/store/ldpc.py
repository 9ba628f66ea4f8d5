"""LDPC codes of 5G NR: systematic encoding, soft-decision decoding by layered min-sum."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from softcell.codes.store.ldpc_kernels import decode_frames, encode_frames
from softcell.codes.store.ldpc_matrix import CORE, ROWS, SYSTEMATIC, LiftedGraph, lifted_graph
from softcell.errors import InputError

STEP = 0.25
"""Log-likelihood ratio (natural logarithm) of one step of the decoder's integers."""

LIMIT = 100
"""Most steps of a stored bit's ratio; a bit that is known has 127."""

PUNCTURED = 2
"""First systematic columns, of highest degree, that are never stored: the decoder finds them."""

_FRAMES_PER_TASK = 32
_KNOWN = 127


@dataclass(frozen=True)
class SoftDecoded:
    """What the decoder made of received frames.

    Attributes:
        bits: Information bits, 0 or 1, shape (frames, k'), uint8; the decoder's best guess where
            a frame failed.
        iterations: Passes until the frame was a codeword, 0 where it never was; (frames,), int64.
        corrected: Stored bits decided otherwise than their ratio alone says; (frames,), int64.
    """

    bits: NDArray[np.uint8]
    iterations: NDArray[np.int64]
    corrected: NDArray[np.int64]

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Frames that violate a check after all passes, shape (frames,)."""
        failed: NDArray[np.bool_] = self.iterations == 0
        return failed


@dataclass(frozen=True)
class LDPC:
    """A long code of 5G NR: 22 Z information bits, of which the first 2 Z are not stored.

    A stored frame is the information bits from 2 Z on, then the parity bits. Shortening leaves
    out leading information bits, taken as zeros, and so the punctured ones first.

    Attributes:
        lifting: Lifting size Z of the standard; 384 is the longest.
        parity: Parity bits stored, from 4 Z to 46 Z; the more, the lower the rate.

    Raises:
        InputError: No such lifting size, or the parity is out of range.

    Example:
        >>> code = LDPC(lifting=384, parity=2880)
        >>> code.k, code.n, code.rate
        (8448, 10560, 0.8)
        >>> word = code.encode(np.ones((1, code.k), dtype=np.uint8))
        >>> ratios = (8 - 16 * word.astype(np.int8))
        >>> ratios[0, :500] = 0  # erased
        >>> decoded = code.decode(ratios)
        >>> bool(decoded.bits.all()), decoded.failed.tolist()
        (True, [False])

    Source:
        3GPP TS 38.212, section 5.3.2 (base graph 1) and section 5.4.2.
    """

    lifting: int
    parity: int

    def __post_init__(self) -> None:
        lifted_graph(self.lifting, CORE)
        if not CORE * self.lifting <= self.parity <= ROWS * self.lifting:
            raise InputError(
                f"LDPC: parity must be {CORE * self.lifting} to {ROWS * self.lifting} bits at "
                f"lifting size {self.lifting}, not {self.parity}"
            )

    @property
    def k(self) -> int:
        """Information bits of a full frame."""
        return SYSTEMATIC * self.lifting

    @property
    def n(self) -> int:
        """Stored bits of a full frame."""
        return self.stored_bits(self.k)

    @property
    def rate(self) -> float:
        """Information bits per stored bit of a full frame."""
        return self.k / self.n

    @property
    def graph(self) -> LiftedGraph:
        """The rows of the base graph that the stored parity takes part in, lifted."""
        return lifted_graph(self.lifting, -(-self.parity // self.lifting))

    def stored_bits(self, information: int) -> int:
        """Return the stored bits of a frame of so many information bits, at most k."""
        return min(information, self.k - PUNCTURED * self.lifting) + self.parity

    def encode(self, bits: NDArray[np.uint8], *, threads: int | None = None) -> NDArray[np.uint8]:
        """Return the bits to store for every frame of information bits.

        Args:
            bits: Information bits, 0 or 1, shape (frames, k') with 1 <= k' <= k, uint8.
            threads: Threads to use; by default one for each processor.

        Returns:
            Stored bits, shape (frames, stored_bits(k')), uint8.

        Raises:
            InputError: The shape or type is another, or a value is neither 0 nor 1.
        """
        information = self._checked(bits, np.uint8, "information bits", 1, self.k)
        if bits.size and bits.max() > 1:
            raise InputError(f"LDPC: information bits are 0 or 1, got {bits.max()}")
        graph = self.graph
        stored = np.empty((len(bits), self.stored_bits(information)), np.uint8)
        first = graph.width * self.lifting

        def encode(part: slice) -> None:
            full = np.zeros((part.stop - part.start, self.k), np.uint8)
            full[:, self.k - information :] = bits[part]
            words = np.empty((len(full), first), np.uint8)
            tables = graph.starts, graph.columns, graph.shifts
            encode_frames(full, *tables, self.lifting, SYSTEMATIC, graph.core_turn, words)
            end = self.k + self.parity
            stored[part] = words[:, end - stored.shape[1] : end]

        _for_frames(encode, len(bits), threads)
        return stored

    def decode(
        self,
        ratios: NDArray[np.int8],
        *,
        information: int | None = None,
        iterations: int = 20,
        threads: int | None = None,
    ) -> SoftDecoded:
        """Decode every frame by layered normalised min-sum, factor 0.78.

        Args:
            ratios: Of every stored bit ln P(0) / P(1) in steps of 0.25, clipped to +-100; 0 for
                an erased one; shape (frames, stored_bits(k')), int8.
            information: Information bits k' of a frame; by default k.
            iterations: Most passes over all checks, from 1.
            threads: Threads to use; by default one for each processor. The result does not
                depend on them.

        Returns:
            Information bits, passes used and bits corrected.

        Raises:
            InputError: The shape or type is another, or a number is out of range.
        """
        known = self.k if information is None else information
        if not 1 <= known <= self.k:
            raise InputError(f"LDPC: expected 1 to {self.k} information bits, got {known}")
        expected = self.stored_bits(known)
        self._checked(ratios, np.int8, "ratios", expected, expected)
        if iterations < 1:
            raise InputError(f"LDPC: expected at least 1 iteration, got {iterations}")
        graph, size = self.graph, self.lifting
        tables = _reading_offsets(graph)
        bits = np.empty((len(ratios), known), np.uint8)
        used = np.empty(len(ratios), np.int64)
        corrected = np.empty(len(ratios), np.int64)
        stored = slice(self.k + self.parity - expected, self.k + self.parity)

        def decode(part: slice) -> None:
            padded = np.zeros((part.stop - part.start, graph.width * size), np.int8)
            padded[:, : self.k - known] = _KNOWN
            padded[:, stored] = np.clip(ratios[part], -LIMIT, LIMIT)
            words = np.empty(padded.shape, np.uint8)
            decode_frames(padded, tables, size, iterations, words, used[part])
            bits[part] = words[:, self.k - known : self.k]
            corrected[part] = (words[:, stored] != (ratios[part] < 0)).sum(axis=1)

        _for_frames(decode, len(ratios), threads)
        return SoftDecoded(bits, used, corrected)

    def _checked(
        self, array: NDArray[np.generic], kind: type, name: str, least: int, most: int
    ) -> int:
        """Return the width of an array of frames, or say what is wrong with it."""
        if array.ndim != 2 or array.dtype != kind or not least <= array.shape[1] <= most:
            raise InputError(
                f"LDPC: expected {name} of shape (frames, {least} to {most}) and type "
                f"{np.dtype(kind)}, got shape {array.shape} and type {array.dtype}"
            )
        return int(array.shape[1])


def in_steps(ratios: NDArray[np.float64]) -> NDArray[np.int8]:
    """Round log-likelihood ratios (natural logarithm) to the decoder's integers, same shape.

    Example:
        >>> in_steps(np.array([-700.0, -0.3, 0.0, 2.0])).tolist()
        [-100, -1, 0, 8]
    """
    return np.clip(np.rint(ratios / STEP), -LIMIT, LIMIT).astype(np.int8)


@lru_cache(maxsize=64)
def _reading_offsets(graph: LiftedGraph) -> tuple[NDArray[np.int64], ...]:
    """Return where each entry finds its column, if every reader leaves it rotated by its shift."""
    last = dict(zip(graph.columns.tolist(), graph.shifts.tolist(), strict=True))
    rotations = np.array([last[column] for column in range(graph.width)])
    now = rotations.copy()
    offsets = np.empty_like(graph.columns)
    for entry, (column, shift) in enumerate(zip(graph.columns, graph.shifts, strict=True)):
        offsets[entry] = (shift - now[column]) % graph.lifting
        now[column] = shift
    final = (graph.shifts - rotations[graph.columns]) % graph.lifting
    return graph.starts, graph.columns, offsets, final, rotations


def _for_frames(work: Callable[[slice], None], frames: int, threads: int | None) -> None:
    """Share out frames to threads, some at a time."""
    parts = [
        slice(first, min(first + _FRAMES_PER_TASK, frames))
        for first in range(0, frames, _FRAMES_PER_TASK)
    ]
    workers = min(threads or os.cpu_count() or 1, len(parts))
    if workers <= 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(work, parts):
            pass
