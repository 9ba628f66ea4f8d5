"""Which rows get fixed-length indices of how many bits, and how many of them are protected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.setting import Setting
from softcell.codes.analog.value_range import Histogram
from softcell.codes.bfloat16 import ceiling
from softcell.codes.fixed_length.cells import bit_variances
from softcell.codes.fixed_length.code import MOST_BITS, FixedLengthCode, IndexFormat, encode_side
from softcell.codes.store.modulation import design_modulation

_LABEL_BITS = (3, 2, 1)
"""Most in a cell first: of equal losses the first counts."""

_PER_OCTAVE = 12
_OCTAVES = 9


@dataclass(frozen=True, eq=False)
class Curve:
    """What the formats of one tensor cost and leave.

    Args:
        importance: What the loss feels of a squared error of one weight, shape (rows,).
        columns: Weights in a row.
        cells: Cells of a weight by format, rising, shape (formats,).
        distortion: Expected squared error of a weight, falling and convex, shape (formats,).
    """

    importance: NDArray[np.float64] = field(repr=False)
    columns: int
    cells: NDArray[np.float64]
    distortion: NDArray[np.float64]


def plan_codes(setting: Setting) -> dict[str, FixedLengthCode]:
    """Return the code of every matrix: that of the number of levels with the least expected loss.

    Together with all else that is stored they keep to the target, unless one bit for each weight
    is already more: then every weight has the cheapest format.
    """
    if not setting.matrices:
        return {}
    best: dict[str, FixedLengthCode] = {}
    least = np.inf
    for label_bits in _LABEL_BITS:
        if label_bits > 1 and setting.channel.capacity.bits <= label_bits - 1:
            continue
        codes, loss = _shared(setting, label_bits)
        if loss < least or not best:
            best, least = codes, loss
    return best


def expected_distortion(
    magnitudes: Histogram, bits: int, bit_error: float, step: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean squared error of a weight by step, shape (steps,).

    D(step) = E[(|w| - q(|w|))^2] + step^2 bit_error

    Args:
        magnitudes: Sizes of the weights.
        bits: Bits of an index.
        bit_error: What raw bits add, in squared steps.
        step: Steps to try, above 0, shape (steps,).
    """
    # A bin is as wide as fine steps are: look at four places in each.
    spread = 2.0 ** (np.array([-3, -1, 1, 3]) / 8 / 32)
    values = (magnitudes.values[:, None] * spread).reshape(-1)
    share = np.repeat(magnitudes.counts / max(magnitudes.counts.sum(), 1) / len(spread), 4)
    top = (1 << (bits - 1)) - 1
    index = np.minimum(np.floor(values / step[:, None]), top)
    error = values - (index + 0.5) * step[:, None]
    rounding: NDArray[np.float64] = (error**2) @ share
    return rounding + step**2 * bit_error


def choose_formats(
    magnitudes: Histogram, variances: NDArray[np.float64], bits_per_cell: float
) -> tuple[tuple[IndexFormat, ...], NDArray[np.float64], NDArray[np.float64]]:
    """Return the formats on the lower convex hull of distortion over cells.

    Args:
        magnitudes: Sizes of a tensor's weights.
        variances: Variance of each label bit given the reading, the most reliable first; see
            `bit_variances`.
        bits_per_cell: Protected bits in a cell.

    Returns:
        Formats, their cells per weight, rising, and the expected distortions, falling.
    """
    largest = float(magnitudes.values.max(initial=0.0))
    if largest <= 1e-30:
        return (IndexFormat(1, 0, 0.0),), np.array([1 / len(variances)]), np.zeros(1)
    options: list[tuple[float, float, IndexFormat]] = []
    # From a range of twice the largest weight, whose middle of the last step is that weight.
    scales = 2.0 ** (1 - np.arange(_OCTAVES * _PER_OCTAVE + 1) / _PER_OCTAVE)
    for bits in range(1, MOST_BITS + 1):
        steps = np.clip(largest * scales * 2.0 ** (1 - bits), 1e-30, 3e38)
        quantised = expected_distortion(magnitudes, bits, 0.0, steps)
        for protected in range(bits + 1):
            raw = bits - protected
            error = quantised + steps**2 * _raw_error(raw, variances)
            found = int(error.argmin())
            cells = protected / bits_per_cell + raw / len(variances)
            form = IndexFormat(bits, protected, ceiling(float(steps[found])))
            options.append((cells, float(error[found]), form))
    hull = _lower_hull(options)
    return (
        tuple(form for _, _, form in hull),
        np.array([cells for cells, _, _ in hull]),
        np.array([error for _, error, _ in hull]),
    )


