"""Coarse-to-fine maps: robust cells hold which part of the range, one more cell the place in it.

A weight of unit deviation falls into one of 2**bits parts, whose number goes into cells of four
levels, two bits a cell. Its place inside the part goes into a cell of its own, by a map that is
designed for the part. Parts, levels and estimates are optimised together:

    cost(v; part, level) = E[(v - e(part, reading))^2 | level] = v^2 - 2 v a + b

so that, with estimates fixed, every value takes the part and level of least cost, and with those
fixed every estimate is the posterior mean. Neither step can raise the error.

Source:
    Alternating optimisation as in Farvardin and Vaishampayan, IEEE Trans. Inf. Theory 33, 827
    (1987); start from the point density p^(1/3) of Panter and Dite, Proc. IRE 39, 44 (1951).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Law
from softcell.codes.maps.design_cache import Arrays, kept
from softcell.codes.maps.lower_envelope import least_lines
from softcell.codes.maps.source import SHAPES, STEPS, source_density
from softcell.codes.maps.stored_maps import Maps, figure
from softcell.compiled import compiled
from softcell.errors import FormatError, InputError

MOST_BITS = 6
"""Most coarse bits of a weight: three robust cells and the fine one."""

_VERSION = 1  # of the design; a change makes cached ones strangers
_COARSER = 4  # readings are merged by fours while a map is designed


@dataclass(frozen=True, eq=False)
class CoarseToFineMap:
    """A map for values of unit deviation.

    Args:
        bits: Coarse bits of a value, 0 to MOST_BITS.
        reach: Values lie evenly spaced in +-reach; what is further takes the end's.
        parts: Part of each value, shape (STEPS,).
        levels: Level index of each value's fine cell, shape (STEPS,).
        density: Probability of each value, shape (STEPS,).
        distortion: Expected squared error if the parts are read without error.
    """

    bits: int
    reach: float
    parts: NDArray[np.uint8] = field(repr=False)
    levels: NDArray[np.uint8] = field(repr=False)
    density: NDArray[np.float64] = field(repr=False)
    distortion: float

    def __post_init__(self) -> None:
        for name in ("parts", "levels"):
            array = getattr(self, name)
            if array.shape != (STEPS,) or array.dtype != np.uint8:
                raise InputError(f"{name} of a map need shape ({STEPS},) and type uint8")
        if self.parts.max() >= 2**self.bits or not self.distortion >= 0:
            raise InputError(f"a map of {self.bits} bits needs parts below {2**self.bits}")

    @property
    def values(self) -> NDArray[np.float64]:
        """Values that the map was designed on, shape (STEPS,)."""
        return np.linspace(-self.reach, self.reach, STEPS)


@lru_cache(maxsize=256)
def design_map(law: Law, shape: int, bits: int, *, sweeps: int = 200) -> CoarseToFineMap:
    """Design the map of a source on a cell.

    Args:
        law: The law of the fine cell at the age, or over the ages, to design for.
        shape: Index in SHAPES.
        bits: Coarse bits of a value, from 0 to MOST_BITS.
        sweeps: Most alternations.

    Raises:
        InputError: Shape or number of bits is out of range.

    Example:
        >>> from softcell.channel import channel_of
        >>> from softcell.devices import parse_device
        >>> cell = channel_of(parse_device("pcm-partial-reset"))
        >>> gaussian = SHAPES.index(2.0)
        >>> reached = [-10 * np.log10(design_map(cell, gaussian, b).distortion) for b in (0, 1, 2)]
        >>> [round(float(db), 1) for db in reached]
        [13.0, 18.5, 24.2]
    """
    if not 0 <= bits <= MOST_BITS or not 0 <= shape < len(SHAPES):
        raise InputError(f"coarse bits go from 0 to {MOST_BITS}, shapes to {len(SHAPES) - 1}")
    reach, density = source_density(shape)

    def make() -> Arrays:
        return _designed(law, reach, density, bits, sweeps)

    def design_of(found: Arrays) -> CoarseToFineMap:
        parts, levels = found["parts"], found["levels"]
        return CoarseToFineMap(bits, reach, parts, levels, density, figure(found["distortion"]))

    key = (_VERSION, law.digest, SHAPES[shape], STEPS, bits, sweeps)
    return kept("coarse-to-fine", key, make, design_of)


def map_name(shape: int, bits: int) -> str:
    """Return the name of a coarse-to-fine map among those of an image."""
    return f"coarse-to-fine/{SHAPES[shape]:g}/{bits}"


def coarse_map(maps: Maps, shape: int, bits: int) -> CoarseToFineMap:
    """Return the map of a density's index and a number of coarse bits, as it is kept or designed.

    Raises:
        FormatError: The stored map is none.
    """
    found = maps.find(map_name(shape, bits), STEPS)
    if found is None:
        return design_map(maps.law, shape, bits)
    reach, density = source_density(shape)
    distortion, parts, levels = found
    try:
        return CoarseToFineMap(bits, reach, parts, levels, density, distortion)
    except InputError as error:
        raise FormatError(str(error)) from None


def _designed(
    law: Law, reach: float, density: NDArray[np.float64], bits: int, sweeps: int
) -> Arrays:
    """Return part and level of each value, and the distortion, of the best of several starts."""
    values = np.linspace(-reach, reach, STEPS)
    matrix = law.matrix.reshape(len(law.levels), -1, _COARSER).sum(axis=2)
    order = np.argsort(law.mean, kind="stable")
    error, parts, levels = min(
        (
            _alternate(values, density, matrix, *start, 2**bits, sweeps)
            for start in _starts(density, order, 2**bits)
        ),
        key=lambda found: found[0],
    )
    return {
        "parts": parts.astype(np.uint8),
        "levels": levels.astype(np.uint8),
        "distortion": np.array(error / (density * values**2).sum()),
    }


def estimates(design: CoarseToFineMap, law: Law) -> NDArray[np.float32]:
    """Return the value of each part and reading, for cells read under a law.

    Args:
        design: The map.
        law: The law of a cell at the age of reading, or the `average` over several ages for a
            decoder that is not told which.

    Returns:
        Posterior means, shape (2**bits, R + 1), in units of the source's deviation; the last is
        for a missing reading.
    """
    parts = 2**design.bits
    symbols = design.parts.astype(np.int64) * len(law.levels) + design.levels
    mass, moment = _moments(symbols, design.density, design.values, parts, len(law.levels))
    read = _posterior(mass, moment, law.matrix)
    missing = _posterior(mass, moment, np.ones((len(law.levels), 1)))
    return np.concatenate([read, missing], axis=1).astype(np.float32)


@compiled()
def encode(
    weights: NDArray[np.float32],
    deviation: float,
    reach: float,
    parts: NDArray[np.uint8],
    levels: NDArray[np.uint8],
    part_out: NDArray[np.uint8],
    level_out: NDArray[np.uint8],
) -> None:
    """Fill part and fine level of each weight; all of shape (weights,)."""
    last = parts.size - 1
    scale = last / (2 * reach * deviation) if deviation > 0 else 0.0
    for i in range(weights.size):
        place = min(max(weights[i] * scale + 0.5 * last, 0.0), float(last))
        k = int(place + 0.5)
        part_out[i] = parts[k]
        level_out[i] = levels[k]


@compiled()
def decode(
    parts: NDArray[np.integer],
    bins: NDArray[np.int64],
    table: NDArray[np.float32],
    deviation: float,
    out: NDArray[np.float32],
) -> None:
    """Fill the weight of each part and reading's bin; all of shape (weights,)."""
    for i in range(parts.size):
        out[i] = table[parts[i], bins[i]] * deviation


