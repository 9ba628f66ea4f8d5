"""The reflected Gray code: labels of neighbouring levels differ in one bit."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

_Index = TypeVar("_Index", int, NDArray[np.integer])


@register_jitable
def gray_label(index: _Index) -> _Index:
    """Return the Gray label of an index, or of each of an array.

    Example:
        >>> [gray_label(index) for index in range(4)]
        [0, 1, 3, 2]
    """
    return index ^ (index >> 1)


@register_jitable
def gray_index(label: _Index) -> _Index:
    """Return the index, below 256, that a Gray label stands for.

    Example:
        >>> [gray_index(gray_label(index)) for index in (0, 1, 100, 255)]
        [0, 1, 100, 255]
    """
    label = label ^ (label >> 1)
    label = label ^ (label >> 2)
    return label ^ (label >> 4)
