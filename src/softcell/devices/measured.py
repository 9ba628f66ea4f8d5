"""Cells known by measurement: a law of readings at each measured input, straight lines between."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from softcell.compiled import compiled
from softcell.devices.device import LEVEL_VALUES, LEVELS, Axis, Cells, Response, checked_levels
from softcell.devices.mixture import mixture_law, mixture_span
from softcell.devices.noise_law import NoiseLaw, programming
from softcell.errors import InputError
from softcell.streams import Stream

_KNOTS = 4 * (LEVELS - 1) + 1
_LARGEST = 1e15  # beyond any quantity, and far within what float32 squares
_LARGEST_LOGARITHM = 100
_OUTSIDE = 5e-7  # of the readings on either side of a span
_STATISTICS = ("inputs", "mean", "deviation", "device_spread")


@compiled()
def _write(levels, mean, programming, spread, noise, offset, out):
    last = mean.size - 1
    for i in range(levels.size):
        position = levels[i] * np.float32(last)
        k = min(int(position), last - 1)
        part = position - np.float32(k)
        centre = mean[k] + part * (mean[k + 1] - mean[k])
        own = spread[k] + part * (spread[k + 1] - spread[k])
        sigma = programming[k] + part * (programming[k + 1] - programming[k])
        out[i] = centre + own * offset[i] + sigma * noise[i]


@compiled()
def _write_mixed(levels, mean, spread, noise, offset, words, cumulated, centres, scales, out):
    last, components = mean.size - 1, cumulated.shape[1]
    for i in range(levels.size):
        position = levels[i] * np.float32(last)
        k = min(int(position), last - 1)
        part = position - np.float32(k)
        share = (words[i] + 0.5) * 2.0**-32
        low, high = 0, components - 1
        while low < high:
            j = (low + high) // 2
            below = cumulated[k, j] + part * (cumulated[k + 1, j] - cumulated[k, j])
            if below > share:
                high = j
            else:
                low = j + 1
        centre = mean[k] + part * (mean[k + 1] - mean[k])
        own = spread[k] + part * (spread[k + 1] - spread[k])
        centre += centres[k, low] + part * (centres[k + 1, low] - centres[k, low])
        sigma = scales[k, low] + part * (scales[k + 1, low] - scales[k, low])
        out[i] = centre + own * offset[i] + sigma * noise[i]


@dataclass(frozen=True, eq=False)
class MeasuredCell:
    """A cell whose readings were measured at a number of inputs.

    reading = mean(level) + spread(level) d + programming noise + read noise. d is the cell's own,
    drawn at writing: the difference between physical cells, where several were measured. All are
    normal, but for programming noise where a law says otherwise. Ageing was not measured and
    changes nothing.

    Args:
        label: Name of the device.
        origin: Source of the measurements.
        level: Axis of the input.
        reading: Axis of the reading.
        inputs: Measured inputs in the level axis's unit, increasing, shape (inputs,).
        mean: Mean reading, same shape.
        deviation: Standard deviation of one cell's readings over write and read, same shape.
        device_spread: Standard deviation of the cells' means, same shape; zeros for one cell.
        read_noise: Standard deviation of reading alone, at every level; programming makes up the
            rest of `deviation`.
        noise: Law of a write and read within one cell, in units of `deviation`; None is normal.
        drawn: Law that cells are written with, where it is not the one that `law` states: what a
            design makes of cells that are not as it takes them for.
    """

    measured_seconds: ClassVar[float] = 0.0
    label: str
    origin: str
    level: Axis
    reading: Axis
    inputs: NDArray[np.float64] = field(repr=False)
    mean: NDArray[np.float64] = field(repr=False)
    deviation: NDArray[np.float64] = field(repr=False)
    device_spread: NDArray[np.float64] = field(repr=False)
    read_noise: float = 0.0
    noise: NoiseLaw | None = None
    drawn: NoiseLaw | None = None

    def __post_init__(self) -> None:
        if self.inputs.ndim != 1 or len(self.inputs) < 2 or (np.diff(self.inputs) <= 0).any():
            raise InputError(f"{self.label}: inputs must be at least two increasing numbers")
        tables = (self.mean, self.deviation, self.device_spread)
        if any(table.shape != self.inputs.shape for table in tables):
            raise InputError(f"{self.label}: expected one statistic for each of the inputs")
        most = _LARGEST_LOGARITHM if self.reading.scale == "log10" else _LARGEST
        within = all((np.abs(table) <= most).all() for table in tables)
        if not within or not (np.abs(self.inputs) <= _LARGEST).all():
            raise InputError(
                f"{self.label}: inputs and statistics must be finite; readings at most {most:g}"
            )
        if min(self.deviation.min(), self.device_spread.min()) < 0:
            raise InputError(f"{self.label}: standard deviations must be at least 0")
        if not 0 <= self.read_noise <= most:
            raise InputError(f"{self.label}: read noise must be at least 0, got {self.read_noise}")
        for each in (self.noise, self.drawn):
            if each is not None and len(each.weight) != len(self.inputs):
                raise InputError(f"{self.label}: a law of noise needs a row for each of the inputs")
        for name in _STATISTICS:  # what a law was computed from must not change afterwards
            own = np.array(getattr(self, name), np.float64)
            own.setflags(write=False)
            object.__setattr__(self, name, own)

    @cached_property
    def _identity(self) -> tuple[Any, ...]:
        data = (getattr(self, name).tobytes() for name in _STATISTICS)
        laws = (each and each.identity for each in (self.noise, self.drawn))
        return self.label, self.origin, self.level, self.reading, self.read_noise, *laws, *data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MeasuredCell) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def name(self) -> str:
        return self.label

    @property
    def source(self) -> str:
        return self.origin

    @property
    def level_axis(self) -> Axis:
        return self.level

    @property
    def reading_axis(self) -> Axis:
        return self.reading

    @cached_property
    def _tables(self) -> NDArray[np.float32]:
        """Mean, programming noise and device spread over the level axis, shape (3, knots)."""
        at = self.level.to_unit(np.linspace(0, 1, _KNOTS))
        normal = np.sqrt(np.maximum(self.deviation**2 - self.read_noise**2, 0))
        tables = (self.mean, normal, self.device_spread)
        return np.stack([np.interp(at, self.inputs, t) for t in tables]).astype(np.float32)

    def _mixture(self, law: NoiseLaw) -> NDArray[np.float32]:
        """Weights, centres and deviations of programming, shape (3, components, knots)."""
        at = self.level.to_unit(np.linspace(0, 1, _KNOTS))
        deviation = self.deviation[:, None]
        parts = programming(law.centre, law.scale, deviation, self.read_noise)
        tables = np.stack([law.weight, *parts])
        knots = [[np.interp(at, self.inputs, column) for column in table.T] for table in tables]
        return np.array(knots, np.float32)

    def _readings(
        self, levels: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Means, deviations and weights of the components of readings, (levels, components)."""
        mean, normal, spread = (Response(table).at(levels)[:, None] for table in self._tables)
        if self.noise is None:
            total = np.sqrt(normal**2 + spread**2 + self.read_noise**2)
            return mean, total, np.ones_like(mean)
        weight, centre, scale = (Response(t).at(levels).T for t in self._mixture(self.noise))
        return mean + centre, np.sqrt(scale**2 + spread**2 + self.read_noise**2), weight

    def write(self, levels: NDArray[np.float32], *, stream: Stream) -> Cells:
        levels = checked_levels(levels)
        out = stream.normal(len(levels))
        spread = bool(self.device_spread.any())
        offset = stream.normal(len(levels), draw=1) if spread else np.zeros_like(levels)
        mean, normal, own = self._tables
        law = self.drawn or self.noise
        if law is None:
            _write(levels, mean, normal, own, out, offset, out)
        else:
            weight, centre, scale = (np.ascontiguousarray(t.T) for t in self._mixture(law))
            words = stream.words(len(levels), draw=2)
            share = np.cumsum(weight, axis=1, dtype=np.float64)
            _write_mixed(levels, mean, own, out, offset, words, share, centre, scale, out)
        return Cells({"reading": out} | ({"device_offset": offset} if spread else {}))

    def age(self, cells: Cells, seconds: float) -> Cells:
        return cells.aged(seconds)

    def read(self, cells: Cells, *, stream: Stream) -> NDArray[np.float32]:
        noise = stream.normal(len(cells))
        noise *= np.float32(self.read_noise)
        noise += cells.state["reading"]
        return noise

    def span(self, age_seconds: float) -> tuple[float, float]:
        if self.noise is not None:
            return mixture_span(*self._readings(LEVEL_VALUES), _OUTSIDE)
        total = np.hypot(np.maximum(self.deviation, self.read_noise), self.device_spread)
        return float((self.mean - 5 * total).min()), float((self.mean + 5 * total).max())

    def law(
        self, levels: NDArray[np.float64], edges: NDArray[np.float64], age_seconds: float
    ) -> NDArray[np.float64]:
        return mixture_law(*self._readings(levels), edges)

    def definition(self) -> dict[str, Any]:
        axes = {
            "level": {"name": self.level.name, "unit": self.level.unit},
            "reading": {
                "name": self.reading.name,
                "unit": self.reading.unit,
                "scale": self.reading.scale,
            },
        }
        laws = (("noise", self.noise), ("drawn", self.drawn))
        return {
            "kind": "measured",
            "name": self.label,
            "source": self.origin,
            "read_noise": self.read_noise,
            **axes,
            **{key: getattr(self, key).tolist() for key in _STATISTICS},
            **{key: law.values() for key, law in laws if law is not None},
        }
