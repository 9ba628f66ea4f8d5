"""Mushroom phase-change memory programmed with verification: noise, drift and 1/f read noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from softcell.compiled import compiled
from softcell.devices.device import LEVELS, Axis, Cells, Response, checked_levels
from softcell.devices.mixture import clipped_at_zero, mixture_law, normal_nodes
from softcell.streams import Stream

# All from Joshi et al. 2020: programming noise Fig. 3b; drift and read noise the model of the
# Methods, after Nandakumar et al. 2019. g is the conductance over G_MAX; valid for 0 <= g <= 1.
G_MAX = 25.0  # uS
PROGRAMMING = (0.26348, 1.9650, -1.1731)  # standard deviation in uS over g^0, g^1, g^2
DRIFT_MEAN = (-0.0155, 0.0244, 0.049, 0.1)  # a ln(g) + b, kept within the last two
DRIFT_SPREAD = (-0.0125, -0.0059, 0.008, 0.045)  # the same for the standard deviation
READ_NOISE = (0.0088, -0.65, 0.2)  # a g^b, at most c
T_0 = 20.0  # s after programming: the first read, which drift is counted from
MEASURED = 86_400.0  # s; Joshi et al., abstract: a chip was read over one day
T_READ = 250e-9  # s, duration of a read

_KNOTS = 4 * (LEVELS - 1) + 1
_READ_KNOTS = 8192
_READ_REACH = 1.5  # in g_max: programming noise never carries a cell further
_BLOCK = 1024  # cells handled at a time, so that what passes between loops stays in the cache
_ONE, _ZERO, _HALF = np.float32(1), np.float32(0), np.float32(0.5)

# 2**-f for 0 <= f < 1: a Chebyshev fit, within 4e-7. A library's power would differ by machine.
_POWER = tuple(
    np.float32(c) for c in (1.0, -0.6931432, 0.2401795, -0.055299606, 0.009210875, -0.00094755366)
)
_MOST_HALVINGS = np.float32(120)


@compiled()
def _write(levels, tables, noise, drift_noise):
    """Turn noise into conductances and drift_noise into drift exponents, in place.

    `tables` holds sigma, the mean and the spread of the exponent, each followed by its step to
    the next knot: shape (knots, 6).
    """
    last = np.float32(tables.shape[0] - 1)
    for i in range(levels.size):
        level = levels[i]
        position = level * last
        k = np.uint32(np.int32(min(position, last - _ONE)))
        part = position - np.float32(np.int32(k))
        sigma = tables[k, 0] + part * tables[k, 1]
        mean = tables[k, 2] + part * tables[k, 3]
        spread = tables[k, 4] + part * tables[k, 5]
        noise[i] = max(level * np.float32(G_MAX) + sigma * noise[i], _ZERO)
        drift_noise[i] = abs(mean + spread * drift_noise[i])


@compiled()
def _read(conductance, exponent, log2_time, relative_noise, noise):
    """Turn noise into readings, in place."""
    last = np.float32(relative_noise.size - 1)
    scale = np.float32(last / np.float32(_READ_REACH * G_MAX))
    drifted, knot = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.uint32)
    for begin in range(0, noise.size, _BLOCK):
        count = min(_BLOCK, noise.size - begin)
        for i in range(count):
            g = conductance[begin + i]
            halvings = min(exponent[begin + i] * log2_time, _MOST_HALVINGS)
            whole = np.int32(halvings)
            f = halvings - np.float32(whole)
            power = _POWER[5]
            power = power * f + _POWER[4]
            power = power * f + _POWER[3]
            power = power * f + _POWER[2]
            power = power * f + _POWER[1]
            power = power * f + _POWER[0]
            halved = np.uint32(np.uint32(np.int32(127) - whole) << np.uint32(23)).view(np.float32)
            drifted[i] = g * power * halved
            knot[i] = np.uint32(np.int32(min(g * scale + _HALF, last)))
        for i in range(count):
            factor = _ONE + relative_noise[knot[i]] * noise[begin + i]
            noise[begin + i] = max(drifted[i] * factor, _ZERO)


@dataclass(frozen=True)
class MushroomCell:
    """Doped-GST mushroom cell, iteratively programmed to a conductance of 0 to 25 uS.

    Written: g = max(g_T + sigma(g_T) e, 0), and a drift exponent nu = |mu(g_T) + s(g_T) e'|.
    Read at age a, with t = a + 20 s: g (t / 20 s)^-nu (1 + Q(g) sqrt(ln((t + t_r) / (2 t_r))) e'').

    Age 0 is 20 s after programming, when the programming noise was measured. Read noise is drawn
    anew by each read; its slowest parts would in truth be shared by reads close in time.

    Source:
        Joshi et al., Nature Communications 11, 2473 (2020), Fig. 3; Nandakumar et al.,
        "Phase-change memory models for deep learning training and inference", ICECS 2019.
        Numeric coefficients as in aihwkit 1.1 (`PCMLikeNoiseModel`), whose authors are among
        the papers'.

    Example:
        >>> cells = MushroomCell().write(np.ones(3, np.float32), stream=Stream.of(0, "doc"))
        >>> sorted(cells.state), cells.age_seconds
        (['conductance', 'drift_exponent'], 0.0)
    """

    measured_seconds: ClassVar[float] = MEASURED

    @property
    def name(self) -> str:
        return "pcm-mushroom"

    @property
    def source(self) -> str:
        return "Joshi et al., Nat. Commun. 11, 2473 (2020), Fig. 3; Nandakumar et al., ICECS 2019"

    @property
    def level_axis(self) -> Axis:
        return Axis("target conductance", "uS", 0.0, G_MAX)

    @property
    def reading_axis(self) -> Axis:
        return Axis("conductance", "uS", 0.0, 1.0)

    @cached_property
    def _tables(self) -> NDArray[np.float32]:
        """Programming noise in uS, mean and spread of the drift exponent over the level axis."""
        g = np.linspace(0, 1, _KNOTS)
        log_g = np.log(np.maximum(g, 1e-7))
        sigma = PROGRAMMING[0] + PROGRAMMING[1] * g + PROGRAMMING[2] * g**2
        drift = [
            np.clip(a * log_g + b, low, high) for a, b, low, high in (DRIFT_MEAN, DRIFT_SPREAD)
        ]
        return np.stack([sigma, *drift]).astype(np.float32)

    @cached_property
    def _relative_noise_scale(self) -> NDArray[np.float64]:
        """Q(g), by programmed conductance up to _READ_REACH, shape (_READ_KNOTS,)."""
        g = np.linspace(0, _READ_REACH, _READ_KNOTS)
        scale, power, most = READ_NOISE
        return np.minimum(scale * np.maximum(g, 1e-9) ** power, most)

    def _relative_noise(self, age_seconds: float) -> NDArray[np.float32]:
        """Standard deviation of a reading over its mean, by programmed conductance."""
        t = age_seconds + T_0
        grown = math.sqrt(math.log((t + T_READ) / (2 * T_READ)))
        return (self._relative_noise_scale * grown).astype(np.float32)

    @cached_property
    def _steps(self) -> NDArray[np.float32]:
        """The tables, each followed by its steps from knot to knot, shape (knots, 6)."""
        steps = np.diff(self._tables, axis=1, append=self._tables[:, -1:])
        return np.ascontiguousarray(np.stack([self._tables, steps], axis=1).reshape(6, -1).T)

    def write(self, levels: NDArray[np.float32], *, stream: Stream) -> Cells:
        levels = checked_levels(levels)
        conductance = stream.normal(len(levels))
        exponent = stream.normal(len(levels), draw=1)
        _write(levels, self._steps, conductance, exponent)
        return Cells({"conductance": conductance, "drift_exponent": exponent})

    def age(self, cells: Cells, seconds: float) -> Cells:
        return cells.aged(seconds)

    def read(self, cells: Cells, *, stream: Stream) -> NDArray[np.float32]:
        readings = stream.normal(len(cells))
        log2_time = np.float32(math.log2((cells.age_seconds + T_0) / T_0))
        noise = self._relative_noise(cells.age_seconds)
        conductance, exponent = cells.state["conductance"], cells.state["drift_exponent"]
        _read(conductance, exponent, log2_time, noise, readings)
        return readings

    def span(self, age_seconds: float) -> tuple[float, float]:
        noise = float(self._relative_noise(age_seconds)[_READ_KNOTS * 2 // 3])
        top = (G_MAX + 5 * float(self._tables[0, -1])) * (1 + 5 * noise)
        return 0.0, top

    def law(
        self, levels: NDArray[np.float64], edges: NDArray[np.float64], age_seconds: float
    ) -> NDArray[np.float64]:
        sigma, mean, spread = (Response(table).at(levels)[:, None] for table in self._tables)
        z, z_weight = normal_nodes(81, 5.0)
        y, y_weight = normal_nodes(13 if age_seconds > 0 else 1, 4.5)
        target = np.asarray(levels, np.float64)[:, None] * G_MAX
        conductance = np.maximum(target + sigma * z, 0)[:, :, None]
        factor = ((age_seconds + T_0) / T_0) ** -np.abs(mean + spread * y)[:, None, :]
        centre = conductance * factor
        knot = np.minimum(conductance / (_READ_REACH * G_MAX), 1) * (_READ_KNOTS - 1)
        relative = self._relative_noise(age_seconds)[np.rint(knot).astype(np.int64)]
        weight = np.outer(z_weight, y_weight).ravel()
        shape = (len(levels), len(weight))
        law = mixture_law(centre.reshape(shape), (centre * relative).reshape(shape), weight, edges)
        return clipped_at_zero(law, edges)

    def definition(self) -> dict[str, Any]:
        return {"kind": "pcm-mushroom"}
