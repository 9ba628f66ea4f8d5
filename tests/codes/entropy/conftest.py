"""The step at which a stream takes a wanted number of bits."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.codes.entropy.stream import encode


@pytest.fixture(scope="session")
def step_for_bits():
    """Give about the smallest step at which the stream takes no more bits per weight."""

    def found(weights, bits, **how):
        low, high = np.log2(weights.std()) + np.array([-bits - 2, 6.0])
        while high - low > 1 / 256:
            middle = (low + high) / 2
            much = 8 * len(encode(weights, 2.0**middle, **how)) > bits * weights.size
            low, high = (middle, high) if much else (low, middle)
        return float(2.0**high)

    return found
