"""The entropy coder of a tensor's classes: an asymmetric numeral system of static frequencies.

The coder's state x is a number below 2^64, on top of a stack of words of 32 bits. With p of 2^24
for a class, and c of 2^24 for those below it,

    coding    x -> (x div p) 2^24 + c + x mod p      first a word goes to the stack if x >= 2^40 p
    decoding  x -> p (x div 2^24) + x mod 2^24 - c   then a word comes back if x < 2^32

The stream is that of the library constriction (`AnsCoder`, `Categorical` with `perfect=False`), to
the bit: images that were written with it are read, and written as they were.

Source:
    Duda et al., "The use of asymmetric numeral systems as an accurate replacement for Huffman
    coding", PCS 2015; Bamler, arXiv 2201.01741 (constriction).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.compiled import compiled
from softcell.errors import FormatError

_PRECISION = np.uint64(24)
_WORD = np.uint64(32)
_ROOM = np.uint64(64 - 24)
_LOW_WORD = np.uint64(0xFFFFFFFF)
_QUANTILE = np.uint64((1 << 24) - 1)

_RUN = 1 << 18
"""Classes coded at a time."""


def encode_classes(
    classes: NDArray[np.uint8], frequencies: NDArray[np.uint16]
) -> NDArray[np.uint32]:
    """Return the words of classes, the top of the stack last; the last word is not zero.

    Args:
        classes: Shape (weights,), each below the number of frequencies.
        frequencies: How often each class is expected, >= 1, shape (classes,), at least 2 of them.

    Example:
        >>> words = encode_classes(np.array([0, 1, 1], np.uint8), np.array([1, 2], np.uint16))
        >>> decode_classes(words, 3, np.array([1, 2], np.uint16)).tolist()
        [0, 1, 1]
    """
    below, state, words = _below(frequencies), np.uint64(0), []
    # What is decoded first is coded last.
    for end in range(len(classes), 0, -_RUN):
        run = classes[max(end - _RUN, 0) : end]
        out = np.empty(len(run), np.uint32)
        used, state = _push(run, below, np.uint64(state), out)
        words.append(out[:used])
    top = [part for part in (int(state) & 0xFFFFFFFF, int(state) >> 32) if state]
    if top and not top[-1]:
        top.pop()
    return np.concatenate([*words, np.array(top, np.uint32)])


def decode_classes(
    words: NDArray[np.uint32], count: int, frequencies: NDArray[np.uint16]
) -> NDArray[np.uint8]:
    """Return so many classes from their words.

    Coding begins with an empty stack: that decoding leaves one is a checksum of some 32 bits.

    Args:
        words: As `encode_classes` returns them.
        count: Number of classes.
        frequencies: Those that they were coded with.

    Raises:
        FormatError: The words were altered.
    """
    classes, below = np.empty(count, np.uint8), _below(frequencies)
    state, left = np.uint64(0), len(words)
    for first in range(0, count, _RUN):
        state, left = _pop(words, left, below, np.uint64(state), classes[first : first + _RUN])
    if (len(words) and not words[-1]) or left or state:
        raise FormatError("side information holds a mask that was altered")
    return classes


def _below(frequencies: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """Return the part of 2^24 below each class and below the end, every class having one at least.

    In the order of constriction's operations, for rounding is part of the format.
    """
    share = frequencies.astype(np.float64) / frequencies.sum(dtype=np.float64)
    sums = np.concatenate([[0.0], np.cumsum(share)])
    scale = ((1 << 24) - len(share)) / sums[-1]
    below: NDArray[np.uint64] = (sums * scale).astype(np.uint64)
    below += np.arange(len(sums), dtype=np.uint64)
    below[-1] = 1 << 24
    return below


@compiled()
def _push(classes, below, state, out):
    used = 0
    for i in range(classes.size - 1, -1, -1):
        low = below[classes[i]]
        p = below[classes[i] + 1] - low
        if (state >> _ROOM) >= p:
            out[used] = state & _LOW_WORD
            used += 1
            state = state >> _WORD
        state = ((state // p) << _PRECISION) | (low + state % p)
    return used, state


@compiled()
def _pop(words, left, below, state, classes):
    """Fill classes; return the state and the words that are left."""
    while left and (state >> _WORD) == 0:
        left -= 1
        state = (state << _WORD) | np.uint64(words[left])
    for i in range(classes.size):
        quantile = state & _QUANTILE
        kind = 0
        while below[kind + 1] <= quantile:
            kind += 1
        p = below[kind + 1] - below[kind]
        state = p * (state >> _PRECISION) + quantile - below[kind]
        if left and (state >> _WORD) == 0:
            left -= 1
            state = (state << _WORD) | np.uint64(words[left])
        classes[i] = kind
    return state, left
