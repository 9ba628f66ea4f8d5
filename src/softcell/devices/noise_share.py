"""How much of a cell's spread a verifying read cannot see."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from softcell.devices.device import LEVEL_VALUES, LEVELS, Device
from softcell.streams import Stream

_CELLS = 256  # for each level


def read_noise_share(device: Device) -> float:
    """Return the share of reading in the variance of a fresh cell's reading, from 0 to 1.

    Cells at every level are written once and read twice. Half the mean square difference of the
    two reads is the variance of reading; the spread of the cells of a level is that of writing and
    reading together. The mean is over the levels of the variances themselves.

    Args:
        device: The device.

    Example:
        >>> from softcell.devices import parse_device
        >>> 0.02 < read_noise_share(parse_device("pcm-partial-reset")) < 0.2
        True
    """
    return _share(device)


@lru_cache(maxsize=64)
def _share(device: Device) -> float:
    levels = np.repeat(LEVEL_VALUES.astype(np.float32), _CELLS)
    cells = device.write(levels, stream=Stream.of(0, "read noise/write"))
    first, second = (
        device.read(cells, stream=Stream.of(0, f"read noise/{number}")).astype(np.float64)
        for number in range(2)
    )
    reading = float(np.mean((first - second) ** 2)) / 2
    total = float(first.reshape(LEVELS, _CELLS).var(axis=1, ddof=1).mean())
    return min(reading / total, 1.0) if total > 0 else 0.0
