"""Loss against bits of matrices that are quantised in the loop, and how bits are shared by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.codes.entropy.code import EntropyCode
from softcell.codes.entropy.stream import stored_steps
from softcell.feedback.layer import FeedbackLayer
from softcell.progress import Progress

_COARSEST = 256.0
"""Largest step, in root mean squares of a tensor's largest row. Errors pile up in the loop, so that
some weights are not zero even at steps of many deviations."""

_FINEST = 2.0**-16
"""Smallest step of a row, in root mean squares of its weights."""

_SPAN = 2.0**-60
"""Smallest step of a row, in largest ones of its tensor: a stream keeps 64 octaves."""

_APART = 0.5
"""Octaves between the points at which a curve is known,"""

_REACH = 2
"""and how many of them either side of where the search begins."""


@dataclass(frozen=True)
class Quantiser:
    """How weights are quantised in the loop.

    Args:
        states: States of the trellis, see `Trellis`; 1 for rounding.
        trade_off: Price of a bit in units of what a step squared costs. The larger, the more
            weights are zero. A loop wants it low: what is rounded towards zero piles up.
    """

    states: int = 8
    trade_off: float = 0.02


@dataclass(frozen=True)
class Point:
    """A matrix at one step: bits of its stream, and the loss in nats that is expected of it."""

    bits: int
    loss: float


@dataclass(eq=False)
class EntropyCurves:
    """What each matrix costs at each step: quantised and coded for real, once for each.

    Steps of a matrix are 2^e times those of its rows, which lie in proportion to 1 / sqrt(f), with
    f what the loss feels of a squared error in a row.

    Args:
        layers: The matrices.
        quantiser: How they are quantised.
        progress: Called after every matrix.
    """

    layers: Sequence[FeedbackLayer]
    quantiser: Quantiser = Quantiser()
    progress: Progress | None = None
    _points: dict[tuple[int, float], Point] = field(default_factory=dict, repr=False)

    def code(self, number: int, exponent: float) -> EntropyCode:
        """Return the code of a matrix at an exponent."""
        layer = self.layers[number]
        sizes = row_sizes(layer)
        steps = np.clip(
            2.0**exponent * unit_steps(layer), _FINEST * sizes, _COARSEST * sizes.max(initial=0)
        )
        steps = np.clip(np.maximum(steps, _SPAN * steps.max()), 1e-30, 1e30)
        return EntropyCode(
            stored_steps(steps), self.quantiser.states, self.quantiser.trade_off, by_column=True
        )

    def point(self, number: int, exponent: float) -> Point:
        """Return what a matrix costs at an exponent."""
        key = number, float(exponent)
        if key not in self._points:
            layer, code = self.layers[number], self.code(number, exponent)
            seen = code.quantised(layer)
            loss = 0.5 * float(layer.loss(seen).sum())
            self._points[key] = Point(8 * len(code.stream(seen)), loss)
            if self.progress:
                self.progress("steps", number + 1, len(self.layers))
        return self._points[key]

    def bits(self, exponents: Sequence[float]) -> int:
        """Return the bits of all streams."""
        return sum(self.point(n, e).bits for n, e in enumerate(exponents))

    def shared(self, start: float, bits: float) -> NDArray[np.float64]:
        """Return exponents at which a number of bits leaves the least expected loss.

        Every matrix is quantised at steps half an octave apart around a common one; in between,
        bits and the logarithm of the loss are taken as straight. Each then takes the exponent at
        which loss + price * bits is least, at the price that spends the bits.

        Args:
            start: Exponent of all matrices at which about so many bits are spent.
            bits: Bits to spend.

        Returns:
            Exponents, shape (matrices,), which spend about so many bits.
        """
        middle = round(start / _APART) * _APART
        grid = middle + _APART * np.arange(-_REACH, _REACH + 1)
        fine = np.linspace(grid[0], grid[-1], 8 * (len(grid) - 1) + 1)
        spent, lost = [], []
        for number in range(len(self.layers)):
            points = [self.point(number, e) for e in grid]
            spent.append(np.interp(fine, grid, [p.bits for p in points]))
            logarithms = [np.log(max(p.loss, 1e-300)) for p in points]
            lost.append(np.exp(np.interp(fine, grid, logarithms)))
        bits_at, loss_at = np.array(spent), np.array(lost)

        def chosen(price: float) -> NDArray[np.int64]:
            least: NDArray[np.int64] = np.argmin(loss_at + price * bits_at, axis=1)
            return least

        low, high = -80.0, 40.0  # logarithms of the price
        each = np.arange(len(self.layers))
        for _ in range(60):
            price = (low + high) / 2
            over = bits_at[each, chosen(np.exp(price))].sum() > bits
            low, high = (price, high) if over else (low, price)
        return fine[chosen(np.exp(high))]


def row_sizes(layer: FeedbackLayer) -> NDArray[np.float64]:
    """Return the root mean square of each row's weights, shape (rows,)."""
    sizes: NDArray[np.float64] = np.sqrt(np.square(layer.weights, dtype=np.float64).mean(axis=1))
    return sizes


def unit_steps(layer: FeedbackLayer) -> NDArray[np.float64]:
    """Return steps in proportion to 1 / sqrt(f), shape (rows,)."""
    typical = max(float(layer.felt.mean()), 1e-280)
    # A row that the loss does not feel is still felt a little: the estimate is no certainty.
    return np.maximum(layer.felt, 1e-4 * typical) ** -0.5
