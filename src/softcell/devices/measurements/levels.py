"""The levels of an input that was itself measured, and differs a little from row to row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-6
_CLEAR, _PLAIN = 5.0, 20.0
_MANY, _EQUAL = 4, 0.1


def grouped_inputs(
    inputs: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64], float]:
    """Return the levels of inputs: those that are nearly the same become one.

    Inputs are nearly the same if they differ by less than a millionth of their range, or if they
    fall into groups that are many times narrower than the gaps between them, on a linear or
    logarithmic axis. Inputs that all come about as often, and more than once, are meant.

    Args:
        inputs: Finite inputs, shape (rows,).

    Returns:
        Mean of each level, shape (levels,), the level of each row, and the widest group's width.

    Example:
        >>> levels, place, width = grouped_inputs(np.array([1.0, 1.01, 2.0, 2.01]))
        >>> levels.round(3).tolist(), place.tolist()
        ([1.005, 2.005], [0, 0, 1, 1])
    """
    distinct, place, count = np.unique(inputs, return_inverse=True, return_counts=True)
    group = _groups(distinct, count)
    mean = np.bincount(group, distinct * count) / np.bincount(group, count)
    first = np.flatnonzero(np.diff(group, prepend=-1))
    alone = np.bincount(group) == 1
    mean[alone] = distinct[first[alone]]
    last = np.append(first[1:], len(distinct)) - 1
    return mean, group[place], float((distinct[last] - distinct[first]).max())


def _groups(distinct: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the group of each of the increasing inputs."""
    axes = [distinct] + ([np.log(distinct)] if distinct[0] > 0 else [])
    found = [group for axis in axes if (group := _clusters(axis, count)) is not None]
    nearly = _cut(distinct, _ROUNDING * (distinct[-1] - distinct[0]))
    return max(found, key=lambda group: int(group[-1]), default=nearly)


def _clusters(axis: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return the finest groups that are many times narrower than the gaps between them."""
    single = bool(count.min() < 2)
    if not single and count.std() < _EQUAL * count.mean():
        return None
    gaps = np.sort(np.diff(axis))
    for step in np.flatnonzero(gaps[1:] > _CLEAR * gaps[:-1]):
        group = _cut(axis, gaps[step])
        first = np.flatnonzero(np.diff(group, prepend=-1))
        width = (axis[np.append(first[1:], len(axis)) - 1] - axis[first]).max()
        size = np.bincount(group)
        ratio = _CLEAR if single or len(axis) > _MANY * len(size) else _PLAIN
        several = np.bincount(group, count).min() > 1 if single else size.min() > 1
        if several and 2 * (size > 1).sum() >= len(size) and gaps[step + 1] > ratio * width:
            return group
    return None


def _cut(axis: NDArray[np.float64], widest: float) -> NDArray[np.int64]:
    """Return groups of which no two neighbours are further apart than `widest`."""
    group: NDArray[np.int64] = np.cumsum(np.diff(axis, prepend=axis[0]) > widest).astype(np.int64)
    return group
