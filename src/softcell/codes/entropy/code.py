"""How a tensor is quantised and entropy-coded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from softcell.codes.code import Block, Design, LoopLayer, Part, StoredTensor, require_each_row
from softcell.codes.entropy.column_quantise import ColumnQuantiser, Contexts
from softcell.codes.entropy.quantise import quantise
from softcell.codes.entropy.stream import (
    HEADER,
    decode,
    encode,
    encode_quantised,
    salvage,
    stored_steps,
)
from softcell.codes.entropy.trellis import Trellis
from softcell.codes.entropy.trellis_kernels import OFFSETS
from softcell.errors import FormatError, InputError

_PASSES = 2
"""Times that a matrix is quantised in the loop: the first learns what indices cost where."""


@dataclass(frozen=True, eq=False)
class EntropyCode:
    """How a tensor is quantised and entropy-coded.

    Args:
        step: Distance of reconstruction values: one for all, or one for each row, shape (rows,).
        states: States of the trellis; 1 for scalar quantisation.
        trade_off: Price of a bit, as `stream.encode` takes it; 0 is rounding.
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

    def require_rows(self, rows: int) -> None:
        """Make sure that there is one step, or one for each of so many rows, as a stream has it."""
        steps = np.atleast_1d(self.step)
        if np.ndim(self.step):
            require_each_row(steps, rows)
        kept = stored_steps(steps)
        if self.trellis.by_column and (kept != steps).any():
            raise InputError("its steps are not those that its stream would keep")
        if self.trade_off is not None and self.trade_off < 0:
            raise InputError(f"the price of a bit is at least 0, got {self.trade_off}")

    def encode(self, rows: NDArray[np.float32], design: Design) -> Iterator[Block]:
        """Yield the stream."""
        yield Block(Part.WEIGHTS, self.stream(rows))

    @classmethod
    def decode(cls, stored: StoredTensor) -> NDArray[np.float32]:
        """Return the weights of a stream; one wrong bit makes the rest of it meaningless."""
        if stored.failed:
            raise FormatError("its bytes are not what was written")
        return decode(stored.data.tobytes(), (stored.rows, stored.columns))

    @classmethod
    def salvage(cls, stored: StoredTensor) -> NDArray[np.float32]:
        """Return the weights of a stream that come before what is lost of it."""
        return salvage(stored.data.tobytes(), (stored.rows, stored.columns), stored.lost)

    @cached_property
    def _coded(self) -> dict[bytes, NDArray[np.uint8]]:
        return {}

    def stream(self, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return a tensor's bytes; rows of shape (rows, columns), finite.

        They are kept: who planned a network by its streams need not code it again to write it.
        """
        key = repr(rows.shape).encode() + hashlib.sha256(np.ascontiguousarray(rows).data).digest()
        if key not in self._coded:
            if self.by_column:
                data = encode_quantised(rows, self.row_steps(len(rows)), trellis=self.trellis)
            else:
                data = encode(rows, self.step, trellis=self.trellis, trade_off=self.trade_off)
            self._coded[key] = np.frombuffer(data, np.uint8)
        return self._coded[key]

    def expected_bytes(self, part: NDArray[np.float32], weights: int) -> float:
        """Return the bytes that a tensor will take, as a part of it shows.

        Args:
            part: Weights, shape (rows, columns), of a tensor that has one step.
            weights: Number of weights of the tensor.
        """
        step = stored_steps(np.atleast_1d(self.step))
        found = quantise(part, step, trellis=self.trellis, trade_off=self.trade_off, of=weights)
        head = HEADER + (OFFSETS if found.offsets.any() else 0)
        return head + len(found.stream) * weights / part.size

    def row_steps(self, rows: int) -> NDArray[np.float32]:
        """Return the step of each row, shape (rows,)."""
        return np.broadcast_to(np.asarray(self.step, np.float32), (rows,))

    def through_loop(
        self, layer: LoopLayer, *, closed: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what is to be encoded of a matrix, and what is decoded of it."""
        if self.by_column:
            seen = self.quantised(layer)
            return seen, seen
        if closed:
            raise InputError(
                "it was planned without the calibration; plan the network with it, so that its "
                "weights are quantised in the loop"
            )
        return layer.weights, decode(self.stream(layer.weights).tobytes(), layer.weights.shape)

    def quantised(self, layer: LoopLayer) -> NDArray[np.float32]:
        """Return what is decoded of a matrix that is quantised column by column.

        Two passes: the first learns in which contexts indices fall and what they cost there.
        Weights that are zero stay zero: they have been pruned.
        """
        weights = layer.weights
        steps = self.row_steps(len(weights))
        nearest = np.rint(weights / steps[:, None]).astype(np.int32)
        contexts = Contexts.of(nearest, Trellis())
        if self.states > 1:
            contexts = contexts.for_both_quantisers()
        seen = weights
        for _ in range(_PASSES if self.trade_off else 1):
            quantiser = ColumnQuantiser(
                steps,
                _scale(layer, steps),
                self.trellis,
                self.trade_off or 0.0,
                contexts,
                weights == 0,
            )
            seen = layer.store(quantiser.store)[1]
            contexts = Contexts.of(quantiser.indices, self.trellis)
        return seen


def _scale(layer: LoopLayer, steps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the weight of a squared error in each weight of a matrix, shape (rows, columns).

    Of columns that is what later ones leave of it; of rows, what their steps say.
    """
    by_row = steps.astype(np.float64)[:, None] ** -2
    left = layer.relative_pivots
    if left is None:
        return np.repeat(by_row, layer.weights.shape[1], axis=1)
    return by_row * np.repeat(left, len(layer.weights) // len(left), axis=0)
