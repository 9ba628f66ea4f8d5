"""Joint maps: two cells hold one value together, a pair of levels for each value.

Every pair of levels may stand for a value, and what two readings say together is the posterior
mean, a table of two dimensions. With estimates fixed, the cost of a value at a pair is a line,

    E[(v - e(y1, y2))^2 | l1, l2] = v^2 - 2 v a + b,   a = E[e | l1, l2],  b = E[e^2 | l1, l2]

so that the lower envelope of all pairs gives each value its best pair; with pairs fixed, estimates
are posterior means. Neither step can raise the error. What comes out is a local optimum: maps are
begun at many coarse-to-fine ones, whose first cell has three to five levels in different orders,
with few levels to choose from and in a noisier cell at first (noisy channel relaxation); the best
go on with all levels.

Source:
    Farvardin and Vaishampayan, IEEE Trans. Inf. Theory 33, 827 (1987); relaxation from a noisier
    channel: Gadkari and Rose, IEEE Trans. Commun. 47, 1113 (1999).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from softcell.channel import AgedChannel, Law, constellation, with_missing
from softcell.codes.maps.design_cache import Arrays, kept
from softcell.codes.maps.lower_envelope import least_lines
from softcell.codes.maps.source import SHAPES, STEPS, source_density
from softcell.codes.maps.stored_maps import Maps, figure
from softcell.errors import FormatError, InputError

TABLE_BINS = 256
"""Bins of each cell's readings in a decoding table."""

_VERSION = 1  # of the design; a change makes cached ones strangers
_BEGIN_LEVELS, _BEGIN_BINS, _BEGIN_SWEEPS = 64, 64, 60
_BEGIN_THIN = 4  # one value in so many is looked at
_LEVELS_OF_FIRST = (3, 4, 5)  # of the first cell, where a map begins
_ORDERS = 4  # in which these levels are tried
_BLURS = (2.0, 1.0, 0.5)  # noise that is added to a reading at first, in 64ths of its axis
_FINALISTS = 2
_SWEEPS = 60


@dataclass(frozen=True, eq=False)
class JointMap:
    """A map for values of unit deviation in two cells.

    Args:
        reach: Values lie evenly spaced in +-reach; what is further takes the end's.
        first: Level index of each value's first cell, shape (STEPS,).
        second: The same of its second cell.
        density: Probability of each value, shape (STEPS,).
        distortion: Expected squared error.

    Raises:
        InputError: The arrays are not a map's.
    """

    reach: float
    first: NDArray[np.uint8] = field(repr=False)
    second: NDArray[np.uint8] = field(repr=False)
    density: NDArray[np.float64] = field(repr=False)
    distortion: float

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            array = getattr(self, name)
            if array.shape != (STEPS,) or array.dtype != np.uint8:
                raise InputError(f"{name} of a joint map needs shape ({STEPS},) and type uint8")
        if not self.distortion >= 0:
            raise InputError(f"a distortion is at least 0, got {self.distortion}")

    @property
    def values(self) -> NDArray[np.float64]:
        """Values that the map was designed on, shape (STEPS,)."""
        return np.linspace(-self.reach, self.reach, STEPS)


@lru_cache(maxsize=64)
def design_joint_map(law: Law, shape: int) -> JointMap:
    """Design the map of a source on two cells that are read at the same age.

    Args:
        law: The law of a cell, at the age or over the ages to design for.
        shape: Index in SHAPES.

    Raises:
        InputError: The shape is out of range.

    Example:
        >>> from softcell.channel import channel_of
        >>> from softcell.devices import parse_device
        >>> cell = channel_of(parse_device("pcm-partial-reset"))
        >>> reached = design_joint_map(cell, SHAPES.index(2.0)).distortion
        >>> bool(-10 * np.log10(reached) > 24.5)
        True
    """
    if not 0 <= shape < len(SHAPES):
        raise InputError(f"shapes go from 0 to {len(SHAPES) - 1}, got {shape}")
    reach, density = source_density(shape)

    def design_of(found: Arrays) -> JointMap:
        return JointMap(
            reach, found["first"], found["second"], density, figure(found["distortion"])
        )

    key = (_VERSION, law.digest, SHAPES[shape], STEPS)
    return kept("joint-map", key, lambda: _designed(law, reach, density), design_of)


def map_name(shape: int) -> str:
    """Return the name of a joint map among those of an image."""
    return f"joint/{SHAPES[shape]:g}"


def joint_map(maps: Maps, shape: int) -> JointMap:
    """Return the joint map of a density's index, as it is kept or designed.

    Raises:
        FormatError: The stored map is none.
    """
    found = maps.find(map_name(shape), STEPS)
    if found is None:
        return design_joint_map(maps.law, shape)
    reach, density = source_density(shape)
    distortion, first, second = found
    try:
        return JointMap(reach, first, second, density, distortion)
    except InputError as error:
        raise FormatError(str(error)) from None


