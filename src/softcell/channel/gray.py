"""The reflected Gray code: labels of neighbouring levels differ in one bit."""

from __future__ import annotations

from typing import Any

from softcell.compiled import in_compiled


@in_compiled
def gray_label(index: Any) -> Any:
    """Return the Gray label of an index, an integer or an array of integers.

    Example:
        >>> [gray_label(index) for index in range(4)]
        [0, 1, 3, 2]
    """
    return index ^ (index >> 1)


@in_compiled
def gray_index(label: Any) -> Any:
    """Return the index, below 256, that a Gray label stands for; an integer or an array.

    Example:
        >>> [gray_index(gray_label(index)) for index in (0, 1, 100, 255)]
        [0, 1, 100, 255]
    """
    label = label ^ (label >> 1)
    label = label ^ (label >> 2)
    return label ^ (label >> 4)