def _raw_error(raw: int, variances: NDArray[np.float64]) -> float:
    """Return what raw bits add to a squared error, in squared steps.

    All weights' most significant raw bits come first and fill label bit after label bit.
    """
    if raw == 0:
        return 0.0
    ends = np.arange(1, raw + 1)[:, None]
    edges = np.arange(len(variances) + 1) * (raw / len(variances))
    shares = np.clip(np.minimum(ends, edges[1:]) - np.maximum(ends - 1, edges[:-1]), 0, None)
    return float(4.0 ** np.arange(raw - 1, -1, -1) @ (shares @ variances))


def _lower_hull(
    options: list[tuple[float, float, IndexFormat]],
) -> list[tuple[float, float, IndexFormat]]:
    """Return the options that a mixture of others does not beat, by rising cells."""
    hull: list[tuple[float, float, IndexFormat]] = []
    for option in sorted(options, key=lambda each: each[:2]):
        if hull and option[1] >= hull[-1][1]:
            continue
        while len(hull) > 1:
            (x0, y0, _), (x1, y1, _) = hull[-2:]
            if (y1 - y0) * (option[0] - x0) < (option[1] - y0) * (x1 - x0):
                break
            hull.pop()
        if hull and option[0] == hull[-1][0]:
            hull.pop()
        hull.append(option)
    return hull


def share_cells(curves: Sequence[Curve], budget: float) -> list[NDArray[np.int64]]:
    """Choose a format for each row of each tensor so that the expected loss is least.

    Every row climbs its tensor's convex curve from the cheapest format; cells go where they take
    most from the loss, until the next step no longer fits. Rows that gain equally are served
    evenly over all tensors.

    Args:
        curves: Tensors.
        budget: Cells to spend.

    Returns:
        Formats by tensor, shape (rows,) each.

    Example:
        >>> curve = Curve(np.array([1.0, 8.0]), 10, np.array([1.0, 1.5]), np.array([1.0, 0.25]))
        >>> [rows.tolist() for rows in share_cells([curve], 25.0)]
        [[0, 1]]
    """
    slopes, costs, places, groups, first = [], [], [], [], 0
    for curve in curves:
        rows, more = len(curve.importance), np.diff(curve.cells)
        slopes.append(np.outer(curve.importance, -np.diff(curve.distortion) / more).reshape(-1))
        costs.append(np.tile(more * curve.columns, rows))
        places.append(np.repeat((np.arange(rows) + 0.5) / rows, len(more)))
        groups.append(np.repeat(first + np.arange(rows), len(more)))
        first += rows
    slope = np.concatenate(slopes)
    order = np.lexsort((np.concatenate(places), -slope))
    order = order[slope[order] > 0]
    least = sum(len(c.importance) * c.columns * float(c.cells[0]) for c in curves)
    fits = np.cumsum(np.concatenate(costs)[order]) <= budget - least
    taken = np.bincount(np.concatenate(groups)[order[fits]], minlength=first)
    return np.split(taken, np.cumsum([len(curve.importance) for curve in curves])[:-1])


def _shared(setting: Setting, label_bits: int) -> tuple[dict[str, FixedLengthCode], float]:
    """Return codes with so many label bits in a cell, and their expected loss."""
    tensors, store = setting.matrices, setting.store
    variances = bit_variances(setting.channel, design_modulation(setting.channel, 1 << label_bits))
    formats, curves = [], []
    for s in tensors:
        each, cells, distortion = choose_formats(
            s.magnitudes.with_zeros(s.zeros), variances, store.bits_per_cell
        )
        formats.append(each)
        curves.append(Curve(s.importance, s.columns, cells, distortion))
    budget = setting.target - store.cells(setting.fixed_bytes)
    while True:
        chosen = share_cells(curves, budget)
        codes = {
            s.info.name: _code(label_bits, each, rows)
            for s, each, rows in zip(tensors, formats, chosen)
        }
        over = _cells(setting, codes) - setting.target
        if over <= 0 or not any(rows.any() for rows in chosen):
            break
        spent = sum(float(c.cells[rows].sum()) * c.columns for c, rows in zip(curves, chosen))
        budget = min(budget, spent) - max(over, 1)
    loss = sum(
        float(c.importance @ c.distortion[rows]) * c.columns for c, rows in zip(curves, chosen)
    )
    return codes, loss


def _code(
    label_bits: int, formats: tuple[IndexFormat, ...], rows: NDArray[np.int64]
) -> FixedLengthCode:
    """Return the code of a tensor with those formats that a row takes."""
    used, which = np.unique(rows, return_inverse=True)
    return FixedLengthCode(
        label_bits, tuple(formats[i] for i in used), which.reshape(-1).astype(np.uint8)
    )


def _cells(setting: Setting, codes: dict[str, FixedLengthCode]) -> int:
    return setting.cells(
        (len(encode_side(code)) + -(-code.protected_bits(s.columns) // 8), code.cells(s.columns))
        for s, code in ((s, codes[s.info.name]) for s in setting.matrices)
    )
