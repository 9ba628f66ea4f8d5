"""Capacity and mutual information of a discrete memoryless channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from softcell.channel.blahut_arimoto import Evaluation, maximise
from softcell.errors import InputError

_NATS_PER_BIT = float(np.log(2.0))


@dataclass(frozen=True)
class Capacity:
    """The capacity of a channel, with its certificate.

    The true capacity lies in [bits, bits + gap_bits].

    Attributes:
        bits: Mutual information that `input_distribution` reaches, bits per use.
        input_distribution: Probability of each input, shape (L,), sums to 1.
        gap_bits: max_x D(p(y|x) || q) - I, what is missing at most, bits.
        iterations: Evaluations of the mutual information that it took.
    """

    bits: float
    input_distribution: np.ndarray
    gap_bits: float
    iterations: int

    def __post_init__(self) -> None:
        p = self.input_distribution
        if p.ndim != 1 or not (p >= 0).all() or abs(p.sum() - 1) > 1e-6:
            raise InputError("input_distribution: expected probabilities (L,) that sum to 1")
        if not (self.bits >= 0 and self.gap_bits >= 0):
            raise InputError(f"expected bits and gap >= 0, got {self.bits} and {self.gap_bits}")


def capacity(
    matrix: np.ndarray, *, tolerance_bits: float = 1e-4, max_iterations: int = 20_000
) -> Capacity:
    """Find the capacity of a channel by accelerated Blahut-Arimoto iteration.

    C = max_p I(p),  I(p) = sum_x p(x) D(p(y|x) || q),  q(y) = sum_x p(x) p(y|x)

    Args:
        matrix: Transition probabilities p(y|x), shape (L, R), rows sum to 1.
        tolerance_bits: Gap at which to stop, bits, at least 1e-10.
        max_iterations: Evaluations after which to stop in any case; then `gap_bits` is
            larger than the tolerance, and still a true bound.

    Returns:
        The capacity, the distribution that reaches it and the certified gap.

    Raises:
        InputError: The matrix is not a transition matrix, or the tolerance is too small.

    Example:
        >>> round(capacity(np.array([[0.9, 0.1], [0.1, 0.9]])).bits, 3)
        0.531

    Source:
        Arimoto, IEEE Trans. Inf. Theory 18, 14 (1972); Blahut, ibid. 460 (1972).
    """
    from scipy.special import xlogy

    rows = _transition_matrix(matrix)
    if not tolerance_bits >= 1e-10:
        raise InputError(f"tolerance_bits: expected at least 1e-10, got {tolerance_bits}")
    negative_entropy = xlogy(rows, rows).sum(axis=1)

    def information(p: np.ndarray) -> Evaluation:
        log_q = np.log(np.maximum(p @ rows, 1e-300))
        divergence = negative_entropy - rows @ log_q
        value = float(p @ divergence)
        return Evaluation(value, divergence, max(float(divergence.max()) - value, 0.0))

    inputs = rows.shape[0]
    found = maximise(
        information,
        np.full(inputs, 1.0 / inputs),
        tolerance=tolerance_bits * _NATS_PER_BIT,
        max_iterations=max_iterations,
    )
    return Capacity(
        bits=max(found.value, 0.0) / _NATS_PER_BIT,
        input_distribution=found.distribution,
        gap_bits=found.gap / _NATS_PER_BIT,
        iterations=found.iterations,
    )


def mutual_information(matrix: np.ndarray, input_distribution: np.ndarray) -> float:
    """Give the mutual information of a channel under an input distribution.

    I = sum_x p(x) sum_y p(y|x) log2(p(y|x) / q(y))

    Args:
        matrix: Transition probabilities p(y|x), shape (L, R), rows sum to 1.
        input_distribution: p(x), shape (L,), sums to 1.

    Returns:
        Bits per use of the channel, at least 0.

    Raises:
        InputError: The matrix or the distribution is not what it must be.

    Example:
        >>> mutual_information(np.eye(4), np.full(4, 0.25))
        2.0
    """
    from scipy.special import rel_entr

    rows = _transition_matrix(matrix)
    p = np.asarray(input_distribution, dtype=np.float64)
    if p.shape != rows.shape[:1] or not (p >= 0).all() or abs(p.sum() - 1) > 1e-6:
        raise InputError(
            f"input_distribution: expected {rows.shape[0]} probabilities that sum to 1,"
            f" got shape {p.shape} with sum {p.sum():.6g}"
        )
    # An unused input may reach readings of probability 0, where its divergence is infinite.
    rows, p = rows[p > 0], p[p > 0] / p.sum()
    divergence = rel_entr(rows, p @ rows).sum(axis=1)
    return max(float(p @ divergence), 0.0) / _NATS_PER_BIT


def _transition_matrix(matrix: np.ndarray) -> np.ndarray:
    rows = np.asarray(matrix, dtype=np.float64)
    if rows.ndim != 2 or rows.size == 0:
        raise InputError(f"matrix: expected shape (inputs, outputs), got {rows.shape}")
    if not (rows >= 0).all():
        raise InputError("matrix: expected probabilities >= 0, got a negative one or NaN")
    sums = rows.sum(axis=1)
    worst = int(np.abs(sums - 1).argmax())
    if not abs(sums[worst] - 1) <= 1e-6:
        raise InputError(
            f"matrix: expected rows that sum to 1, row {worst} sums to {sums[worst]:.6g};"
            " divide each row by its sum"
        )
    normalised: np.ndarray = rows / sums[:, None]
    return normalised
