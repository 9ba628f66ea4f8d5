"""A large network coded for real, matrix by matrix, its steps corrected until it fits its cells."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.setting import Setting
from softcell.allocate.survey import TensorSurvey
from softcell.codes.entropy.code import EntropyCode
from softcell.codes.entropy.stream import stored_steps
from softcell.errors import InfeasibleError
from softcell.weights.finite import as_rows, finite_weights

CLOSE = 0.002
"""This part of the bits may be left over; half of it is aimed at."""

_FARTHEST = 0.1
"""Octaves by which steps of a matrix go from those of the others, where that is enough."""

_ROUNDS = 20


@dataclass
class Coded:
    """A matrix and what is known of its bits.

    Args:
        tensor: The matrix.
        bits: Bits that are expected of it, or those that it took.
        slope: How many fewer they are at steps an octave coarser.
        octaves: By how much its steps are coarser than those that the search found.
        code: Its code, once it is coded.
    """

    tensor: TensorSurvey
    bits: float
    slope: float
    octaves: float = 0.0
    code: EntropyCode | None = None


def settled_codes(
    setting: Setting,
    code_at: Callable[[TensorSurvey, float], EntropyCode],
    expected: Sequence[Coded],
) -> dict[str, EntropyCode]:
    """Code all matrices, and return codes that fit the target.

    The largest come first. What they take beyond what was expected is made up for by those that
    follow. What is then amiss is mended by coding some once more, as few as will do.

    Args:
        setting: What has to be stored.
        code_at: Gives a matrix a code, with octaves by which its steps are coarser.
        expected: Every matrix with what is expected of it.

    Raises:
        InfeasibleError: No step is coarse enough.
    """
    matrices = sorted(expected, key=lambda each: -each.tensor.info.size)
    limit = 8 * _bytes_that_fit(setting)
    aim = (1 - CLOSE / 2) * limit

    def put(each: Coded, octaves: float) -> None:
        code, before = code_at(each.tensor, octaves), each.code
        each.octaves = octaves
        if before is not None and np.array_equal(_kept_step(code), _kept_step(before)):
            return
        each.code = code
        rows = as_rows(finite_weights(setting.weights, each.tensor.info.name))
        each.bits = 8.0 * len(code.stream(rows))

    spent, foreseen = 0.0, 0.0
    rest, slope = sum(each.bits for each in matrices), sum(each.slope for each in matrices)
    for done, each in enumerate(matrices, start=1):
        ratio = spent / foreseen if foreseen else 1.0
        octaves = (spent + ratio * rest - aim) / max(ratio * slope, 1e-9)
        octaves = float(np.clip(octaves, -_FARTHEST, _FARTHEST))
        rest, slope = rest - each.bits, slope - each.slope
        foreseen += max(each.bits - octaves * each.slope, 0.0)
        put(each, octaves)
        spent += each.bits
        if setting.progress:
            setting.progress("codes", done, len(matrices))
    for _ in range(_ROUNDS):
        before = sum(each.bits for each in matrices)
        over = before - aim
        if abs(over) <= limit - aim:
            break
        again = _enough(matrices, abs(over) / _FARTHEST)
        move = float(np.clip(over / max(sum(each.slope for each in again), 1e-9), -1, 1))
        kept = [dict(vars(each)) for each in again]
        for each in again:
            bits = each.bits
            put(each, each.octaves + move)
            # Steps are rounded: a small move may change nothing, and the next goes further.
            each.slope = max((bits - each.bits) / move, each.slope / 2 if bits == each.bits else 0)
        if over < 0 and sum(each.bits for each in matrices) > limit:
            for each, values in zip(again, kept):
                vars(each).update(values)
            break
    if sum(each.bits for each in matrices) > limit:
        raise InfeasibleError("no step brings the network into so few cells; ask for more")
    return {each.tensor.info.name: each.code for each in matrices if each.code is not None}


def _kept_step(code: EntropyCode) -> NDArray[np.float32]:
    return stored_steps(np.atleast_1d(code.step))


def _enough(matrices: Sequence[Coded], slope: float) -> Sequence[Coded]:
    """Return the smallest matrix with so much slope, or as many of the largest as have it."""
    alone = [each for each in matrices if each.slope >= slope]
    if alone:
        return alone[-1:]
    together = np.cumsum([each.slope for each in matrices])
    return matrices[: int(np.searchsorted(together, slope)) + 1]


def _bytes_that_fit(setting: Setting) -> int:
    """Return the bytes of matrices that fit beside all else."""
    most = int(setting.target * setting.store.bits_per_cell / 8) + 1
    found = bisect_right(range(most), setting.target, key=lambda n: setting.cells([(n, 0)]))
    return max(found - 1, 0)
