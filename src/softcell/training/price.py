"""What a bit is worth in training: a price that is given, or one that is steered to a target."""

from __future__ import annotations

import math

_AT_ONCE = 8.0
"""Powers of e by which the price answers to bits that are as many again as wanted."""

_LASTING = 0.02
"""Powers of e by which it changes for good in each such step."""

_MOST = 5.0
"""Powers of e that either part may reach: bits that cannot fall any faster need no higher price."""


class SteeredPrice:
    """The price at which a training comes to a number of bits.

    log price = log first + lasting + 8 e,  lasting <- lasting + 0.02 e,  e = bits / wanted - 1

    The part that answers at once keeps bits close to what is wanted, the lasting one takes away
    what is left: a controller of the proportional and integral kind.

    Args:
        first: Price at the start, in nats for a bit for every weight, above 0.

    Example:
        >>> price = SteeredPrice(0.5)
        >>> price.see(bits=1.5, wanted=1.0)
        >>> price.value > 0.5
        True
    """

    def __init__(self, first: float) -> None:
        self.first, self.lasting, self.value = first, 0.0, first

    def see(self, bits: float, wanted: float) -> None:
        """Set the price for the next step by the bits of this one."""
        if not math.isfinite(bits):
            return  # the training will say that it has diverged
        over = bits / wanted - 1
        self.lasting = min(max(self.lasting + _LASTING * min(over, 1.0), -_MOST), _MOST)
        at_once = min(max(_AT_ONCE * over, -_MOST), _MOST)
        self.value = self.first * math.exp(self.lasting + at_once)
