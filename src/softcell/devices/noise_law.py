"""Laws of a measured cell's noise: mixtures of normal components, level by level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.errors import InputError

MOST_COMPONENTS = 256  # at 256 levels as many as a law computes without a compiler
_FARTHEST = 1e12  # deviations, which may be small by chance
_TAIL = 16  # residuals on either side that are kept one by one
_BODY = 64  # quantiles of those between
_POINT = 1e-9  # deviations that stand for none
_RUN = 4096  # residuals at a time, so that what passes between operations stays in the cache
_SEEN = 2.0  # deviations up to which residuals may as well be read noise

_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NoiseLaw:
    """Mixtures of normal components, one for each measured input, in units of its deviation.

    Components of the same place belong together: between two inputs, weights, centres and scales
    lie on straight lines, as the device's means and deviations do.

    Args:
        kind: What it is called: "normal", "outliers", "student", "empirical" or "residuals".
        weight: Weights that sum to 1 over the components, shape (inputs, components), or
            (1, components) for the same at every input.
        centre: Means in standard deviations, shape (inputs, components).
        scale: Standard deviations in the same unit, same shape; 0 is a point.

    Raises:
        InputError: Shapes differ, or a number is none that a law can have.

    Example:
        >>> NoiseLaw("normal", np.ones((2, 1)), np.zeros((2, 1)), np.ones((2, 1))).beyond(2.0)
        array([0.04550026, 0.04550026])
    """

    kind: str
    weight: _Floats = field(repr=False)
    centre: _Floats = field(repr=False)
    scale: _Floats = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("weight", "centre", "scale"):  # a device is the key of its law
            own = np.array(getattr(self, name), np.float64)
            own.setflags(write=False)
            object.__setattr__(self, name, own)
        shape = self.centre.shape
        if self.weight.shape == (1, *shape[1:]):
            object.__setattr__(self, "weight", np.broadcast_to(self.weight, shape))
        if len(shape) != 2 or not 1 <= shape[1] <= MOST_COMPONENTS:
            raise InputError(
                f"a law of noise has 1 to {MOST_COMPONENTS} components at each input, "
                f"got the shape {shape}"
            )
        if self.weight.shape != shape or self.scale.shape != shape:
            raise InputError("a law of noise has a weight, a centre and a scale for each component")
        if not (np.abs([self.centre, self.scale]) <= _FARTHEST).all() or self.scale.min() < 0:
            raise InputError(
                f"centres of a law of noise lie within {_FARTHEST:g} deviations, scales from 0 on"
            )
        if not (self.weight >= 0).all() or (np.abs(self.weight.sum(axis=1) - 1) > 1e-6).any():
            raise InputError("weights of a law of noise are at least 0 and sum to 1 at each input")

    @cached_property
    def identity(self) -> tuple[Any, ...]:
        """What makes two laws equal."""
        return self.kind, *(a.tobytes() for a in (self.weight, self.centre, self.scale))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NoiseLaw) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def values(self) -> dict[str, Any]:
        """Return plain values, which `NoiseLaw` takes; weights that are equal but once."""
        same = bool((self.weight == self.weight[:1]).all())
        weight = self.weight[:1] if same else self.weight
        arrays = {"weight": weight, "centre": self.centre, "scale": self.scale}
        return {"kind": self.kind, **{name: array.tolist() for name, array in arrays.items()}}

    def rounded(self) -> NoiseLaw:
        """Return it with centres and scales of six significant digits, as files keep them."""
        centre, scale = (
            np.array([float(f"{x:.6g}") for x in table.reshape(-1)]).reshape(table.shape)
            for table in (self.centre, self.scale)
        )
        return NoiseLaw(self.kind, self.weight, centre, scale)

    def beyond(self, deviations: float) -> _Floats:
        """Return the probability of a residual farther than that from the mean, shape (inputs,)."""
        from scipy.special import ndtr

        scale = np.maximum(self.scale, _POINT)
        both = ndtr((self.centre - deviations) / scale) + ndtr((-self.centre - deviations) / scale)
        total: _Floats = (self.weight * both).sum(axis=1)
        return total

    def cumulative(self, residuals: _Floats, place: NDArray[np.int64]) -> _Floats:
        """Return P(Z <= residual) of residuals at an input each, shapes (residuals,)."""
        from scipy.special import ndtr

        return self._of(residuals, place, lambda z, _: ndtr(z))

    def density(self, residuals: _Floats, place: NDArray[np.int64]) -> _Floats:
        """Return the density of residuals at an input each, shapes (residuals,)."""
        height = np.sqrt(2 * np.pi)
        return self._of(residuals, place, lambda z, s: np.exp(-0.5 * z**2) / (s * height))

    def _of(
        self,
        residuals: _Floats,
        place: NDArray[np.int64],
        each: Callable[[_Floats, _Floats], _Floats],
    ) -> _Floats:
        total = np.empty(len(residuals))
        for first in range(0, len(residuals), _RUN):
            run = slice(first, first + _RUN)
            at = place[run]
            scale = np.maximum(self.scale[at], _POINT)
            z = (residuals[run, None] - self.centre[at]) / scale
            total[run] = (each(z, scale) * self.weight[at]).sum(axis=1)
        return total


def programming(
    centre: _Floats, scale: _Floats, deviation: _Floats, read_noise: float
) -> tuple[_Floats, _Floats]:
    """Return what programming adds to a reading, given that reading adds normal noise.

    A component of a standard deviation above that of reading leaves the rest to programming. Of a
    narrower one the centre takes the difference, but not for more than the two deviations that
    reading explains: what lies far out was programmed so.

    Args:
        centre: Centres in deviations, shape (inputs, components).
        scale: Standard deviations in deviations, same shape.
        deviation: Standard deviation of a write and read, shape (inputs, 1).
        read_noise: That of reading alone.

    Returns:
        Centres and standard deviations in the unit of the readings, same shape.
    """
    rest = (scale * deviation) ** 2 - read_noise**2
    missing = np.maximum(-rest, 0)
    known = missing / np.maximum(np.maximum(deviation**2, missing), 1e-300)
    square = centre**2
    kept = np.maximum(square - known * np.minimum(square, _SEEN**2), 0)
    return np.sign(centre) * np.sqrt(kept) * deviation, np.sqrt(np.maximum(rest, 0))


def residual_points(residuals: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """Return residuals as weights, centres and scales of at most 96 components.

    The outermost on either side are kept one by one, those between as means and standard
    deviations of quantiles.

    Args:
        residuals: Standardised residuals of one input, shape (readings,), at least one.

    Example:
        >>> [each.tolist() for each in residual_points(np.array([1.0, -1.0]))]
        [[0.5, 0.5], [-1.0, 1.0], [0.0, 0.0]]
    """
    ordered = np.sort(residuals)
    count = len(ordered)
    if count <= 2 * _TAIL + _BODY:
        return np.full(count, 1 / count), ordered, np.zeros(count)
    body = ordered[_TAIL:-_TAIL]
    size = len(body) // _BODY + (np.arange(_BODY) < len(body) % _BODY)
    start = np.cumsum(size) - size
    mean = np.add.reduceat(body, start) / size
    spread = np.sqrt(np.add.reduceat((body - np.repeat(mean, size)) ** 2, start) / size)
    ends = np.full(_TAIL, 1 / count)
    weight = np.concatenate([ends, size / count, ends])
    centre = np.concatenate([ordered[:_TAIL], mean, ordered[-_TAIL:]])
    scale = np.concatenate([np.zeros(_TAIL), spread, np.zeros(_TAIL)])
    return weight, centre, scale


def residual_law(residuals: Sequence[_Floats]) -> NoiseLaw:
    """Return the law that draws from residuals themselves, input by input.

    Args:
        residuals: Standardised residuals of each input, each of shape (readings,).

    Raises:
        InputError: An input has none.
    """
    if not min(map(len, residuals), default=0):
        raise InputError("every input needs residuals")
    points = [residual_points(each) for each in residuals]
    most = max(len(weight) for weight, _, _ in points)
    if any(len(weight) < most for weight, _, _ in points):  # the same places at every input
        points = [_quantiles(each, most) for each in residuals]
    return NoiseLaw("residuals", *(np.stack(each) for each in zip(*points)))


def _quantiles(residuals: _Floats, count: int) -> tuple[_Floats, _Floats, _Floats]:
    """Return `count` points of equal weight between which the residuals are shared out."""
    ordered = np.sort(residuals)
    edges = np.linspace(0, len(ordered), count + 1)
    whole = np.concatenate([[0], np.cumsum(ordered)])
    square = np.concatenate([[0], np.cumsum(ordered**2)])
    at = np.arange(len(ordered) + 1)
    width = len(ordered) / count
    mean = np.diff(np.interp(edges, at, whole)) / width
    second = np.diff(np.interp(edges, at, square)) / width
    return np.full(count, 1 / count), mean, np.sqrt(np.maximum(second - mean**2, 0))


def smoothed(points: NoiseLaw, readings: NDArray[np.int64]) -> NoiseLaw:
    """Return an empirical law with a normal kernel at each point, wide where points are sparse.

    Kernels have Silverman's width h times the square root of the mean density (geometric) over that
    at the point, so that the outermost reach beyond what was seen.

    Args:
        points: The residuals.
        readings: How many they are at each input, shape (inputs,).

    Source:
        Silverman, "Density estimation for statistics and data analysis", 1986, 3.4.2; Abramson,
        Annals of Statistics 10, 1217 (1982).
    """
    weight, centre = points.weight, points.centre
    spread = np.sqrt((weight * (centre**2 + points.scale**2)).sum(axis=1))
    cumulated = np.cumsum(weight, axis=1) - weight / 2
    quarter = np.array([np.interp([0.25, 0.75], c, x) @ [-1, 1] for c, x in zip(cumulated, centre)])
    narrow = np.minimum(spread, np.where(quarter > 0, quarter, np.inf) / 1.349)
    width = (0.9 * narrow * np.asarray(readings) ** -0.2)[:, None]
    place = np.repeat(np.arange(len(centre)), centre.shape[1])
    pilot = NoiseLaw("pilot", weight, centre, np.hypot(points.scale, width))
    logarithm = np.log(pilot.density(centre.reshape(-1), place)).reshape(centre.shape)
    middle = (weight * logarithm).sum(axis=1, keepdims=True)
    return NoiseLaw(
        "empirical",
        weight,
        centre,
        np.hypot(points.scale, width * np.exp((middle - logarithm) / 2)),
    )
