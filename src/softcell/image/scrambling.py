"""Scrambling: what the digital store writes is exclusive-or'd with a fixed pseudo-random sequence.

Cells that were never programmed read as a run of equal bits, a word of every linear code. Of what
is scrambled they are no word, nor is a run of cells that were taken for others. It takes no cell.

Bit i of a store's coded bits is exclusive-or'd with bit i mod 64, the highest first, of output
i div 64 of SplitMix64 with seed 0.

Source:
    Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 17.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)


def scrambling_bytes(first: int, count: int) -> NDArray[np.uint8]:
    """Return some bytes of the sequence, shape (count,).

    Args:
        first: The first of them, from 0.
        count: How many.

    Example:
        >>> scrambling_bytes(0, 8).tobytes().hex()
        'e220a8397b1dcdaf'
        >>> bool((scrambling_bytes(5, 20) == scrambling_bytes(0, 25)[5:]).all())
        True
    """
    begin, end = first // 8, -(-(first + count) // 8)
    state = np.arange(begin + 1, end + 1, dtype=np.uint64) * _GAMMA
    for shift, factor in _ROUNDS:
        state = (state ^ state >> shift) * factor
    state ^= state >> np.uint64(31)
    return state.astype(">u8").view(np.uint8)[first - 8 * begin :][:count]


def unscrambled(detected: NDArray[Any], first: int) -> NDArray[Any]:
    """Return what a store detected as what its code words say.

    Args:
        detected: Coded bits, uint8, or their log-likelihood ratios, int8, shape (bits,).
        first: Place of the first of them among the store's coded bits, a multiple of 8.
    """
    bits = np.unpackbits(scrambling_bytes(first // 8, -(-len(detected) // 8)))[: len(detected)]
    if detected.dtype == np.uint8:
        return detected ^ bits
    # -x where a bit is 1, as ~x + 1: several times as fast as a choice.
    signs = -bits.view(np.int8)
    return (detected ^ signs) - signs
