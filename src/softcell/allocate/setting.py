"""What has to be stored in how many cells, before it is decided how."""

from __future__ import annotations

from dataclasses import dataclass, field

from softcell.allocate.survey import TensorSurvey
from softcell.channel import Channel, Law
from softcell.codes.number.vector_formats import NUMBER_FORMATS
from softcell.codes.schemes import Scheme
from softcell.codes.store.store import Store
from softcell.weights import Weights


@dataclass(frozen=True, eq=False)
class Setting:
    """A network, a device and a number of cells for the analog code.

    Args:
        weights: The network's tensors.
        scheme: Protections of the analog code.
        channel: The law at the age to design for, the last of a span.
        law: The law over all ages to design for.
        store: Error-free storage at that age.
        surveys: What is known of every tensor.
        cells_per_weight: All cells, side information included, over the number of weights.
    """

    weights: Weights
    scheme: Scheme
    channel: Channel
    law: Law
    store: Store
    surveys: tuple[TensorSurvey, ...] = field(repr=False)
    cells_per_weight: float

    @property
    def target(self) -> float:
        """Cells that there are in all."""
        return self.cells_per_weight * sum(s.info.size for s in self.surveys)

    @property
    def analog(self) -> tuple[TensorSurvey, ...]:
        """The tensors that go to analog cells."""
        return tuple(s for s in self.surveys if s.kind == "analog")

    @property
    def fixed_bytes(self) -> int:
        """Bytes of the tensors that do not."""
        return sum(
            s.info.nbytes if s.kind == "raw" else NUMBER_FORMATS[s.kind].size(s.info.shape)
            for s in self.surveys
            if s.kind != "analog" and s.info.size
        )