def _starts(
    density: NDArray[np.float64], order: NDArray[np.int64], parts: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Divide the values by the density's cube root, and each part over the levels likewise.

    Local optima differ by the ends of the cell that the parts begin at: with few parts each
    direction is tried, with many they no longer differ.
    """
    cumulative = np.cumsum(np.cbrt(density))
    place = (cumulative - np.cbrt(density) / 2) / cumulative[-1] * parts
    part = np.minimum(place.astype(np.int64), parts - 1)
    for margin in (0.02, 0.1) if parts <= 4 else (0.02,):
        inside = np.clip((place - part - margin) / (1 - 2 * margin), 0, 1)
        patterns = [part % 2 == 1, part % 2 == 0, part < parts // 2, part >= parts // 2]
        for turned in patterns if parts <= 4 else patterns[:1]:
            way = np.where(turned, 1 - inside, inside)
            yield part, order[np.rint(way * (len(order) - 1)).astype(np.int64)]


def _moments(
    symbols: NDArray[np.int64],
    density: NDArray[np.float64],
    values: NDArray[np.float64],
    parts: int,
    levels: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    size = parts * levels
    mass = np.bincount(symbols, density, size).astype(np.float64)
    moment = np.bincount(symbols, density * values, size).astype(np.float64)
    return mass.reshape(parts, levels), moment.reshape(parts, levels)


def _posterior(
    mass: NDArray[np.float64], moment: NDArray[np.float64], matrix: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return E[value | part, bin]; what no value reaches takes the nearest bin's that one does."""
    weight, total = mass @ matrix, moment @ matrix
    known = weight > 1e-300
    result: NDArray[np.float64] = np.divide(total, weight, out=np.zeros_like(total), where=known)
    bins = np.arange(matrix.shape[1])
    for part in np.flatnonzero(known.any(axis=1)):
        reached = np.flatnonzero(known[part])
        nearest = np.clip(np.searchsorted(reached, bins), 0, len(reached) - 1)
        result[part] = np.where(known[part], result[part], result[part, reached[nearest]])
    return result


def _alternate(
    values: NDArray[np.float64],
    density: NDArray[np.float64],
    matrix: NDArray[np.float64],
    part: NDArray[np.int64],
    level: NDArray[np.int64],
    parts: int,
    sweeps: int,
) -> tuple[float, NDArray[np.int64], NDArray[np.int64]]:
    levels = len(matrix)
    error = np.inf
    for _ in range(sweeps):
        mass, moment = _moments(part * levels + level, density, values, parts, levels)
        estimate = _posterior(mass, moment, matrix)
        a, b = (estimate @ matrix.T).ravel(), (estimate**2 @ matrix.T).ravel()
        symbol = least_lines(a, b, values)
        now = float((density * (values**2 - 2 * values * a[symbol] + b[symbol])).sum())
        part, level = symbol // levels, symbol % levels
        if error - now < 2e-5 * error:
            break
        error = now
    return now, part, level
