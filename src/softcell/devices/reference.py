"""Cells for reference: additive white Gaussian noise, and no noise at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from softcell.devices.device import LEVELS, Axis, Cells, checked_levels, shortest
from softcell.devices.mixture import mixture_law
from softcell.errors import InputError
from softcell.streams import Stream


@dataclass(frozen=True)
class GaussianCell:
    """reading = level + sigma e, with 10 log10(1/12 / sigma^2) = SNR in dB.

    The signal power is the variance of levels that are uniform over [0, 1]. The noise belongs to
    programming: reading the cell again gives the same value.

    Args:
        snr_db: Signal-to-noise ratio in dB, from -20 to 80.
    """

    measured_seconds: ClassVar[float] = math.inf
    snr_db: float = 20.0

    def __post_init__(self) -> None:
        if not -20 <= self.snr_db <= 80:
            raise InputError(f"gaussian: snr_db must lie in [-20, 80], got {self.snr_db}")

    @property
    def name(self) -> str:
        return f"gaussian:snr_db={shortest(self.snr_db)}"

    @property
    def source(self) -> str:
        return "definition: additive white Gaussian noise, SNR against uniform levels"

    @property
    def level_axis(self) -> Axis:
        return Axis("level", "")

    @property
    def reading_axis(self) -> Axis:
        return Axis("reading", "")

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise, in units of the level range."""
        return float(np.sqrt(10 ** (-self.snr_db / 10) / 12))

    def write(self, levels: NDArray[np.float32], *, stream: Stream) -> Cells:
        levels = checked_levels(levels)
        return Cells({"reading": levels + np.float32(self.deviation) * stream.normal(len(levels))})

    def age(self, cells: Cells, seconds: float) -> Cells:
        return cells.aged(seconds)

    def read(self, cells: Cells, *, stream: Stream) -> NDArray[np.float32]:
        return cells.state["reading"].copy()

    def span(self, age_seconds: float) -> tuple[float, float]:
        return -5 * self.deviation, 1 + 5 * self.deviation

    def law(
        self, levels: NDArray[np.float64], edges: NDArray[np.float64], age_seconds: float
    ) -> NDArray[np.float64]:
        mean = np.asarray(levels, np.float64)[:, None]
        return mixture_law(mean, np.full_like(mean, self.deviation), np.ones(1), edges)

    def definition(self) -> dict[str, Any]:
        return {"kind": "gaussian", "snr_db": self.snr_db}


@dataclass(frozen=True)
class IdealCell:
    """reading = level: the cell holds as many bits as there are levels to program."""

    measured_seconds: ClassVar[float] = math.inf

    @property
    def name(self) -> str:
        return "ideal"

    @property
    def source(self) -> str:
        return f"definition: {LEVELS} levels without noise"

    @property
    def level_axis(self) -> Axis:
        return Axis("level", "")

    @property
    def reading_axis(self) -> Axis:
        return Axis("reading", "")

    def write(self, levels: NDArray[np.float32], *, stream: Stream) -> Cells:
        return Cells({"reading": checked_levels(levels).copy()})

    def age(self, cells: Cells, seconds: float) -> Cells:
        return cells.aged(seconds)

    def read(self, cells: Cells, *, stream: Stream) -> NDArray[np.float32]:
        return cells.state["reading"].copy()

    def span(self, age_seconds: float) -> tuple[float, float]:
        return -0.5 / (LEVELS - 1), 1 + 0.5 / (LEVELS - 1)

    def law(
        self, levels: NDArray[np.float64], edges: NDArray[np.float64], age_seconds: float
    ) -> NDArray[np.float64]:
        mean = np.asarray(levels, np.float64)[:, None]
        return mixture_law(mean, np.zeros_like(mean), np.ones(1), edges)

    def definition(self) -> dict[str, Any]:
        return {"kind": "ideal"}
