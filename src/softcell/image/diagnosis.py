"""Why decoding failed: readings are held against the levels that the image was to be written with.

Nothing that is decoded depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel, channel_of
from softcell.channel.channel import edges_over
from softcell.devices.device import changes_with_age
from softcell.durations import format_age, parse_age
from softcell.image.cell_image import CellImage, Region
from softcell.image.readings import CombinedReadings, MeasuredReadings, Readings

_BLOCK = 512
"""Cells of which it is asked together whether they were programmed; a multiple of 8."""

_BLOCKS = 512
"""Blocks looked at, evenly over the image."""

_FEWEST = 16
"""Readings from which on a statistic of them says something."""

_SAME = 0.5
"""Least correlation of readings with what the levels let expect, for readings of this image."""

_FLAT = 0.2
"""Deviation of a block's readings, over that of what its levels let expect, of cells that were not
programmed."""

_RARE = 1e-9
"""Probability that a level gives a reading, below which the law does not account for it."""

_NOISY = 1.25
"""Deviation of readings over the law's from which on cells are called noisier."""

_BETTER = 0.1
"""Nats a cell by which another age must explain the readings better."""

_AGES = ("0", "1h", "1d", "30d", "1y", "10y")


@dataclass(frozen=True)
class Diagnosis:
    """What is unlike the readings that were expected.

    Args:
        missing: Cells without a reading, of all cells of measured readings.
        implausible: Readings of these that the device cannot have given; they were left out.
        reason: What is likely wrong with them; "" if there are none.
        cause: What explains the difference best, as a clause; None if there is none.
        mismatched: Whether these are not this image's cells at the told age, so that weights in
            cells of their own are wrong, whether code words failed or not.
    """

    missing: int = 0
    implausible: int = 0
    reason: str = ""
    cause: str | None = None
    mismatched: bool = False


def diagnose(image: CellImage, readings: Readings, law: Channel) -> Diagnosis:
    """Compare readings with the image's levels, in up to 262,144 cells.

    Args:
        image: The image.
        readings: The readings.
        law: The law that they were decoded by.
    """
    parts = readings.parts if isinstance(readings, CombinedReadings) else (readings,)
    strange = [each.implausible() for each in parts if isinstance(each, MeasuredReadings)]
    count, reason = sum(each.count for each in strange), _first(each.reason for each in strange)
    cause, mismatched = None, any(each.whole for each in strange)
    if mismatched:
        cause = f"{count} readings cannot be this device's: {reason}"
    else:
        cause, mismatched = _compared(image, readings, law)
    missing = sum(each.missing for each in strange)
    return Diagnosis(missing, count, reason or "", cause, mismatched)


def _compared(image: CellImage, readings: Readings, law: Channel) -> tuple[str | None, bool]:
    """Return what readings say of the cells, and whether they are not those of the image."""
    blocks = list(_blocks(image, readings))
    levels = np.concatenate([block.levels for block in blocks])
    values = np.concatenate([block.readings for block in blocks]).astype(np.float64)
    there = ~np.isnan(values)
    missing = int(np.count_nonzero(~there))
    if 2 * missing > len(values):
        return f"{missing} of {len(there)} cells looked at gave no reading", True
    levels, values = levels[there], values[there]
    cause = _blank(blocks, law)
    if cause is None and _correlation(values, law.mean[levels]) < _SAME:
        cause = (
            "the readings are not those of this image's cells: they are of another chip, in "
            "another order or another unit"
        )
    cause = cause or _other_age(image, law, levels, values)
    if cause is not None:
        return cause, True
    cause = _worse_cells(law, levels, values)
    if cause is None and missing:
        cause = f"{missing} of {len(there)} cells looked at gave no reading"
    return cause, False


def _first(texts: Iterable[str]) -> str | None:
    return next((text for text in texts if text), None)


@dataclass(frozen=True, eq=False)
class _Looked:
    """Some neighbouring cells of a region."""

    region: Region
    start: int
    levels: NDArray[np.uint8]
    readings: NDArray[np.float32]


def _blocks(image: CellImage, readings: Readings) -> Iterator[_Looked]:
    """Yield blocks of cells, evenly over the image."""
    places = [
        (region, start) for region in image.regions() for start in range(0, region.cells, _BLOCK)
    ]
    chosen = np.unique(np.linspace(0, len(places) - 1, _BLOCKS).astype(np.int64))
    for region, start in (places[each] for each in chosen):
        stop = min(start + _BLOCK, region.cells)
        levels = image.levels(region, start, stop)
        yield _Looked(region, start, levels, readings.read(region, start, stop))


def _blank(blocks: list[_Looked], law: Channel) -> str | None:
    """Return that cells were never programmed, if blocks read the same everywhere."""
    blank = []
    for block in blocks:
        there = ~np.isnan(block.readings)
        if np.count_nonzero(there) < _FEWEST:
            continue
        expected = law.mean[block.levels[there]].std()
        if expected > law.deviation.mean() and (block.readings[there].std() < _FLAT * expected):
            blank.append(block)
    if not blank:
        return None
    first, cells = blank[0], sum(len(block.levels) for block in blank)
    return (
        f"{cells} of {sum(len(block.levels) for block in blocks)} cells looked at read alike, "
        f"whatever their level, the first from cell {first.start} of {first.region.label} on: they "
        "were never programmed, or not read"
    )


def _correlation(values: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Return the correlation of the ranks of readings with those of what is expected of them.

    Ranks, since a few cells may read anything.
    """
    if len(values) < _FEWEST or not expected.std():
        return 1.0
    ranks = [each.argsort(kind="stable").argsort() for each in (values, expected)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _other_age(
    image: CellImage, law: Channel, levels: NDArray[np.uint8], values: NDArray[np.float64]
) -> str | None:
    """Return that another age explains the readings better, if one does."""
    header = image.header
    told, planned = law.age_seconds, (header.ages.first, header.ages.last)
    tried = sorted({told, *planned, *map(parse_age, _AGES)})
    if len(values) < _FEWEST or not changes_with_age(header.device, max(tried)):
        return None
    edges = edges_over(header.device, tried)
    likely = {}
    for age in tried:
        channel = channel_of(header.device, age, edges=edges)
        given = channel.matrix[levels, channel.bins(values)]
        likely[age] = float(np.log(np.maximum(given, _RARE)).mean())
    best = max(likely, key=lambda age: likely[age])
    if likely[best] - likely[told] < _BETTER:
        return None
    return (
        f"the cells read as if they were about {format_age(best)} old, and not the "
        f"{format_age(told)} that was told (--age)"
    )


def _worse_cells(
    law: Channel, levels: NDArray[np.uint8], values: NDArray[np.float64]
) -> str | None:
    """Return that cells are noisier than the device, or that some read what they cannot."""
    if len(values) < _FEWEST:
        return None
    step = law.edges[2] - law.edges[1]
    away = (values - law.mean[levels]) / np.maximum(law.deviation[levels], step)
    middle = np.median(away)
    spread = 1.4826 * float(np.median(np.abs(away - middle)))
    if spread > _NOISY:
        return (
            f"the readings spread {spread:.2g} times as much as the device's; write the image for "
            "such cells (`softcell fit` makes a device of measurements)"
        )
    rare = int((law.matrix[levels, law.bins(values)] < _RARE).sum())
    if rare:
        return (
            f"{rare} of {len(values)} cells looked at ({rare / len(values):.2g}) read what their "
            "level does not give: they are stuck, or outliers that the device does not know of "
            "(+stuck:low=... after a device's name plans for them)"
        )
    return None
