"""The law of one cell: which readings a level gives, and what a reading tells of the level."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from softcell.channel.capacity import Capacity, capacity
from softcell.devices import LEVEL_VALUES, Device
from softcell.errors import InputError

READINGS = 1024
"""Bins of the reading axis, which a law spans from the lowest to the highest likely reading."""

MISSING = READINGS
"""Bin of a reading that is missing (NaN), beyond those of all readings."""


@dataclass(frozen=True, eq=False)
class Channel:
    """P(reading | level) of a device at an age, over bins of readings.

    Args:
        levels: Programmable levels in [0, 1], shape (L,).
        edges: Bin edges, shape (R + 1,): evenly spaced but for the first, -inf, and the last, inf.
        matrix: Probabilities, shape (L, R); rows sum to 1.
        age_seconds: Age at which the cells are read.
    """

    levels: NDArray[np.float64] = field(repr=False)
    edges: NDArray[np.float64] = field(repr=False)
    matrix: NDArray[np.float64] = field(repr=False)
    age_seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.matrix.shape != (len(self.levels), len(self.edges) - 1):
            raise InputError(
                f"a channel of {len(self.levels)} levels and {len(self.edges) - 1} bins needs a "
                f"matrix of that shape, got {self.matrix.shape}"
            )

    @property
    def matrices(self) -> NDArray[np.float64]:
        """Transition matrix at its one age, shape (1, L, R), as laws over several ages have it."""
        return self.matrix[None]

    @property
    def average(self) -> Channel:
        """The law for a decoder that is not told the age: at one age, the same."""
        return self

    @cached_property
    def readings(self) -> NDArray[np.float64]:
        """Reading that stands for each bin, shape (R,): its centre."""
        inner = self.edges[1:-1]
        step = inner[1] - inner[0]
        return np.concatenate(
            [[inner[0] - step / 2], (inner[1:] + inner[:-1]) / 2, [inner[-1] + step / 2]]
        )

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """Mean reading of each level, shape (L,)."""
        return self.matrix @ self.readings

    @cached_property
    def deviation(self) -> NDArray[np.float64]:
        """Standard deviation of each level's reading, shape (L,)."""
        return np.sqrt(np.maximum(self.matrix @ self.readings**2 - self.mean**2, 0))

    @cached_property
    def capacity(self) -> Capacity:
        """Capacity in bits per cell and the distribution of levels that reaches it."""
        return capacity(self.matrix)

    @cached_property
    def digest(self) -> str:
        """Name of the law: equal for equal levels, edges and probabilities alone."""
        digest = hashlib.blake2b(repr(self.matrix.shape).encode(), digest_size=16)
        for array in (self.levels, self.edges, self.matrix):
            digest.update(np.ascontiguousarray(array, "<f8").tobytes())
        return digest.hexdigest()

    def bins(self, readings: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the bin of each reading, same shape; of one that is missing (NaN), R."""
        last = len(self.edges) - 2
        low, step = self.edges[1], self.edges[2] - self.edges[1]
        position = np.clip(np.floor((readings - low) / step) + 1, 0, last)
        missing = np.isnan(position)
        if missing.any():
            position[missing] = last + 1
        bins: NDArray[np.int64] = position.astype(np.int64)
        return bins

    def only(self, chosen: NDArray[np.int64]) -> Channel:
        """Return the channel with the chosen levels (indices) alone."""
        return Channel(self.levels[chosen], self.edges, self.matrix[chosen], self.age_seconds)


def with_missing(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a transition matrix, or several, with one more bin: that of a missing reading.

    Every level gives it alike, so that it says nothing of the level; shape (..., L, R + 1).
    """
    ones = np.ones((*matrix.shape[:-1], 1))
    widened: NDArray[np.float64] = np.concatenate([matrix, ones], axis=-1)
    return widened


@lru_cache(maxsize=64)
def _cached(device: Device, age_seconds: float, edge_data: bytes) -> Channel:
    edges = np.frombuffer(edge_data)
    law = device.law(LEVEL_VALUES, edges, age_seconds)
    return Channel(LEVEL_VALUES, edges, law, age_seconds)


def edges_over(device: Device, ages: Sequence[float]) -> NDArray[np.float64]:
    """Return the edges of READINGS bins over all likely readings of a device at some ages.

    Args:
        device: The device.
        ages: Ages in seconds.

    Raises:
        InputError: An age is negative or not finite, or the device reads the same at every level.
    """
    for age in ages:
        if not (np.isfinite(age) and age >= 0):
            raise InputError(f"an age must be finite and at least 0 s, got {age}")
    spans = [device.span(age) for age in ages]
    low, high = min(low for low, _ in spans), max(high for _, high in spans)
    if not low < high:
        raise InputError(f"{device.name} reads {low:g} at every level: it stores nothing")
    return np.concatenate([[-np.inf], np.linspace(low, high, READINGS - 1), [np.inf]])


def channel_of(
    device: Device, age_seconds: float = 0.0, *, edges: NDArray[np.float64] | None = None
) -> Channel:
    """Return the channel of a device that is read at an age.

    Args:
        device: The device.
        age_seconds: Time between writing and reading, at least 0.
        edges: Edges of the bins; by default those of `edges_over` at that age.

    Raises:
        InputError: The age is not such a time, or the device reads the same at every level.

    Example:
        >>> from softcell.devices import parse_device
        >>> round(channel_of(parse_device("ideal")).capacity.bits, 3)
        8.0
    """
    own = edges_over(device, [age_seconds]) if edges is None else edges
    return _cached(device, float(age_seconds), own.tobytes())


def posterior_mean(
    matrix: NDArray[np.float64], prior: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return E[value | bin], the estimate of least mean square error.

    Args:
        matrix: P(bin | symbol), shape (symbols, R).
        prior: P(symbol), shape (symbols,).
        values: Value that each symbol stands for, shape (symbols,).

    Returns:
        Estimates, shape (R,); a bin that no symbol reaches takes the prior mean.

    Example:
        >>> matrix = np.array([[0.9, 0.1], [0.1, 0.9]])
        >>> posterior_mean(matrix, np.array([0.5, 0.5]), np.array([-1.0, 1.0])).round(3).tolist()
        [-0.8, 0.8]
    """
    joint = prior[:, None] * matrix
    mass = joint.sum(axis=0)
    mean = values @ joint
    return np.where(mass > 1e-300, mean / np.maximum(mass, 1e-300), prior @ values)


def log_likelihood_ratios(
    matrix: NDArray[np.float64],
    labels: NDArray[np.integer],
    prior: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return ln P(bit = 0 | bin) / P(bit = 1 | bin) for each bit of the labels.

    Args:
        matrix: P(bin | symbol), shape (symbols, R).
        labels: Bits that each symbol carries, 0 or 1, shape (symbols, bits).
        prior: P(symbol), shape (symbols,); by default all equal.

    Returns:
        Ratios within +-700, shape (bits, R): positive where 0 is more likely.
    """
    joint = matrix if prior is None else matrix * prior[:, None]
    zero, one = (
        np.log([np.maximum(joint[bit == value].sum(axis=0), 1e-305) for bit in labels.T])
        for value in (0, 1)
    )
    ratios: NDArray[np.float64] = np.clip(zero - one, -700, 700)
    return ratios
