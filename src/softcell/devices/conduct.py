"""A short trial of a device, which finds out whether it keeps to what all else relies on."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from softcell.devices.device import Axis, Cells, Device, plain_levels
from softcell.errors import InputError
from softcell.streams import Stream

_INDICES = np.array([0, 255, 7, 100, 255, 200, 33, 128], np.uint8)
_CUT = 5  # where these cells are divided in two runs
_AGES = (0.0, 3600.0)  # seconds
_BINS = 64


@lru_cache(maxsize=64)
def require_conduct(device: Device) -> None:
    """Write, age and read a few cells of a device, and look at its law.

    Whether the law is that of the cells is not found out so: compare a histogram of many readings
    with it, as tests/devices/test_device_law.py does.

    Args:
        device: The device.

    Raises:
        InputError: Shapes, types, ages or probabilities are not those of the protocol, or what a
            cell reads depends on more than its stream, its place and its level.
    """
    for what in ("level_axis", "reading_axis"):
        if not isinstance(getattr(device, what), Axis):
            raise InputError(f"{what} must be an Axis, got {getattr(device, what)!r:.60}")
    for what in ("name", "source"):
        if not isinstance(getattr(device, what), str):
            raise InputError(f"{what} must be text, got {getattr(device, what)!r:.60}")
    for age in _AGES:
        whole = _readings(device, 0, len(_INDICES), age)
        parts = _readings(device, 0, _CUT, age), _readings(device, _CUT, len(_INDICES), age)
        if not np.array_equal(whole, np.concatenate(parts)):
            raise InputError(
                "cells read differently when they are written in another run: draw all that is "
                "random from `stream`, one number for each cell"
            )
        _require_law(device, age)


def _readings(device: Device, start: int, stop: int, age: float) -> np.ndarray:
    levels = plain_levels(_INDICES[start:stop])
    cells = device.write(levels, stream=Stream.of(0, "trial/write").at(start))
    if not isinstance(cells, Cells) or len(cells) != len(levels):
        raise InputError(f"write must return Cells, one for each level, got {cells!r:.60}")
    aged = device.age(device.age(cells, age / 4), 3 * age / 4)
    if not isinstance(aged, Cells) or aged.age_seconds != age:
        raise InputError("age must return the Cells older by so many seconds (`cells.aged`)")
    readings = device.read(aged, stream=Stream.of(0, "trial/read").at(start))
    if not isinstance(readings, np.ndarray) or readings.dtype != np.float32:
        raise InputError("read must return an array of float32, one for each cell")
    if readings.shape != levels.shape or not np.isfinite(readings).all():
        raise InputError(f"read must return a finite reading of each cell, got {readings!r:.60}")
    return readings


def _require_law(device: Device, age: float) -> None:
    low, high = device.span(age)
    if not (np.isfinite([low, high]).all() and low <= high):
        raise InputError(f"span must return the least and the largest reading, got {low}, {high}")
    inner = np.linspace(low, high if high > low else low + 1, _BINS - 1)
    levels = plain_levels(_INDICES).astype(np.float64)
    law = device.law(levels, np.concatenate([[-np.inf], inner, [np.inf]]), age)
    if np.shape(law) != (len(levels), _BINS):
        raise InputError(
            f"law must return probabilities of shape (levels, bins), here {(len(levels), _BINS)}, "
            f"got {np.shape(law)}"
        )
    if not (np.min(law) >= 0 and np.abs(np.sum(law, axis=1) - 1).max() < 1e-6):
        raise InputError("probabilities of a law are at least 0, and those of a level sum to 1")
