"""A short trial of a device, which finds out whether it keeps to what all else relies on."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from softcell.devices.device import Axis, Cells, Device, plain_levels
from softcell.durations import format_age
from softcell.errors import InputError
from softcell.streams import Stream

_INDICES = np.array([0, 255, 7, 100, 255, 200, 33, 128], np.uint8)
_CUT = 5  # where these cells are divided in two runs
_AGES = (0.0, 3600.0)  # seconds
_BINS = 64
_SAMPLE = 4096  # cells at each level that the law is compared with
_FAR = 0.07  # by Kolmogorov's law the right one is as far off once in 10^17 devices


@lru_cache(maxsize=64)
def require_conduct(device: Device) -> None:
    """Write, age and read a few cells of a device, and look at its law.

    That the law is that of the cells is looked at roughly: a difference of less than some 7 % in
    the distribution of readings takes more cells to see, as tests/devices/test_device_law.py does.

    Args:
        device: The device.

    Raises:
        InputError: Shapes, types, ages or probabilities are not those of the protocol, the law is
            not that of the cells, or what a cell reads depends on more than its stream, its place
            and its level.
    """
    for what in ("level_axis", "reading_axis"):
        if not isinstance(getattr(device, what), Axis):
            raise InputError(f"{what} must be an Axis, got {getattr(device, what)!r:.60}")
    for what in ("name", "source"):
        if not isinstance(getattr(device, what), str):
            raise InputError(f"{what} must be text, got {getattr(device, what)!r:.60}")
    for age in _AGES:
        whole = _run(device, _INDICES, 0, age)
        parts = _run(device, _INDICES[:_CUT], 0, age), _run(device, _INDICES[_CUT:], _CUT, age)
        if not np.array_equal(whole, np.concatenate(parts)):
            raise InputError(
                "cells read differently when they are written in another run: draw all that is "
                "random from `stream`, one number for each cell"
            )
        _require_law(device, age)


def _run(device: Device, indices: np.ndarray, start: int, age: float) -> np.ndarray:
    levels = plain_levels(indices)
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
    # Not on the ends of the span, where a cell without noise may read just this side or the other.
    inner = low + (np.arange(_BINS - 1) + 0.619) * ((high - low or 1) / _BINS)
    levels = plain_levels(_INDICES)
    law = device.law(levels.astype(np.float64), np.concatenate([[-np.inf], inner, [np.inf]]), age)
    if np.shape(law) != (len(levels), _BINS):
        raise InputError(
            f"law must return probabilities of shape (levels, bins), here {(len(levels), _BINS)}, "
            f"got {np.shape(law)}"
        )
    if not (np.min(law) >= 0 and np.abs(np.sum(law, axis=1) - 1).max() < 1e-6):
        raise InputError("probabilities of a law are at least 0, and those of a level sum to 1")
    expected = np.cumsum(law, axis=1)[:, :-1]
    readings = _run(device, np.repeat(_INDICES, _SAMPLE), 0, age).reshape(-1, _SAMPLE)
    found = np.array([np.searchsorted(np.sort(own), inner) for own in readings]) / _SAMPLE
    i, j = np.unravel_index(np.abs(found - expected).argmax(), found.shape)
    if abs(found[i, j] - expected[i, j]) > _FAR:
        raise InputError(
            f"law is not that of the cells: of {_SAMPLE} cells at level {levels[i]:.3g}, "
            f"{format_age(age)} old, {found[i, j]:.1%} read less than {inner[j]:.4g}, and by the "
            f"law {expected[i, j]:.1%} do"
        )
