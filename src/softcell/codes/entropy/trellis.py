"""Trellises: which of two shifted quantisers an index belongs to, by the parities before it.

A trellis of 2^m states follows from the parity check polynomials h0, h1 of Ungerboeck's code for
amplitude modulation: with z0 the quantiser (the lowest bit of the state) and z1 the parity of the
index, the sequences of quantisers and parities are those with h1(D) z1 + h0(D) z0 = 0. Quantiser 0
has its values at k step, quantiser 1 at (k - sign(k) / 2) step: together they are twice as dense as
either, while only one of them need be told apart in the stream.

Source:
    Ungerboeck, "Channel coding with multilevel/phase signals", IEEE Trans. Inf. Theory 28 (1982),
    Table I (codes for amplitude modulation). Marcellin, Fischer, "Trellis coded quantization of
    memoryless and Gauss-Markov sources", IEEE Trans. Commun. 38 (1990). The zero in both
    quantisers and the parity that drives the states are those of dependent quantisation: Schwarz
    et al., "Hybrid video coding with trellis-coded quantization", DCC 2019.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from softcell.codes.entropy.trellis_kernels import walk
from softcell.errors import InputError

# Parity check polynomials (h0, h1) by the number of states.
_POLYNOMIALS = {4: (0o5, 0o2), 8: (0o13, 0o4), 16: (0o23, 0o4), 32: (0o45, 0o10), 64: (0o103, 0o24)}

STATES = (1, *_POLYNOMIALS)

_RUN = 1 << 22


@dataclass(frozen=True)
class Trellis:
    """A trellis of a number of states; of one state, a plain scalar quantiser.

    Args:
        states: 1, 4, 8, 16, 32 or 64. More states come closer to the limit and take longer to
            encode; decoding costs the same.
        by_column: Every column of a matrix has a path of its own, from state 0 on, so that columns
            can be quantised one after the other in any order. Otherwise one path runs along all
            rows.

    Raises:
        InputError: There is no trellis of so many states.

    Example:
        >>> Trellis(4).transitions.tolist()
        [[0, 1], [2, 3], [1, 0], [3, 2]]
    """

    states: int = 1
    by_column: bool = False

    def __post_init__(self) -> None:
        if self.states not in STATES:
            raise InputError(f"a trellis has 1, 4, 8, 16, 32 or 64 states, not {self.states}")

    @property
    def quantisers(self) -> int:
        """Number of shifted quantisers: 1 for a plain scalar one, 2 for a trellis."""
        return 1 if self.states == 1 else 2

    @cached_property
    def transitions(self) -> NDArray[np.int64]:
        """Next state by state and parity of the index, shape (states, 2)."""
        if self.states == 1:
            return np.zeros((1, 2), np.int64)
        h0, h1 = _POLYNOMIALS[self.states]
        state = np.arange(self.states)[:, None]
        quantiser = state & 1
        parity = np.arange(2)
        # Bits 1, 2, ... of the polynomials enter at bits 0, 1, ... of the shifted state.
        return (state >> 1) ^ (quantiser * (h0 >> 1)) ^ (parity * (h1 >> 1))

    def quantiser_of(self, indices: NDArray[np.int32], start: int = 0) -> NDArray[np.uint8]:
        """Return every index's quantiser, 0 or 1, for indices of shape (rows, columns).

        Their paths begin in the state `start`.
        """
        return self._walked(indices, start)[0]

    def state_after(self, indices: NDArray[np.int32], start: int = 0) -> int:
        """Return the state in which the one path along all rows of some indices ends."""
        return int(self._walked(indices, start)[1][0])

    def _walked(
        self, indices: NDArray[np.int32], start: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return every index's quantiser, and the state in which each path ends."""
        out = np.zeros(indices.shape, np.uint8)
        states = np.full(indices.shape[1] if self.by_column else 1, start, np.int64)
        if self.states > 1:
            for rows in row_runs(indices.shape):
                part = np.ascontiguousarray(indices[rows])
                walk(part, self.transitions, self.by_column, states, out[rows])
        return out, states


def row_runs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield runs of rows for a kernel that none of them keeps busy for long."""
    step = max(_RUN // max(shape[1], 1), 1)
    return (slice(first, first + step) for first in range(0, shape[0], step))
