"""A device of your own: a cell whose noise grows with the level that is written.

In the folder of this file, or with its package installed:

    softcell devices --device own_device:GrowingNoiseCell:quiet=0.005,loud=0.03
    softcell write model.safetensors --device own_device:GrowingNoiseCell+stuck:low=0.001 \\
        --scheme combined --cells-per-weight 2 -o model.cells
    softcell read model.cells --device own_device:GrowingNoiseCell -o restored.safetensors

In Python, `softcell.write(model, "model.cells", device=GrowingNoiseCell(loud=0.03))`, and `import
own_device` before `softcell.read("model.cells")`. docs/devices.md says what a device has to be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from softcell.devices import Axis, Cells, OwnDevice, mixture_law
from softcell.errors import InputError
from softcell.streams import Stream


@dataclass(frozen=True)
class GrowingNoiseCell(OwnDevice):
    """reading = level + sigma(level) e, with sigma on a straight line from `quiet` to `loud`.

    Args:
        quiet: Standard deviation at level 0, as a share of the level range.
        loud: Standard deviation at level 1.
    """

    quiet: float = 0.005
    loud: float = 0.02

    def __post_init__(self) -> None:
        if not (0 <= self.quiet < 1 and 0 <= self.loud < 1):
            raise InputError(f"quiet and loud lie in [0, 1), got {self.quiet} and {self.loud}")

    @property
    def source(self) -> str:
        return "an example: no cell was measured"

    @property
    def level_axis(self) -> Axis:
        return Axis("gate voltage", "V", 0.5, 2.5)

    @property
    def reading_axis(self) -> Axis:
        return Axis("cell current", "uA", 0.0, 20.0)

    def write(self, levels: np.ndarray, *, stream: Stream) -> Cells:
        # A number of the stream for each cell: it follows from seed and place, in whatever run.
        sigma = self._deviation(levels).astype(np.float32)
        return Cells({"reading": levels + sigma * stream.normal(len(levels))})

    def age(self, cells: Cells, seconds: float) -> Cells:
        return cells.aged(seconds)

    def read(self, cells: Cells, *, stream: Stream) -> np.ndarray:
        return cells.state["reading"].copy()

    def span(self, age_seconds: float) -> tuple[float, float]:
        return -5 * self.quiet, 1 + 5 * self.loud

    def law(self, levels: np.ndarray, edges: np.ndarray, age_seconds: float) -> np.ndarray:
        return mixture_law(levels[:, None], self._deviation(levels)[:, None], np.ones(1), edges)

    def _deviation(self, levels: np.ndarray) -> np.ndarray:
        return self.quiet + (self.loud - self.quiet) * levels
