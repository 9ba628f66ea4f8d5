"""What has to be stored in how many cells, before it is decided how."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from softcell.allocate.ranges import binary_entropy
from softcell.allocate.scheme import Scheme
from softcell.allocate.survey import TensorSurvey
from softcell.channel import Channel, Law
from softcell.codes.analog import Histogram
from softcell.codes.digital import NUMBER_FORMATS, Store
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

    def masks_zeros(self, tensor: TensorSurvey) -> bool:
        """Return whether a mask of a tensor's zeros costs less than to store them."""
        share = tensor.zeros / tensor.info.size
        saved = share * (self.cells_per_weight + 1 / self.store.bits_per_cell)
        cost = binary_entropy(share) / self.store.bits_per_cell
        return self.scheme.has("sparsity") and tensor.zeros > 0 and saved >= cost

    def stored(self, tensor: TensorSurvey) -> int:
        """Return how many weights of a tensor go to cells."""
        return tensor.info.size - (tensor.zeros if self.masks_zeros(tensor) else 0)

    def magnitudes(self, tensor: TensorSurvey) -> Histogram:
        """Return the sizes of the weights of a tensor that go to cells."""
        return tensor.magnitudes.with_zeros(0 if self.masks_zeros(tensor) else tensor.zeros)

    def reads(self) -> float:
        """Return about how many cells a weight gets, of those that go to cells; at least 0."""
        stored = sum(self.stored(s) for s in self.analog)
        bits = 8.0 * self.fixed_bytes + (stored if self.scheme.has("sign") else 0)
        for s in self.analog:
            if self.masks_zeros(s):
                bits += s.info.size * binary_entropy(s.zeros / s.info.size)
        return max(self.target - bits / self.store.bits_per_cell, 0.0) / max(stored, 1)

    def pooled(self) -> Histogram:
        """Return the sizes of all weights that go to cells, in units of their tensor's own."""
        parts = []
        for s in self.analog:
            scale = np.sqrt(s.variance * s.info.size / max(s.info.size - s.zeros, 1))
            histogram = self.magnitudes(s)
            if scale > 0:
                parts.append(Histogram(histogram.values / scale, histogram.counts))
        return Histogram.pooled(parts)
