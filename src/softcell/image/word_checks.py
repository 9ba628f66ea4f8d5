"""Checks of code words: what a code decodes to is compared with what was stored.

A code of few or no parity bits lets errors pass, and the word of all zeros, which cells that were
never programmed give, belongs to every linear code. The checks stand in the image, which is with
the decoder, and take no cell. CRC-32 (ISO 3309) misses one wrong word in 2^32.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

CHECKS = "checks"
"""Section of the checks: a CRC-32 of the information bytes of every code word, in their order."""


def word_checks(data: NDArray[np.uint8], frame_bytes: int) -> NDArray[np.uint32]:
    """Return the check of every code word.

    Args:
        data: Information bytes, shape (bytes,), the last word maybe shorter than the others.
        frame_bytes: Information bytes of a full code word, >= 1.

    Returns:
        Shape (words,).

    Example:
        >>> [hex(check) for check in word_checks(np.frombuffer(b"123456789", np.uint8), 9)]
        ['0xcbf43926']
    """
    whole = np.ascontiguousarray(data).data
    starts = range(0, len(whole), frame_bytes)
    return np.array([zlib.crc32(whole[at : at + frame_bytes]) for at in starts], np.uint32)
