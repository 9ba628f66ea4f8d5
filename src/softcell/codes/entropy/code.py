"""How a tensor is quantised and entropy-coded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softcell.codes.entropy.stream import encode, encode_quantised
from softcell.codes.entropy.trellis import Trellis


@dataclass(frozen=True, eq=False)
class EntropyCode:
    """How a tensor is quantised and entropy-coded.

    Args:
        step: Distance of reconstruction values: one for all, or one for each row, shape (rows,).
        states: States of the trellis; 1 for scalar quantisation.
        trade_off: Price of a bit, as `entropy_coded.encode` takes it; 0 is rounding.
        by_column: Columns are quantised one after the other, as the feedback loop does it, and
            `encode` takes what it made of them. By default a tensor is quantised when it is coded.
    """

    step: float | NDArray[np.float32]
    states: int = 8
    trade_off: float | None = None
    by_column: bool = False

    @property
    def trellis(self) -> Trellis:
        """The trellis that indices follow."""
        return Trellis(self.states, self.by_column)

    def encode(self, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return a tensor's bytes; rows of shape (rows, columns), finite."""
        if self.by_column:
            data = encode_quantised(rows, self.row_steps(len(rows)), trellis=self.trellis)
        else:
            data = encode(rows, self.step, trellis=self.trellis, trade_off=self.trade_off)
        return np.frombuffer(data, np.uint8)

    def row_steps(self, rows: int) -> NDArray[np.float32]:
        """Return the step of each row, shape (rows,)."""
        return np.broadcast_to(np.asarray(self.step, np.float32), (rows,))
