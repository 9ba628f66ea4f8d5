"""Imperfections around any device: stuck cells, spread between cells, a coarse read-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.devices.device import Axis, Cells, Device, checked_levels
from softcell.devices.mixture import normal_nodes
from softcell.errors import InputError
from softcell.streams import Stream


@dataclass(frozen=True)
class Stuck:
    """Some cells stay at an end of the level axis, whatever is written.

    Args:
        of: The device that is faulty.
        low: Fraction of cells stuck at level 0.
        high: Fraction of cells stuck at level 1.
    """

    of: Device
    low: float = 0.0
    high: float = 0.0

    def __post_init__(self) -> None:
        if not (self.low >= 0 and self.high >= 0 and self.low + self.high <= 1):
            raise InputError(
                f"stuck: low and high are fractions of the cells, got {self.low} and {self.high}"
            )

    @property
    def name(self) -> str:
        return f"{self.of.name}+stuck:low={self.low:g},high={self.high:g}"

    @property
    def source(self) -> str:
        return self.of.source

    @property
    def level_axis(self) -> Axis:
        return self.of.level_axis

    @property
    def reading_axis(self) -> Axis:
        return self.of.reading_axis

    def write(self, levels: NDArray[np.float32], *, stream: Stream) -> Cells:
        levels = checked_levels(levels)
        draw = stream.named("stuck").uniform(len(levels))
        at_low, at_high = draw < self.low, draw >= np.float32(1 - self.high)
        held = np.where(at_low, np.float32(0), np.where(at_high, np.float32(1), levels))
        return self.of.write(held, stream=stream).with_state(stuck=at_low | at_high)

    def age(self, cells: Cells, seconds: float) -> Cells:
        return self.of.age(cells, seconds)

    def read(self, cells: Cells, *, stream: Stream) -> NDArray[np.float32]:
        return self.of.read(cells, stream=stream)

    def span(self, age_seconds: float) -> tuple[float, float]:
        return self.of.span(age_seconds)

    def law(self, levels: NDArray, edges: NDArray, age_seconds: float) -> NDArray[np.float64]:
        ends = self.of.law(np.array([0.0, 1.0]), edges, age_seconds)
        healthy = (1 - self.low - self.high) * self.of.law(levels, edges, age_seconds)
        return healthy + self.low * ends[:1] + self.high * ends[1:]

    def definition(self) -> dict[str, Any]:
        return {
            "kind": "stuck",
            "low": self.low,
            "high": self.high,
            "of": self.of.definition(),
        }


@dataclass(frozen=True)
class Spread:
    """Each cell answers as if its level were off by an amount of its own, drawn at writing.

    Args:
        of: The device whose cells differ.
        sigma: Standard deviation of the offset, as a fraction of the level range; the level
            stays within [0, 1].
    """

    of: Device
    sigma: float = 0.02

    def __post_init__(self) -> None:
        if not 0 <= self.sigma <= 1:
            raise InputError(f"spread: sigma must lie in [0, 1], got {self.sigma}")

    @property
    def name(self) -> str:
        return f"{self.of.name}+spread:sigma={self.sigma:g}"

    @property
    def source(self) -> str:
        return self.of.source

    @property
    def level_axis(self) -> Axis:
        return self.of.level_axis

    @property
    def reading_axis(self) -> Axis:
        return self.of.reading_axis

    def write(self, levels: NDArray[np.float32], *, stream: Stream) -> Cells:
        levels = checked_levels(levels)
        offset = stream.named("spread").normal(len(levels)) * np.float32(self.sigma)
        shifted = np.clip(levels + offset, np.float32(0), np.float32(1))
        return self.of.write(shifted, stream=stream).with_state(level_offset=offset)

    def age(self, cells: Cells, seconds: float) -> Cells:
        return self.of.age(cells, seconds)

    def read(self, cells: Cells, *, stream: Stream) -> NDArray[np.float32]:
        return self.of.read(cells, stream=stream)

    def span(self, age_seconds: float) -> tuple[float, float]:
        return self.of.span(age_seconds)

    def law(self, levels: NDArray, edges: NDArray, age_seconds: float) -> NDArray[np.float64]:
        nodes, weights = normal_nodes()
        levels = np.asarray(levels, np.float64)
        law = np.zeros((len(levels), len(edges) - 1))
        for node, weight in zip(nodes, weights):
            shifted = np.clip(levels + self.sigma * node, 0, 1)
            law += weight * self.of.law(shifted, edges, age_seconds)
        return law

    def definition(self) -> dict[str, Any]:
        return {"kind": "spread", "sigma": self.sigma, "of": self.of.definition()}


@dataclass(frozen=True)
class ReadOut:
    """A converter of finite resolution: readings are rounded to evenly spaced codes.

    The codes span what the fresh device reads; readings beyond them take the last code.

    Args:
        of: The device that is read.
        bits: Resolution in bits, 1 to 16.
    """

    of: Device
    bits: int = 8

    def __post_init__(self) -> None:
        if not (float(self.bits).is_integer() and 1 <= self.bits <= 16):
            raise InputError(f"readout: bits must be an integer from 1 to 16, got {self.bits}")

    @property
    def name(self) -> str:
        return f"{self.of.name}+readout:bits={int(self.bits)}"

    @property
    def source(self) -> str:
        return self.of.source

    @property
    def level_axis(self) -> Axis:
        return self.of.level_axis

    @property
    def reading_axis(self) -> Axis:
        return self.of.reading_axis

    def write(self, levels: NDArray[np.float32], *, stream: Stream) -> Cells:
        return self.of.write(levels, stream=stream)

    def age(self, cells: Cells, seconds: float) -> Cells:
        return self.of.age(cells, seconds)

    def _codes(self) -> NDArray[np.float64]:
        low, high = self.of.span(0.0)
        return np.linspace(low, high, 2 ** int(self.bits))

    def read(self, cells: Cells, *, stream: Stream) -> NDArray[np.float32]:
        codes = self._codes()
        readings = self.of.read(cells, stream=stream)
        step = (codes[-1] - codes[0]) / (len(codes) - 1)
        index = np.rint((readings - codes[0]) / step)
        return codes[np.clip(index, 0, len(codes) - 1).astype(np.int64)].astype(np.float32)

    def span(self, age_seconds: float) -> tuple[float, float]:
        codes = self._codes()
        step = (codes[-1] - codes[0]) / (len(codes) - 1)
        return codes[0] - step / 2, codes[-1] + step / 2

    def law(self, levels: NDArray, edges: NDArray, age_seconds: float) -> NDArray[np.float64]:
        codes = self._codes()
        thresholds = np.concatenate([[-np.inf], (codes[1:] + codes[:-1]) / 2, [np.inf]])
        per_code = self.of.law(levels, thresholds, age_seconds)
        law = np.zeros((len(levels), len(edges) - 1))
        bins = np.clip(np.searchsorted(edges, codes, side="right") - 1, 0, len(edges) - 2)
        np.add.at(law, (slice(None), bins), per_code)
        return law

    def definition(self) -> dict[str, Any]:
        return {"kind": "readout", "bits": int(self.bits), "of": self.of.definition()}
