"""Packed maps: two or three values in one cell, one value in one, or one in several.

The feedback loop pushes targets about, so that what matters in a map is its reach and that it is
not biased, not its mean square error for the weights' own density. Packed maps are designed for
values that lie anywhere in [-1, 1] alike. As in coarse-to-fine maps, robust cells may hold the part
of the range that a value falls into; values that share a cell have none.

    cost(v; part, level) = E[|v - e(part, reading)|^2 | level] = |v|^2 - 2 v a + b

is minimised by alternation: with estimates fixed, every point takes the level of least cost, with
levels fixed, estimates are posterior means. A map begins as a path that runs through the range in
strips, so that neighbouring levels stand for neighbouring points.

Source:
    Alternating optimisation as in Farvardin and Vaishampayan, IEEE Trans. Inf. Theory 33, 827
    (1987); space-filling paths for bandwidth reduction: Fuldseth and Ramstad, ICASSP 1997.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Law
from softcell.codes.maps.design_cache import Arrays, kept
from softcell.codes.maps.lower_envelope import least_lines
from softcell.codes.maps.stored_maps import Maps, figure
from softcell.errors import FormatError, InputError

GRID = {1: 4096, 2: 64, 3: 16}
"""Points on the range of each value, by the number of values in a cell."""

MOST_PARTS = 64

_VERSION = 2  # of the design; a change makes cached ones strangers
_BINS = 256  # readings are merged to about so many while a map is designed
_DESIGN_GRID = {1: 1024, 2: 32, 3: 12}
_STRIPS: Mapping[int, tuple[tuple[int, ...], ...]] = {
    1: ((),),
    2: ((1,), (2,), (3,), (4,), (5,), (6,), (8,), (12,), (16,)),
    3: ((1, 2), (2, 2), (2, 3), (3, 3), (4, 4), (6, 6)),
}
"""Strips along all axes but the last that paths begin with, by the number of values."""

_MARGINS = (0.0, 0.1)
_SWEEPS = 100


@dataclass(frozen=True, eq=False)
class PackedMap:
    """A map for values in [-1, 1].

    Args:
        values: Values in the cell, 1 to 3.
        parts: Parts of a single value's range.
        part: Part of each point, shape (points,) * values.
        levels: Level index of each point, same shape.
        distortion: Expected squared error of a value if parts are read without error.

    Raises:
        InputError: The arrays are not a map's.
    """

    values: int
    parts: int
    part: NDArray[np.uint8] = field(repr=False)
    levels: NDArray[np.uint8] = field(repr=False)
    distortion: float

    def __post_init__(self) -> None:
        shape = (GRID[self.values],) * self.values
        if any(a.shape != shape or a.dtype != np.uint8 for a in (self.part, self.levels)):
            raise InputError(f"parts and levels of a packed map need shape {shape}, type uint8")
        if self.part.max() >= self.parts or not self.distortion >= 0:
            raise InputError(f"a packed map of {self.parts} parts needs parts below that")

    def places(self, values: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the nearest point of each value, same shape; what is beyond takes the end's."""
        points = GRID[self.values]
        place = np.floor((np.asarray(values) + 1) * (points / 2))
        return np.clip(place, 0, points - 1).astype(np.int64)


@lru_cache(maxsize=64)
def packed_map(law: Law, values: int, parts: int = 1) -> PackedMap:
    """Design a packed map on a cell.

    Args:
        law: The law of the cell at the age, or over the ages, to design for.
        values: Values in the cell: 1 to 3.
        parts: Parts of the range, which robust cells tell apart, 1 to 64; 1 for several values.

    Raises:
        InputError: The number of values or parts is out of range.

    Example:
        >>> from softcell.channel import channel_of
        >>> from softcell.devices import parse_device
        >>> cell = channel_of(parse_device("pcm-partial-reset"))
        >>> [round(packed_map(cell, n).distortion ** 0.5, 2) for n in (1, 2, 3)]
        [0.09, 0.23, 0.32]
    """
    if values not in GRID or not 1 <= parts <= (MOST_PARTS if values == 1 else 1):
        raise InputError(
            f"a packed map has 1 value in up to {MOST_PARTS} parts, or 2 or 3 values in one; "
            f"got {values} in {parts}"
        )

    def make() -> Arrays:
        return _designed(law, values, parts)

    def design_of(found: Arrays) -> PackedMap:
        part, levels = found["part"], found["levels"]
        return PackedMap(values, parts, part, levels, figure(found["distortion"]))

    return kept("packed", (_VERSION, law.digest, values, parts), make, design_of)


def map_name(values: int, parts: int) -> str:
    """Return the name of a packed map among those of an image."""
    return f"packed/{values}/{parts}"


def kept_packed_map(maps: Maps, values: int, parts: int = 1) -> PackedMap:
    """Return the packed map of a number of values in a cell and of parts of their range, as it is
    kept or designed.

    Raises:
        FormatError: The stored map is none.
    """
    found = maps.find(map_name(values, parts), GRID[values] ** values)
    if found is None:
        return packed_map(maps.law, values, parts)
    distortion, part, levels = found
    shape = (GRID[values],) * values
    try:
        return PackedMap(values, parts, part.reshape(shape), levels.reshape(shape), distortion)
    except InputError as error:
        raise FormatError(str(error)) from None


def packed_estimates(design: PackedMap, law: Law) -> NDArray[np.float32]:
    """Return what each reading stands for, in cells of this law.

    Returns:
        Posterior means, shape (parts, bins + 1) for one value, (bins + 1, values) for several; the
        last bin is that of a missing reading.
    """
    points = _points(design.values, GRID[design.values])
    symbols = design.part.reshape(-1).astype(np.int64) * len(law.levels)
    symbols += design.levels.reshape(-1)
    found = np.concatenate(
        [
            _posterior(symbols, points, design.parts, matrix)
            for matrix in (law.matrix, np.ones((len(law.levels), 1)))
        ],
        axis=2,
    )
    return (found[:, 0] if design.values == 1 else found[0].T).astype(np.float32)


