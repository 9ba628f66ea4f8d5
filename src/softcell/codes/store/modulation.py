"""Bits on the levels of a cell: labels, what each label bit is worth, which bit goes where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from softcell.channel import (
    Channel,
    constellation,
    gray_label,
    log_likelihood_ratios,
    mutual_information,
    with_missing,
)
from softcell.codes.store.ldpc import in_steps
from softcell.errors import InputError

LEVEL_COUNTS = (2, 4, 8, 16)
"""Numbers of levels with a whole number of bits."""

_REACH = 12  # how far a level may move at a time while the placement is refined


@dataclass(frozen=True)
class Modulation:
    """Levels with labels, and the order of the label bits from the most to the least reliable.

    Stored bits fill one label bit of all cells of a frame after another, the most reliable first.
    An LDPC code stores its information first and its parity last, so the weak label bits hold
    parity: at the same rate far fewer frames fail than with bits spread evenly.

    Args:
        indices: Levels used, indices from 0 to 255, ordered by their mean reading; 2, 4, 8 or 16.
        labels: Label of each level; every number below the number of levels once.
        planes: Label bits (0 is the highest) from the most to the least reliable.

    Raises:
        InputError: These are not such numbers.

    Example:
        >>> pam = Modulation((0, 85, 170, 255), labels=(0, 1, 3, 2), planes=(0, 1))
        >>> pam.to_cells(np.array([[1, 0, 1, 1, 0, 0]], np.uint8)).tolist()  # 3 cells: 11 00 10
        [[1, 1, 0, 0, 1, 0]]
    """

    indices: tuple[int, ...]
    labels: tuple[int, ...]
    planes: tuple[int, ...]

    def __post_init__(self) -> None:
        count = len(self.indices)
        if count not in LEVEL_COUNTS or not all(
            isinstance(i, int) and 0 <= i <= 255 for i in self.indices
        ):
            raise InputError(f"a modulation uses 2, 4, 8 or 16 levels of 256, got {self.indices}")
        if len(set(self.indices)) != count:
            raise InputError(f"a modulation uses different levels, got {self.indices}")
        if sorted(self.labels) != list(range(count)):
            raise InputError(f"expected each label from 0 to {count - 1} once, got {self.labels}")
        if sorted(self.planes) != list(range(self.bits_per_symbol)):
            raise InputError(
                f"expected each label bit from 0 to {self.bits_per_symbol - 1} once, "
                f"got {self.planes}"
            )

    @property
    def bits_per_symbol(self) -> int:
        """Label bits of a cell."""
        return len(self.indices).bit_length() - 1

    def cells(self, bits: int) -> int:
        """Return the cells for a frame of so many stored bits."""
        return -(-bits // self.bits_per_symbol)

    def to_cells(self, stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Arrange stored bits as the labels of cell after cell, the highest label bit first.

        Args:
            stored: Stored bits, shape (frames, n), uint8.

        Returns:
            Label bits, shape (frames, cells(n) * bits_per_symbol); what is left over is 0.
        """
        frames, n = stored.shape
        planes = np.zeros((frames, self.bits_per_symbol, self.cells(n)), np.uint8)
        planes.reshape(frames, -1)[:, :n] = stored
        places = np.argsort(self.planes)
        return np.ascontiguousarray(planes[:, places].transpose(0, 2, 1)).reshape(frames, -1)

    def from_cells(self, ratios: NDArray[np.int8], n: int) -> NDArray[np.int8]:
        """Arrange what was detected cell by cell as the stored bits of each frame.

        Args:
            ratios: Of the label bits, shape (frames, cells(n) * bits_per_symbol).
            n: Stored bits of a frame.

        Returns:
            Of the stored bits, shape (frames, n).
        """
        frames = len(ratios)
        by_cell = ratios.reshape(frames, self.cells(n), self.bits_per_symbol)
        planes = np.ascontiguousarray(by_cell[:, :, self.planes].transpose(0, 2, 1))
        return planes.reshape(frames, -1)[:, :n]

    def level_indices(self, label_bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the level of each cell from its label bits, shape (cells * bits,) -> (cells,)."""
        by_cell = label_bits.reshape(-1, self.bits_per_symbol)
        label = np.zeros(len(by_cell), np.uint8)
        for bit in range(self.bits_per_symbol):
            label = (label << np.uint8(1)) | by_cell[:, bit]
        by_label = np.empty(len(self.indices), np.uint8)
        by_label[list(self.labels)] = self.indices
        return by_label[label]

    def detect(self, channel: Channel, readings: NDArray[np.float32]) -> NDArray[np.int8]:
        """Return ln P(bit = 0 | reading) / P(bit = 1 | reading) of the label bits, in steps.

        Args:
            channel: The law of the cell at the age of the readings.
            readings: Readings, shape (cells,).

        Returns:
            Ratios in steps of 0.25, clipped to +-100, shape (cells * bits_per_symbol,); 0 where a
            reading is missing (NaN).
        """
        rows = with_missing(channel.matrix[list(self.indices)])
        table = in_steps(log_likelihood_ratios(rows, label_bits(self.labels))).T
        # `take` is five times as fast as an index on rows so short.
        return np.take(np.ascontiguousarray(table), channel.bins(readings), axis=0).reshape(-1)


def label_bits(labels: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the bits of the labels, the highest first; shape (levels, bits).

    Example:
        >>> label_bits((0, 1, 3, 2)).tolist()
        [[0, 0], [0, 1], [1, 1], [1, 0]]
    """
    bits = len(labels).bit_length() - 1
    return (np.array(labels)[:, None] >> np.arange(bits - 1, -1, -1)) & 1


def bit_information(rows: NDArray[np.float64], labels: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the mutual information between each label bit and the reading.

    I_b = I(bit b; reading), levels equally likely. A decoder that treats the bits of a cell as
    if they were independent can get their sum, at most I(level; reading).

    Args:
        rows: P(bin | level) of the levels used, shape (levels, R).
        labels: Label of each level.

    Returns:
        Bits per cell, shape (bits,), the highest label bit first.

    Source:
        Caire, Taricco & Biglieri, IEEE Trans. Information Theory 44, 927 (1998), section III.
    """
    even = np.array([0.5, 0.5])
    halves = (
        np.stack([rows[bit == value].mean(axis=0) for value in (0, 1)])
        for bit in label_bits(labels).T
    )
    return np.array([mutual_information(half, even) for half in halves])


def gray_labels(bits: int) -> Iterator[tuple[int, ...]]:
    """Yield the labellings whose neighbours differ in one bit, but for the order of the bits.

    Up to 3 bits all of them, the reflected one first; for 4 bits that one alone.

    Example:
        >>> list(gray_labels(3))[0]
        (0, 1, 3, 2, 6, 7, 5, 4)
    """
    reflected = tuple(gray_label(i) for i in range(1 << bits))
    if bits > 3:
        yield reflected
        return
    paths: list[tuple[int, ...]] = [(0,)]
    for length in range(1, 1 << bits):
        paths = [
            (*path, path[-1] ^ (1 << bit))
            for path in paths
            for bit in range(bits)
            if path[-1] ^ (1 << bit) not in path
            and 1 << bit <= 1 << max(path).bit_length()  # bits appear in their order
        ]
        paths.sort(key=lambda path: path != reflected[: length + 1])
    yield from paths


@lru_cache(maxsize=32)
def design_modulation(channel: Channel, count: int) -> Modulation:
    """Place levels and label them for the most information in their bits.

    Starts from the levels of most mutual information, tries every Gray labelling, then moves one
    level at a time while the sum over the label bits grows.

    Args:
        channel: The law of the cell at the age at which it must still be read.
        count: Number of levels: 2, 4, 8 or 16.

    Raises:
        InputError: No such number of levels.

    Example:
        >>> from softcell.channel import channel_of
        >>> from softcell.devices import parse_device
        >>> channel = channel_of(parse_device("pcm-partial-reset"))
        >>> chosen = design_modulation(channel, 8)
        >>> rows = channel.matrix[list(chosen.indices)]
        >>> round(float(bit_information(rows, chosen.labels).sum()), 2)
        2.56
    """
    if count not in LEVEL_COUNTS:
        raise InputError(f"a modulation uses 2, 4, 8 or 16 levels, got {count}")
    indices = [int(i) for i in constellation(channel, count, criterion="information").indices]

    def worth(chosen: list[int], labels: tuple[int, ...]) -> float:
        return float(bit_information(channel.matrix[chosen], labels).sum())

    labels = max(gray_labels(count.bit_length() - 1), key=lambda tried: worth(indices, tried))
    best, improved = worth(indices, labels), True
    while improved:
        improved = False
        for place in range(count):
            for level in range(indices[place] - _REACH, indices[place] + _REACH + 1):
                moved = [*indices[:place], level, *indices[place + 1 :]]
                if not 0 <= level < len(channel.levels) or level in indices:
                    continue
                now = worth(moved, labels)
                if now > best + 1e-9:
                    best, indices, improved = now, moved, True
    order = np.argsort(channel.mean[indices], kind="stable")
    ordered = tuple(indices[i] for i in order)
    relabelled = tuple(labels[i] for i in order)
    worths = bit_information(channel.matrix[list(ordered)], relabelled)
    planes = tuple(int(b) for b in np.argsort(-worths, kind="stable"))
    return Modulation(ordered, relabelled, planes)
