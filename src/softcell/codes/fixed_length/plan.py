"""Which rows get fixed-length indices of how many bits, and how many of them are protected."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.curves import Curve
from softcell.allocate.fitting import fit
from softcell.allocate.setting import Setting
from softcell.allocate.sharing import share, steepest_first
from softcell.bfloat16 import ceiling
from softcell.codes.analog.value_range import Histogram
from softcell.codes.fixed_length.cells import bit_variances
from softcell.codes.fixed_length.code import MOST_BITS, FixedLengthCode, IndexFormat, encode_side
from softcell.codes.maps.lower_envelope import falling_hull
from softcell.codes.store.modulation import design_modulation

_LABEL_BITS = (3, 2, 1)
"""Most in a cell first: of equal losses the first counts."""

_PER_OCTAVE = 12
_OCTAVES = 9


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
    rounding: NDArray[np.float64] = (error**2 * share).sum(axis=1)
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
            taken = protected / bits_per_cell + raw / len(variances)
            form = IndexFormat(bits, protected, ceiling(float(steps[found])))
            options.append((taken, float(error[found]), form))
    cells, error = np.array([option[:2] for option in options]).T
    hull = falling_hull(cells, error)
    return tuple(options[i][2] for i in hull), cells[hull], error[hull]


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


def _shared(setting: Setting, label_bits: int) -> tuple[dict[str, FixedLengthCode], float]:
    """Return codes with so many label bits in a cell, and their expected loss.

    Every row climbs its tensor's curve from the cheapest format, until the next step no longer
    fits. Rows that gain equally are served evenly over all tensors.
    """
    tensors, store = setting.matrices, setting.store
    variances = bit_variances(setting.channel, design_modulation(setting.channel, 1 << label_bits))
    choices = [
        choose_formats(s.magnitudes.with_zeros(s.zeros), variances, store.bits_per_cell)
        for s in tensors
    ]
    curves = [
        Curve(
            np.outer(s.importance, -np.diff(distortion) / np.diff(cells)),
            np.diff(cells) * s.columns,
        )
        for s, (_, cells, distortion) in zip(tensors, choices)
    ]
    steps = steepest_first(curves, evenly=True)
    least = sum(s.rows * s.columns * float(cells[0]) for s, (_, cells, _) in zip(tensors, choices))

    def made_at(
        budget: float,
    ) -> tuple[tuple[dict[str, FixedLengthCode], list[NDArray[np.int64]]], float, float]:
        chosen = share(steps, budget - least, fill=False)
        codes = {
            s.info.name: _code(label_bits, formats, rows)
            for s, (formats, _, _), rows in zip(tensors, choices, chosen)
        }
        spent = sum(
            float(cells[rows].sum()) * s.columns
            for s, (_, cells, _), rows in zip(tensors, choices, chosen)
        )
        some = any(rows.any() for rows in chosen)
        return (codes, chosen), _cells(setting, codes) - setting.target, spent if some else 0.0

    codes, chosen = fit(made_at, setting.target - store.cells(setting.fixed_bytes))
    loss = sum(
        float((s.importance * distortion[rows]).sum()) * s.columns
        for s, (_, _, distortion), rows in zip(tensors, choices, chosen)
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
