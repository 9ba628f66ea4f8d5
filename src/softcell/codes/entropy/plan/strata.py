"""Bits of a large network at any step, judged by samples of its matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.survey import TensorSurvey
from softcell.codes.entropy.code import EntropyCode
from softcell.codes.entropy.sample import sample
from softcell.weights import Weights
from softcell.weights.finite import as_rows, finite_weights

STREAM = 1 << 11
"""Weights that take as long to code as a stream takes by itself."""

_STRATA = 64
"""Most matrices that are sampled, about,"""
_SAMPLE = 1 << 22
"""and weights of them all,"""
_SHARE = 1 / 32
"""not more than this part of the network, yet"""
_LEAST = 1 << 14
"""so many of each."""


@dataclass(frozen=True, eq=False)
class Stratum:
    """Matrices that need about as many bits for a weight, and what is coded in their place.

    Args:
        tensors: The matrices.
        typical: The one that is sampled.
        part: Its sample, shape (rows, columns).
    """

    tensors: tuple[TensorSurvey, ...]
    typical: TensorSurvey
    part: NDArray[np.float32] = field(repr=False)

    @property
    def weights(self) -> int:
        """Number of weights of the matrices."""
        return sum(tensor.info.size for tensor in self.tensors)

    def bits_per_weight(self, code: EntropyCode) -> float:
        """Return about how many bits a weight takes in a code of the typical matrix."""
        weights = self.typical.info.size
        return 8 * code.expected_bytes(self.part, weights) / weights


def strata(
    weights: Weights, tensors: Sequence[TensorSurvey], code: Callable[[TensorSurvey], EntropyCode]
) -> list[Stratum]:
    """Sort matrices by the bits that their weights need, and sample one of every few.

    Args:
        weights: The network's tensors.
        tensors: The matrices.
        code: Gives a matrix a code, the steps of all in the proportion that they will have.
    """
    needed = [entropy(each, float(np.max(code(each).step))) for each in tensors]
    order = np.argsort(needed, kind="stable")
    work = np.array([tensors[at].info.size + STREAM for at in order], np.float64)
    middle = np.cumsum(work) - work / 2
    number = (middle * (_STRATA / work.sum())).astype(np.int64)
    most, found = min(_SAMPLE, _SHARE * work.sum()), []
    for each in np.split(np.arange(len(order)), np.flatnonzero(np.diff(number)) + 1):
        typical = tensors[order[each[np.searchsorted(middle[each], middle[each].mean())]]]
        share = work[each].sum() / work.sum()
        rows = as_rows(finite_weights(weights, typical.info.name))
        part = sample(rows, max(round(share * most), _LEAST)).of(rows)
        found.append(Stratum(tuple(tensors[at] for at in order[each]), typical, part))
    return found


def entropy(tensor: TensorSurvey, step: float) -> float:
    """Return the first-order entropy of a matrix's nearest indices, in bits for a weight.

    Args:
        tensor: The matrix.
        step: Distance of reconstruction values.
    """
    index = np.rint(tensor.magnitudes.values / step)
    _, place = np.unique(index, return_inverse=True)
    counts = np.bincount(place, tensor.magnitudes.counts)
    zeros = float(counts[0]) if index[0] == 0 else 0.0
    large = tensor.info.size - zeros - tensor.zeros
    shares = np.append(counts[1:] if index[0] == 0 else counts, zeros + tensor.zeros)
    shares = shares[shares > 0] / tensor.info.size
    return float(-(shares * np.log2(shares)).sum()) + large / tensor.info.size  # and its sign