def joint_estimates(design: JointMap, law: Law) -> NDArray[np.float32]:
    """Return the value of each pair of readings, for cells read at the law's age.

    Over several ages it is the estimate of a decoder that is not told which.

    Returns:
        Posterior means, shape (TABLE_BINS + 1, TABLE_BINS + 1), in units of the source's
        deviation; the last of each axis is for a missing reading.
    """
    symbols = design.first.astype(np.int64) * len(law.levels) + design.second
    cells = _Cells(with_missing(_merged(law.matrices, TABLE_BINS)), told=False)
    table: NDArray[np.float64] = cells.estimates(symbols, design.density, design.values)[0]
    return table.astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Cells:
    """Two cells of one law, each with a few levels and bins.

    Args:
        matrices: Transition matrix at each age, shape (n, L, R).
        told: Whether there is a table of estimates for each age.
    """

    matrices: NDArray[np.float64]
    told: bool

    def estimates(
        self, symbols: NDArray[np.int64], density: NDArray[np.float64], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return E[value | readings], shape (n, R, R), or (1, R, R) if the age is not told.

        Pairs of readings that no value gives take 0, the mean of all.
        """
        levels = self.matrices.shape[1]
        size = (levels, levels)
        mass = np.bincount(symbols, density, levels**2).reshape(size)
        moment = np.bincount(symbols, density * values, levels**2).reshape(size)
        turned = self.matrices.transpose(0, 2, 1)
        weight = turned @ mass @ self.matrices
        total = turned @ moment @ self.matrices
        if not self.told:
            weight, total = weight.sum(axis=0, keepdims=True), total.sum(axis=0, keepdims=True)
        return np.divide(total, weight, out=np.zeros_like(total), where=weight > 1e-200)

    def lines(
        self, estimate: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and mean square of the estimate for each pair of levels, (L * L,) each."""
        turned = self.matrices.transpose(0, 2, 1)
        mean = (self.matrices @ estimate @ turned).mean(axis=0)
        square = (self.matrices @ estimate**2 @ turned).mean(axis=0)
        return mean.ravel(), square.ravel()

    def alternate(
        self,
        symbols: NDArray[np.int64],
        density: NDArray[np.float64],
        values: NDArray[np.float64],
        sweeps: int,
    ) -> tuple[float, NDArray[np.int64]]:
        """Improve pairs and estimates in turn; return the error and the pair of each value."""
        error = np.inf
        for _ in range(sweeps):
            a, b = self.lines(self.estimates(symbols, density, values))
            symbols = least_lines(a, b, values)
            now = float((density * (values**2 - 2 * values * a[symbols] + b[symbols])).sum())
            if error - now < 5e-5 * error:
                break
            error = now
        return now, symbols

    def blurred(self, width: float) -> _Cells:
        """Return the same with normal noise of a width, in bins, on every reading."""
        bins = np.arange(self.matrices.shape[2])
        kernel = np.exp(-0.5 * ((bins[:, None] - bins) / width) ** 2)
        kernel /= kernel.sum(axis=1, keepdims=True)
        return _Cells(self.matrices @ kernel, self.told)


def _designed(law: Law, reach: float, density: NDArray[np.float64]) -> Arrays:
    """Return both levels of each value, and the distortion, of the best of many starts."""
    values = np.linspace(-reach, reach, STEPS)
    told = isinstance(law, AgedChannel) and law.told
    whole = _Cells(_merged(law.matrices, 2 * _BEGIN_BINS), told)
    finalists = _begun(law, density, values, told)
    reached = [whole.alternate(symbols, density, values, _SWEEPS) for symbols in finalists]
    symbols = min(reached, key=lambda each: each[0])[1]
    table = _Cells(_merged(law.matrices, TABLE_BINS), told)
    a, b = table.lines(table.estimates(symbols, density, values))
    error = float((density * (values**2 - 2 * values * a[symbols] + b[symbols])).sum())
    levels = len(law.levels)
    return {
        "first": (symbols // levels).astype(np.uint8),
        "second": (symbols % levels).astype(np.uint8),
        "distortion": np.array(error / (density * values**2).sum()),
    }


def _begun(
    law: Law, density: NDArray[np.float64], values: NDArray[np.float64], told: bool
) -> list[NDArray[np.int64]]:
    """Return the pairs of the best maps of few levels, bins and values, each of shape (STEPS,)."""
    levels = len(law.levels)
    few = np.unique(np.rint(np.linspace(0, levels - 1, _BEGIN_LEVELS)).astype(np.int64))
    nearest = np.abs(np.arange(levels)[:, None] - few).argmin(axis=1)
    cells = _Cells(_merged(law.matrices[:, few], _BEGIN_BINS), told)
    noisier = [cells.blurred(width) for width in _BLURS]
    thin = slice(None, None, _BEGIN_THIN)
    source = density[thin] / density[thin].sum(), values[thin]
    found = []
    for first, second in _starts(law, density):
        symbols = (nearest[first] * len(few) + nearest[second])[thin]
        for each in noisier:
            _, symbols = each.alternate(symbols, *source, _BEGIN_SWEEPS // 4)
        found.append(cells.alternate(symbols, *source, _BEGIN_SWEEPS))
    found.sort(key=lambda each: each[0])
    best = [np.repeat(symbols, _BEGIN_THIN)[:STEPS] for _, symbols in found[:_FINALISTS]]
    return [few[each // len(few)] * levels + few[each % len(few)] for each in best]


def _starts(
    law: Law, density: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Divide the values by the density's cube root into parts, each over all second levels.

    Every other part runs backwards. The order of the first cell's levels decides which confusions
    of neighbours are far apart; a few orders are tried, the same ones for every law.
    """
    order = np.argsort(law.mean, kind="stable")
    cumulative = np.cumsum(np.cbrt(density))
    share = (cumulative - np.cbrt(density) / 2) / cumulative[-1]
    generator = np.random.default_rng(0)
    for parts in _LEVELS_OF_FIRST:
        chosen = constellation(law.average, parts).indices
        part = np.minimum((share * parts).astype(np.int64), parts - 1)
        inside = share * parts - part
        for number in range(_ORDERS):
            coarse = chosen if number == 0 else generator.permutation(chosen)
            for odd in (0, 1):
                way = np.where(part % 2 == odd, 1 - inside, inside)
                yield coarse[part], order[np.rint(way * (len(order) - 1)).astype(np.int64)]


def _merged(matrices: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Return transition matrices with neighbouring bins of readings taken together."""
    merged: NDArray[np.float64] = matrices.reshape(*matrices.shape[:2], bins, -1).sum(axis=3)
    return merged
