"""Mushroom phase-change memory programmed with verification: noise, drift and 1/f read noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from softcell.devices.device import Axis, Cells, Response, checked_levels
from softcell.devices.mixture import mixture_law, normal_nodes
from softcell.streams import Stream

# All from Joshi et al. 2020: programming noise Fig. 3b; drift and read noise the model of the
# Methods, after Nandakumar et al. 2019. g is the conductance over G_MAX; valid for 0 <= g <= 1.
G_MAX = 25.0  # uS
PROGRAMMING = (0.26348, 1.9650, -1.1731)  # standard deviation in uS over g^0, g^1, g^2
DRIFT_MEAN = (-0.0155, 0.0244, 0.049, 0.1)  # a ln(g) + b, kept within the last two
DRIFT_SPREAD = (-0.0125, -0.0059, 0.008, 0.045)  # the same for the standard deviation
READ_NOISE = (0.0088, -0.65, 0.2)  # a g^b, at most c
T_0 = 20.0  # s after programming: the first read, which drift is counted from
T_READ = 250e-9  # s, duration of a read

_KNOTS = 4 * 255 + 1
_READ_KNOTS = 8192
_READ_REACH = 1.5  # in g_max: programming noise never carries a cell further


@njit(cache=True, nogil=True)
def _write(levels, tables, noise, drift_noise, conductance, exponent):
    last = tables.shape[1] - 1
    for i in range(levels.size):
        position = levels[i] * np.float32(last)
        k = min(int(position), last - 1)
        part = position - np.float32(k)
        sigma = tables[0, k] + part * (tables[0, k + 1] - tables[0, k])
        mean = tables[1, k] + part * (tables[1, k + 1] - tables[1, k])
        spread = tables[2, k] + part * (tables[2, k + 1] - tables[2, k])
        value = levels[i] * np.float32(G_MAX) + sigma * noise[i]
        conductance[i] = max(value, np.float32(0.0))
        exponent[i] = abs(mean + spread * drift_noise[i])


@njit(cache=True, nogil=True)
def _read(conductance, exponent, log2_time, relative_noise, powers, noise, out):
    last = relative_noise.size - 1
    scale = np.float32(last / (_READ_REACH * G_MAX))
    for i in range(conductance.size):
        # 2**x by its integer part and a polynomial: exact to float32 and the same on any machine
        x = -exponent[i] * log2_time
        whole = math.floor(x)
        f = np.float32(x - whole)
        two = np.float32(1.8775767e-3)
        two = two * f + np.float32(8.9893397e-3)
        two = two * f + np.float32(5.5826318e-2)
        two = two * f + np.float32(2.4015361e-1)
        two = two * f + np.float32(6.9315308e-1)
        two = two * f + np.float32(9.9999994e-1)
        g = conductance[i]
        k = min(int(g * scale + np.float32(0.5)), last)
        drifted = g * two * powers[min(-int(whole), powers.size - 1)]
        out[i] = max(drifted * (np.float32(1.0) + relative_noise[k] * noise[i]), np.float32(0.0))


@dataclass(frozen=True)
class MushroomCell:
    """Doped-GST mushroom cell, iteratively programmed to a conductance of 0 to 25 uS.

    Written: g = max(g_T + sigma(g_T) e, 0), and a drift exponent nu = |mu(g_T) + s(g_T) e'|.
    Read at age a, with t = a + 20 s: g (t / 20 s)^-nu (1 + Q(g) sqrt(ln((t + t_r) / (2 t_r))) e'').

    Age 0 is 20 s after programming, when the programming noise was measured. Read noise is drawn
    anew by each read; its slowest parts would in truth be shared by reads close in time.

    Source:
        Joshi et al., Nature Communications 11, 2473 (2020), Fig. 3; Nandakumar et al., "Phase-change
        memory models for deep learning training and inference", ICECS 2019. Numeric coefficients as
        in aihwkit 1.1 (`PCMLikeNoiseModel`), whose authors are among the papers'.

    Example:
        >>> cells = MushroomCell().write(np.ones(3, np.float32), stream=Stream.of(0, "doc"))
        >>> sorted(cells.state), cells.age_seconds
        (['conductance', 'drift_exponent'], 0.0)
    """

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

    def _relative_noise(self, age_seconds: float) -> NDArray[np.float32]:
        """Standard deviation of a reading over its mean, by programmed conductance."""
        g = np.linspace(0, _READ_REACH, _READ_KNOTS)
        scale, power, most = READ_NOISE
        q = np.minimum(scale * np.maximum(g, 1e-9) ** power, most)
        t = age_seconds + T_0
        return (q * math.sqrt(math.log((t + T_READ) / (2 * T_READ)))).astype(np.float32)

    def write(self, levels: NDArray[np.float32], *, stream: Stream) -> Cells:
        levels = checked_levels(levels)
        conductance, exponent = np.empty_like(levels), np.empty_like(levels)
        noise, drift = stream.normal(len(levels)), stream.normal(len(levels), draw=1)
        _write(levels, self._tables, noise, drift, conductance, exponent)
        return Cells({"conductance": conductance, "drift_exponent": exponent})

    def age(self, cells: Cells, seconds: float) -> Cells:
        return cells.aged(seconds)

    def read(self, cells: Cells, *, stream: Stream) -> NDArray[np.float32]:
        noise = stream.normal(len(cells))
        log2_time = np.float32(math.log2((cells.age_seconds + T_0) / T_0))
        powers = (2.0 ** -np.arange(64, dtype=np.float64)).astype(np.float32)
        _read(
            cells.state["conductance"],
            cells.state["drift_exponent"],
            log2_time,
            self._relative_noise(cells.age_seconds),
            powers,
            noise,
            noise,
        )
        return noise

    def span(self, age_seconds: float) -> tuple[float, float]:
        noise = float(self._relative_noise(age_seconds)[_READ_KNOTS * 2 // 3])
        top = (G_MAX + 5 * float(self._tables[0, -1])) * (1 + 5 * noise)
        return 0.0, top

    def law(self, levels: NDArray, edges: NDArray, age_seconds: float) -> NDArray[np.float64]:
        sigma, mean, spread = (Response(table).at(levels)[:, None] for table in self._tables)
        z, z_weight = normal_nodes()
        y, y_weight = normal_nodes(25, 4.5)
        target = np.asarray(levels, np.float64)[:, None] * G_MAX
        conductance = np.maximum(target + sigma * z, 0)[:, :, None]
        factor = ((age_seconds + T_0) / T_0) ** -np.abs(mean + spread * y)[:, None, :]
        centre = conductance * factor
        knot = np.minimum(conductance / (_READ_REACH * G_MAX), 1) * (_READ_KNOTS - 1)
        relative = self._relative_noise(age_seconds)[np.rint(knot).astype(np.int64)]
        weight = np.outer(z_weight, y_weight).ravel()
        shape = (len(levels), len(weight))
        law = mixture_law(centre.reshape(shape), (centre * relative).reshape(shape), weight, edges)
        return _clipped_at_zero(law, edges)

    def definition(self) -> dict[str, Any]:
        return {"kind": "pcm-mushroom"}


def _clipped_at_zero(law: NDArray[np.float64], edges: NDArray) -> NDArray[np.float64]:
    """Move the probability of negative readings to the bin that holds zero."""
    zero = int(np.searchsorted(edges, 0.0, side="right")) - 1
    if zero > 0:
        law[:, zero] += law[:, :zero].sum(axis=1)
        law[:, :zero] = 0
    return law
