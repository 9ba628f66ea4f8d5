"""Channel-optimised maps: level and estimate designed together for the least square error."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel, posterior_mean
from softcell.errors import InputError


@dataclass(frozen=True, eq=False)
class OptimisedMap:
    """One value in one cell: a level for each value, an estimate for each reading.

    Args:
        values: Values that the map was designed on, increasing, shape (K,).
        levels: Level index of each value, shape (K,).
        estimates: Posterior mean of the value for each bin of readings, shape (R,).
        distortion: Expected squared error.
    """

    values: NDArray[np.float64] = field(repr=False)
    levels: NDArray[np.int64] = field(repr=False)
    estimates: NDArray[np.float64] = field(repr=False)
    distortion: float


def optimised_map(
    values: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    channel: Channel,
    *,
    starts: int = 12,
    sweeps: int = 300,
) -> OptimisedMap:
    """Design a map by alternating optimisation.

    With estimates fixed, each value takes the level of least expected error; with levels fixed,
    each reading takes the posterior mean. Neither step can raise the error, so that it converges,
    to a local optimum: several starts, from maps of different clipping and direction, are tried.

    Args:
        values: Values to store, increasing, shape (K,).
        probabilities: Their probabilities, which sum to 1, same shape.
        channel: The law of the cell.
        starts: Number of clippings tried, each in both directions.
        sweeps: Most alternations from each start.

    Raises:
        InputError: Values and probabilities are not a distribution.

    Source:
        Farvardin and Vaishampayan, IEEE Trans. Inf. Theory 33, 827 (1987).

    Example:
        >>> from softcell.channel import channel_of
        >>> from softcell.devices import parse_device
        >>> x = np.linspace(-4, 4, 401)
        >>> p = np.exp(-x**2 / 2)
        >>> cell = channel_of(parse_device("pcm-partial-reset"))
        >>> float(round(-10 * np.log10(optimised_map(x, p / p.sum(), cell).distortion), 1))
        13.0
    """
    at = np.asarray(values, np.float64)
    share = np.asarray(probabilities, np.float64)
    if at.ndim != 1 or at.shape != share.shape or (np.diff(at) <= 0).any():
        raise InputError("values and probabilities need the same shape (K,), values increasing")
    if (share < 0).any() or abs(share.sum() - 1) > 1e-6:
        raise InputError("probabilities must be at least 0 and sum to 1")
    order = np.argsort(channel.mean, kind="stable")
    best: OptimisedMap | None = None
    cumulative = np.cumsum(share) - share / 2
    for i in range(starts):
        tail = 0.5 * 10 ** -(1 + 3 * i / starts)
        low, high = np.interp([tail, 1 - tail], cumulative, at)
        place = np.clip((at - low) / max(high - low, 1e-30), 0, 1)
        for direction in (order, order[::-1]):
            start = direction[np.rint(place * (len(order) - 1)).astype(int)]
            found = _alternate(at, share, channel.matrix, start, sweeps)
            if best is None or found.distortion < best.distortion:
                best = found
    if best is None:
        raise InputError("a design needs at least one start")
    return best


def _alternate(
    values: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    matrix: NDArray[np.float64],
    levels: NDArray[np.int64],
    sweeps: int,
) -> OptimisedMap:
    error = np.inf
    estimates = np.empty(matrix.shape[1])
    for _ in range(sweeps):
        mass = np.bincount(levels, probabilities, len(matrix)).astype(np.float64)
        moment = np.bincount(levels, probabilities * values, len(matrix))
        centre = np.divide(moment, mass, out=np.zeros_like(mass), where=mass > 0)
        estimates = posterior_mean(matrix, mass, centre)
        # E (v - e)^2 for value v and level l is v^2 - 2 v a_l + b_l: a line in v for each level.
        a, b = matrix @ estimates, matrix @ estimates**2
        cost = b[None, :] - 2 * values[:, None] * a[None, :]
        levels = cost.argmin(axis=1)
        now = float(probabilities @ (values**2 + cost.min(axis=1)))
        if error - now < 1e-9 * error:
            break
        error = now
    return OptimisedMap(values, levels, estimates, now)