def _points(values: int, number: int) -> NDArray[np.float64]:
    """Return evenly spaced points of [-1, 1]^values, shape (values, number**values)."""
    axis = (np.arange(number) + 0.5) * (2 / number) - 1
    return np.stack(np.meshgrid(*[axis] * values, indexing="ij")).reshape(values, -1)


def _posterior(
    symbols: NDArray[np.int64], points: NDArray[np.float64], parts: int, matrix: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return E[value | part, bin], shape (parts, values, bins).

    A bin that no point of a part reaches takes that of the nearest one.
    """
    levels, bins = matrix.shape
    size = parts * levels
    weight = np.bincount(symbols, minlength=size).reshape(parts, levels) @ matrix
    total = np.stack(
        [np.bincount(symbols, axis, size).reshape(parts, levels) @ matrix for axis in points]
    )
    result = np.zeros((parts, len(points), bins))
    for part in range(parts):
        reached = np.flatnonzero(weight[part] > 1e-280)
        if len(reached):
            place = np.searchsorted((reached[1:] + reached[:-1]) / 2, np.arange(bins))
            nearest = reached[place]
            result[part] = total[:, part, nearest] / weight[part, nearest]
    return result


def _designed(law: Law, values: int, parts: int) -> Arrays:
    matrix = _merged(law.matrix)
    points = _points(values, _DESIGN_GRID[values])
    best = min(
        (
            _alternate(points, matrix, *start, parts)
            for start in _starts(points, law.mean, matrix, parts)
        ),
        key=lambda found: found[0],
    )
    _, a, b = best
    fine = _points(values, GRID[values])
    symbol = _choose(fine, a, b)
    cost = (fine**2).sum(axis=0) - 2 * (fine * a[:, symbol]).sum(axis=0) + b[symbol]
    shape = (GRID[values],) * values
    levels = len(matrix)
    return {
        "part": (symbol // levels).astype(np.uint8).reshape(shape),
        "levels": (symbol % levels).astype(np.uint8).reshape(shape),
        "distortion": np.array(cost.mean() / values),
    }


def _merged(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a law with neighbouring bins of readings merged."""
    width = max(matrix.shape[1] // _BINS, 1)
    return np.add.reduceat(matrix, np.arange(0, matrix.shape[1], width), axis=1)


def _starts(
    points: NDArray[np.float64], mean: NDArray[np.float64], matrix: NDArray[np.float64], parts: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Lay paths of strips through the range, and levels along them.

    Levels follow their mean reading; the distance between neighbours is how well they are told
    apart (Hellinger), so that noisy stretches of the cell get little of the path.
    """
    order = np.argsort(mean, kind="stable")
    overlap = np.sqrt(matrix[order][1:] * matrix[order][:-1]).sum(axis=1)
    along = np.concatenate([[0], np.cumsum(np.sqrt(np.maximum(1 - overlap, 0)))])
    middles = (along[1:] + along[:-1]) / 2
    unit = (points + 1) / 2
    part = np.zeros(points.shape[1], np.int64)
    if len(points) == 1:
        part = np.minimum((unit[0] * parts).astype(np.int64), parts - 1)
        unit = unit * parts - part
    for strips in _STRIPS[len(points)]:
        for margin in _MARGINS:
            path = _path(unit, strips, margin)
            for turned in (0, 1):
                # Parts beside each other run in opposite directions, so that they join.
                way = np.where(part % 2 == turned, path, 1 - path)
                yield part, order[np.searchsorted(middles, way * along[-1])]


def _path(unit: NDArray[np.float64], strips: tuple[int, ...], margin: float) -> NDArray[np.float64]:
    """Return the place of each point on a path that runs to and fro through strips, in [0, 1]."""
    if not strips:
        inner: NDArray[np.float64] = np.clip((unit[0] - margin) / (1 - 2 * margin), 0, 1)
        return inner
    strip = np.minimum((unit[0] * strips[0]).astype(np.int64), strips[0] - 1)
    inside = _path(unit[1:], strips[1:], margin)
    place: NDArray[np.float64] = (strip + np.where(strip % 2, 1 - inside, inside)) / strips[0]
    return place


def _alternate(
    points: NDArray[np.float64],
    matrix: NDArray[np.float64],
    part: NDArray[np.int64],
    level: NDArray[np.int64],
    parts: int,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the error reached, and the coefficients a, (values, symbols), and b of the cost."""
    levels, power = len(matrix), float((points**2).sum(axis=0).mean())
    symbol, error = part * levels + level, np.inf
    for _ in range(_SWEEPS):
        estimate = _posterior(symbol, points, parts, matrix).swapaxes(0, 1)
        a = (estimate @ matrix.T).reshape(len(points), -1)
        b = ((estimate**2).sum(axis=0) @ matrix.T).reshape(-1)
        symbol = _choose(points, a, b)
        now = power + float((b[symbol] - 2 * (points * a[:, symbol]).sum(axis=0)).mean())
        if error - now < 1e-4 * error:
            break
        error = now
    return now, a, b


def _choose(
    points: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the symbol of least cost for each point."""
    if len(points) == 1:
        return least_lines(a[0], b, points[0])
    block = 4096
    runs = [points[:, start : start + block] for start in range(0, points.shape[1], block)]
    return np.concatenate([(b - 2 * run.T @ a).argmin(axis=1) for run in runs])
