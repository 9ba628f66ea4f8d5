"""What has to be stored in how many cells, before it is decided how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from softcell.allocate.survey import TensorSurvey
from softcell.channel import Channel, Law
from softcell.codes.code import Design
from softcell.codes.schemes import Scheme
from softcell.codes.store.store import Store
from softcell.curvature import Calibration
from softcell.progress import Progress
from softcell.weights import Weights

if TYPE_CHECKING:
    from softcell.codes.entropy.plan.curves import EntropyCurves, Quantiser


@dataclass(frozen=True, eq=False, kw_only=True)
class Setting:
    """A network, a device and a number of cells.

    Args:
        weights: The network's tensors.
        scheme: How they are to be stored.
        design: Device, ages and store.
        surveys: What is known of every tensor.
        cells_per_weight: All cells, side information included, over the number of weights.
        calibration: Curvature of the network's layers, if it goes through the feedback loop.
        verify_reads: Verifying reads of a cell in that loop.
        quantiser: How weights are quantised in it that are entropy-coded.
        curves: Those of an earlier plan of this network and calibration, to save their time.
        progress: Called as the work goes on.
    """

    weights: Weights
    scheme: Scheme
    design: Design
    surveys: tuple[TensorSurvey, ...] = field(repr=False)
    cells_per_weight: float
    calibration: Calibration | None = field(default=None, repr=False)
    verify_reads: int = 1
    quantiser: Quantiser | None = None
    curves: EntropyCurves | None = field(default=None, repr=False)
    progress: Progress | None = None

    @property
    def channel(self) -> Channel:
        """The law at the age to design for, the last of a span."""
        return self.design.channel

    @property
    def law(self) -> Law:
        """The law over all ages to design for."""
        return self.design.law

    @property
    def store(self) -> Store:
        """Error-free storage at these ages."""
        return self.design.store

    @property
    def target(self) -> float:
        """Cells that there are in all."""
        return self.cells_per_weight * sum(s.info.size for s in self.surveys)

    @property
    def matrices(self) -> tuple[TensorSurvey, ...]:
        """The tensors that get a code."""
        return tuple(s for s in self.surveys if s.coded)

    @property
    def fixed_bytes(self) -> int:
        """Bytes of the tensors that do not."""
        return sum(s.stored_bytes for s in self.surveys if not s.coded)

    def cells(self, sizes: Iterable[tuple[int, int]]) -> int:
        """Return all cells that a decoder needs.

        Args:
            sizes: Bytes in the store and cells of its own, of every matrix.
        """
        data, own = self.fixed_bytes, 0
        for nbytes, cells in sizes:
            data, own = data + nbytes, own + cells
        return own + self.store.cells(data)
