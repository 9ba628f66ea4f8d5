"""Imperfections around any device: stuck cells, spread between cells, a coarse read-out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from softcell.devices.device import LEVELS, Axis, Cells, Device, checked_levels
from softcell.devices.specification import options_of, specification
from softcell.errors import InputError
from softcell.streams import Stream

_FINER = (1, 4, 16, 32)  # levels of the grid of a spread's law for each programmable level
_NEGLIGIBLE = 1e-9  # deviation of levels that is far below what float32 tells apart
_OVERLAP = 0.1  # total variation between neighbouring levels at which the grid is fine enough


@dataclass(frozen=True)
class Imperfection:
    """What every imperfection has of the device that it is around, and what it is called.

    Its options are its other fields: its text and its definition follow from them.

    Args:
        of: The device that it is around.
    """

    kind: ClassVar[str]
    of: Device

    @property
    def name(self) -> str:
        return f"{self.of.name}+{specification(self.kind, options_of(self))}"

    @property
    def source(self) -> str:
        return self.of.source

    @property
    def level_axis(self) -> Axis:
        return self.of.level_axis

    @property
    def reading_axis(self) -> Axis:
        return self.of.reading_axis

    def age(self, cells: Cells, seconds: float) -> Cells:
        return self.of.age(cells, seconds)

    def definition(self) -> dict[str, Any]:
        return {"kind": self.kind, **options_of(self), "of": self.of.definition()}


@dataclass(frozen=True)
class Stuck(Imperfection):
    """Some cells stay at an end of the level axis, whatever is written.

    Args:
        of: The device that is faulty.
        low: Fraction of cells stuck at level 0.
        high: Fraction of cells stuck at level 1.
    """

    kind: ClassVar[str] = "stuck"
    low: float = 0.0
    high: float = 0.0

    def __post_init__(self) -> None:
        if not (self.low >= 0 and self.high >= 0 and self.low + self.high <= 1):
            raise InputError(
                f"stuck: low and high are fractions of the cells, got {self.low} and {self.high}"
            )

    def write(self, levels: NDArray[np.float32], *, stream: Stream) -> Cells:
        levels = checked_levels(levels)
        words = stream.named("stuck").words(len(levels), draw=layers(self.of))
        at_low = words < np.uint64(round(self.low * 2**32))
        at_high = words >= np.uint64(2**32 - round(self.high * 2**32))
        held = np.where(at_low, np.float32(0), np.where(at_high, np.float32(1), levels))
        cells = self.of.write(held, stream=stream)
        return cells.with_state(stuck=at_low | at_high | cells.state.get("stuck", False))

    def read(self, cells: Cells, *, stream: Stream) -> NDArray[np.float32]:
        return self.of.read(cells, stream=stream)

    def span(self, age_seconds: float) -> tuple[float, float]:
        return self.of.span(age_seconds)

    def law(
        self, levels: NDArray[np.float64], edges: NDArray[np.float64], age_seconds: float
    ) -> NDArray[np.float64]:
        law = self.of.law(np.concatenate([levels, [0.0, 1.0]]), edges, age_seconds)
        healthy = 1 - self.low - self.high
        mixed: NDArray[np.float64] = healthy * law[:-2] + self.low * law[-2] + self.high * law[-1]
        return mixed


@dataclass(frozen=True)
class Spread(Imperfection):
    """Each cell answers as if its level were off by an amount of its own, drawn at writing.

    Args:
        of: The device whose cells differ.
        sigma: Standard deviation of the offset, as a fraction of the level range; the level
            stays within [0, 1].
    """

    kind: ClassVar[str] = "spread"
    sigma: float = 0.02

    def __post_init__(self) -> None:
        if not 0 <= self.sigma <= 1:
            raise InputError(f"spread: sigma must lie in [0, 1], got {self.sigma}")

    def write(self, levels: NDArray[np.float32], *, stream: Stream) -> Cells:
        levels = checked_levels(levels)
        offset = stream.named("spread").normal(len(levels), draw=layers(self.of))
        offset *= np.float32(self.sigma)
        shifted = np.clip(levels + offset, np.float32(0), np.float32(1))
        cells = self.of.write(shifted, stream=stream)
        return cells.with_state(level_offset=offset + cells.state.get("level_offset", 0))

    def read(self, cells: Cells, *, stream: Stream) -> NDArray[np.float32]:
        return self.of.read(cells, stream=stream)

    def span(self, age_seconds: float) -> tuple[float, float]:
        return self.of.span(age_seconds)

    def law(
        self, levels: NDArray[np.float64], edges: NDArray[np.float64], age_seconds: float
    ) -> NDArray[np.float64]:
        levels = np.asarray(levels, np.float64)
        if self.sigma < _NEGLIGIBLE:
            return self.of.law(levels, edges, age_seconds)
        for finer in _FINER:
            grid = np.linspace(0, 1, finer * (LEVELS - 1) + 1)
            law = self.of.law(grid, edges, age_seconds)
            # Where neighbouring levels hardly overlap, a mixture of their laws would be a comb.
            if np.abs(np.diff(law, axis=0)).sum(axis=1).max() / 2 < _OVERLAP:
                break
        blocks = np.array_split(levels, len(levels) // LEVELS + 1)  # bounds the weights' memory
        return np.concatenate([_interpolated_weights(b, self.sigma, grid) @ law for b in blocks])


@dataclass(frozen=True)
class ReadOut(Imperfection):
    """A converter of finite resolution: readings are rounded to evenly spaced codes.

    The codes span what the fresh device reads; readings beyond them take the last code.

    Args:
        of: The device that is read.
        bits: Resolution in bits, 1 to 16.
    """

    kind: ClassVar[str] = "readout"
    bits: int = 8

    def __post_init__(self) -> None:
        if not (float(self.bits).is_integer() and 1 <= self.bits <= 16):
            raise InputError(f"readout: bits must be an integer from 1 to 16, got {self.bits}")
        object.__setattr__(self, "bits", int(self.bits))

    def write(self, levels: NDArray[np.float32], *, stream: Stream) -> Cells:
        return self.of.write(levels, stream=stream)

    def _codes(self) -> NDArray[np.float64]:
        low, high = self.of.span(0.0)
        return np.linspace(low, high, 2**self.bits)

    def read(self, cells: Cells, *, stream: Stream) -> NDArray[np.float32]:
        codes = self._codes()
        readings = self.of.read(cells, stream=stream)
        step = (codes[-1] - codes[0]) / (len(codes) - 1)
        index = np.rint((readings - codes[0]) / step)
        read: NDArray[np.float64] = codes[np.clip(index, 0, len(codes) - 1).astype(np.int64)]
        return read.astype(np.float32)

    def span(self, age_seconds: float) -> tuple[float, float]:
        codes = self._codes()
        step = (codes[-1] - codes[0]) / (len(codes) - 1)
        return codes[0] - step / 2, codes[-1] + step / 2

    def law(
        self, levels: NDArray[np.float64], edges: NDArray[np.float64], age_seconds: float
    ) -> NDArray[np.float64]:
        codes = self._codes()
        bins = np.clip(np.searchsorted(edges, codes, side="right") - 1, 0, len(edges) - 2)
        # Codes that share a bin are neighbours: only thresholds between bins matter.
        new = np.flatnonzero(np.diff(bins)) + 1
        thresholds = np.concatenate([[-np.inf], (codes[new] + codes[new - 1]) / 2, [np.inf]])
        law = np.zeros((len(levels), len(edges) - 1))
        law[:, bins[np.concatenate([[0], new])]] = self.of.law(levels, thresholds, age_seconds)
        return law


def layers(device: Device) -> int:
    """Count the imperfections of a device, so that each layer has random numbers of its own."""
    count = 0
    while isinstance(device, Imperfection):
        device, count = device.of, count + 1
    return count


def _interpolated_weights(
    levels: NDArray[np.float64], sigma: float, grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how much of each grid level stands for clip(level + sigma e, 0, 1).

    Each offset level is shared between its two neighbours on the grid, as in linear
    interpolation; integrated over the normal density, shape (levels, grid), rows sum to 1.
    """
    from scipy.special import ndtr

    step = grid[1] - grid[0]
    u = np.abs(grid - levels[:, None]) / sigma
    # E (x - X)+ is the ramp (x - level)+ and a bump, so that nothing cancels far from the level.
    bump = sigma * (np.exp(-0.5 * u**2) / math.sqrt(2 * math.pi) - u * ndtr(-u))
    spread = np.diff(np.diff(bump, axis=1) / step, axis=1, prepend=0.0, append=0.0)
    weights = np.maximum(np.maximum(1 - u * sigma / step, 0) + spread, 0)
    shares: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return shares
