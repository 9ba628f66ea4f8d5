"""The law of a cell that is read at any of several ages."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from softcell.channel.channel import Channel, channel_of, edges_over
from softcell.devices import Device
from softcell.durations import Ages
from softcell.errors import InputError

SPAN_AGES = 7
"""Ages that stand for a span: with one for each decade or so, drift between them is small."""


@dataclass(frozen=True, eq=False)
class AgedChannel:
    """P(reading | level) at several ages, each as likely as the others.

    A decoder that is told the age sees the age beside the reading; one that is not sees the
    reading alone:

        told:      P(age k, bin | level) = P_k(bin | level) / n
        not told:  P(bin | level) = sum over k of P_k(bin | level) / n

    Either is the transition matrix of a channel, so that what is designed for a channel can be
    designed for a span of ages. Cells that are read together have the same age: what two of them
    read is independent at each age (`matrices`), but not over all.

    Args:
        channels: The laws at these ages, on the same levels and bins.
        told: Whether the decoder is told the age.

    Raises:
        InputError: There is no law, or they differ in levels or bins.
    """

    channels: tuple[Channel, ...] = field(repr=False)
    told: bool

    def __post_init__(self) -> None:
        if not self.channels:
            raise InputError("a law over several ages needs the law at one at least")
        first = self.channels[0]
        for other in self.channels[1:]:
            same = np.array_equal(first.levels, other.levels)
            if not (same and np.array_equal(first.edges, other.edges)):
                raise InputError("laws over several ages need the same levels and bins")

    @property
    def levels(self) -> NDArray[np.float64]:
        """Programmable levels, shape (L,)."""
        return self.channels[0].levels

    @cached_property
    def matrices(self) -> NDArray[np.float64]:
        """Transition matrix at each age, shape (n, L, R)."""
        return np.stack([channel.matrix for channel in self.channels])

    @cached_property
    def matrix(self) -> NDArray[np.float64]:
        """What the decoder sees of a level: shape (L, n R) if it is told the age, else (L, R)."""
        if self.told:
            told: NDArray[np.float64] = np.concatenate(list(self.matrices), axis=1)
            return told / len(self.channels)
        averaged: NDArray[np.float64] = self.matrices.mean(axis=0)
        return averaged

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """Mean reading of each level over all ages, shape (L,)."""
        mean: NDArray[np.float64] = np.mean([channel.mean for channel in self.channels], axis=0)
        return mean

    @cached_property
    def average(self) -> Channel:
        """The law of one cell for a decoder that is not told the age."""
        first = self.channels[0]
        ages = [channel.age_seconds for channel in self.channels]
        return Channel(first.levels, first.edges, self.matrices.mean(axis=0), max(ages))

    @cached_property
    def digest(self) -> str:
        """Name of the law: equal for equal laws alone."""
        parts = [channel.digest for channel in self.channels]
        return hashlib.blake2b(repr((parts, self.told)).encode(), digest_size=16).hexdigest()

    def bins(self, readings: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the bin of each reading, from 0 to R - 1 at any age; R where it is missing."""
        return self.channels[0].bins(readings)


Law = Channel | AgedChannel
"""What a code may be designed for."""


def law_of(device: Device, ages: Ages) -> Law:
    """Return the law of a device at an age, or over a span of ages.

    Args:
        device: The device.
        ages: The ages, and whether the decoder is told which.

    Example:
        >>> from softcell.devices import parse_device
        >>> from softcell.durations import parse_ages
        >>> law = law_of(parse_device("pcm-mushroom"), parse_ages("1m..10y"))
        >>> law.matrices.shape, law.matrix.shape
        ((7, 256, 1024), (256, 7168))
    """
    if ages.single:
        return channel_of(device, ages.last)
    return _over(device, ages)


@lru_cache(maxsize=16)
def _over(device: Device, ages: Ages) -> AgedChannel:
    seconds = ages.spaced(SPAN_AGES)
    edges = edges_over(device, seconds)
    return AgedChannel(tuple(channel_of(device, age, edges=edges) for age in seconds), ages.told)
