"""Resistive memory of a compute-in-memory chip: conductances that relax after programming."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from softcell.compiled import compiled
from softcell.devices.device import LEVELS, Axis, Cells, Response, checked_levels, shortest
from softcell.devices.mixture import clipped_at_zero, mixture_law, normal_nodes
from softcell.errors import InputError
from softcell.streams import Stream

G_MAX = 40.0  # uS; Wan et al. 2022, Extended Data Fig. 3
# Standard deviation in uS over (g/g_max)^0 to 4 at 1 s, 1 day and 2 days after programming: fits to
# Wan et al. 2022, Extended Data Fig. 3, as in aihwkit 1.1 (`ReRamWan2022NoiseModel`).
TIMES = (1.0, 86_400.0, 172_800.0)
RELAXATION = (
    (0.348, 16.030, -43.853, 45.393, -16.815),
    (0.701, 22.086, -50.773, 47.095, -16.458),
    (0.782, 20.274, -43.507, 37.062, -11.934),
)
READ_NOISE = 0.01  # of g_max, short-term; about 1 % says aihwkit's documentation of that fit

_KNOTS = 4 * (LEVELS - 1) + 1


@compiled()
def _write(levels, deviation, noise, out):
    last = deviation.size - 1
    for i in range(levels.size):
        position = levels[i] * np.float32(last)
        k = min(int(position), last - 1)
        part = position - np.float32(k)
        sigma = deviation[k] + part * (deviation[k + 1] - deviation[k])
        out[i] = levels[i] * np.float32(G_MAX) + sigma * noise[i]


@compiled()
def _read(conductance, target, relaxation, deviation, read_noise, noise, out):
    last = deviation.size - 1
    for i in range(conductance.size):
        position = target[i] * np.float32(last)
        k = min(int(position), last - 1)
        part = position - np.float32(k)
        sigma = deviation[k] + part * (deviation[k + 1] - deviation[k])
        relaxed = max(conductance[i] + sigma * relaxation[i], np.float32(0.0))
        out[i] = relaxed + read_noise * noise[i]


@dataclass(frozen=True)
class WanCell:
    """Resistive cell, iteratively programmed to 0 to 40 uS, that relaxes with time.

    One second after programming g = g_T + sigma(g_T, 1 s) e. Later g(t) = g(1 s) +
    sqrt(sigma(g_T, t)^2 - sigma(g_T, 1 s)^2) e', with e' drawn once for each cell, so that a
    cell goes one way and its ages compose. sigma is linear in ln t between the measured times;
    beyond two days it goes on as between one second and two days, which is extrapolation.

    Args:
        read_noise: Standard deviation of a read over g_max, at least 0.

    Source:
        Wan et al., "A compute-in-memory chip based on resistive random-access memory", Nature 608,
        504 (2022), Extended Data Fig. 3.
    """

    measured_seconds: ClassVar[float] = TIMES[-1]
    read_noise: float = READ_NOISE

    def __post_init__(self) -> None:
        if not 0 <= self.read_noise < 1:
            raise InputError(f"rram-wan: read_noise must lie in [0, 1), got {self.read_noise}")

    @property
    def name(self) -> str:
        same = self.read_noise == READ_NOISE
        return "rram-wan" if same else f"rram-wan:read_noise={shortest(self.read_noise)}"

    @property
    def source(self) -> str:
        return "Wan et al., Nature 608, 504 (2022), Extended Data Fig. 3"

    @property
    def level_axis(self) -> Axis:
        return Axis("target conductance", "uS", 0.0, G_MAX)

    @property
    def reading_axis(self) -> Axis:
        return Axis("conductance", "uS", 0.0, 1.0)

    @cached_property
    def _measured(self) -> NDArray[np.float64]:
        """Standard deviation in uS, shape (times, knots), never falling with time."""
        powers = np.linspace(0, 1, _KNOTS)[None] ** np.arange(5)[:, None]
        return np.maximum.accumulate(np.maximum(np.array(RELAXATION) @ powers, 0), axis=0)

    def _deviation(self, age_seconds: float) -> NDArray[np.float64]:
        """Standard deviation in uS at an age (age 0 is 1 s after programming), shape (knots,)."""
        start, day, two_days = self._measured
        log_t = np.log(age_seconds + TIMES[0])
        one, two = np.log(TIMES[1]), np.log(TIMES[2])
        deviation: NDArray[np.float64] = start + (two_days - start) * (log_t / two)
        if log_t <= one:
            deviation = start + (day - start) * (log_t / one)
        elif log_t <= two:
            deviation = day + (two_days - day) * ((log_t - one) / (two - one))
        return deviation

    def write(self, levels: NDArray[np.float32], *, stream: Stream) -> Cells:
        levels = checked_levels(levels)
        out = stream.normal(len(levels))
        _write(levels, self._deviation(0).astype(np.float32), out, out)
        relaxation = stream.normal(len(levels), draw=1)
        return Cells({"conductance": out, "target": levels, "relaxation": relaxation})

    def age(self, cells: Cells, seconds: float) -> Cells:
        return cells.aged(seconds)

    def read(self, cells: Cells, *, stream: Stream) -> NDArray[np.float32]:
        now, start = self._deviation(cells.age_seconds), self._deviation(0)
        grown = np.sqrt(np.maximum(now**2 - start**2, 0)).astype(np.float32)
        out = stream.normal(len(cells))
        state = cells.state
        noise = np.float32(self.read_noise * G_MAX)
        _read(state["conductance"], state["target"], state["relaxation"], grown, noise, out, out)
        return out

    def span(self, age_seconds: float) -> tuple[float, float]:
        widest = float(self._deviation(age_seconds).max())
        return -5 * self.read_noise * G_MAX, G_MAX + 5 * (widest + self.read_noise * G_MAX)

    def law(
        self, levels: NDArray[np.float64], edges: NDArray[np.float64], age_seconds: float
    ) -> NDArray[np.float64]:
        sigma = Response(self._deviation(age_seconds).astype(np.float32)).at(levels)[:, None]
        target = np.asarray(levels, np.float64)[:, None] * G_MAX
        if self.read_noise == 0:
            return clipped_at_zero(mixture_law(target, sigma, np.ones(1), edges), edges)
        nodes, weight = normal_nodes(201, 6.0)
        mean = np.maximum(target + sigma * nodes, 0)
        # Nodes stand for slices: give each the slice's own width besides the read noise.
        slice_width = sigma * (nodes[1] - nodes[0]) / np.sqrt(12) * (mean > 0)
        return mixture_law(mean, np.hypot(slice_width, self.read_noise * G_MAX), weight, edges)

    def definition(self) -> dict[str, Any]:
        return {"kind": "rram-wan", "read_noise": self.read_noise}
