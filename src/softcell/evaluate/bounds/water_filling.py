"""The least bits for a whole network: reverse water-filling over its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from softcell.errors import InfeasibleError, InputError
from softcell.evaluate.bounds.curve import RateDistortion
from softcell.evaluate.bounds.tensor import empirical_curve


@dataclass(frozen=True)
class TensorSource:
    """One tensor as a source of independent weights.

    Attributes:
        count: Number of weights n, at least 1.
        curve: Rate-distortion curve of the weights at unit variance.
        variance: Variance of the weights, >= 0.
        sensitivity: Loss per squared error of one weight f, >= 0; any unit, the same for all.
    """

    count: int
    curve: RateDistortion
    variance: float
    sensitivity: float

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"count: expected at least 1 weight, got {self.count}")
        for name in ("variance", "sensitivity"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"{name}: expected a finite number >= 0, got {value}")


@dataclass(frozen=True)
class ModelBound:
    """What a network's weights need at least, as one curve.

    min sum_t n_t R_t(D_t)  subject to  sum_t n_t f_t D_t <= D

    At the optimum every tensor has the slope dR_t/dD_t = -lambda f_t. As all curves are
    chords, the chords of all tensors sorted by bits per weighted distortion are the answer
    for every D at once.

    Attributes:
        sources: The tensors of the network.
        curve: Total bits against total weighted distortion (not per weight).

    Example:
        >>> from softcell.evaluate.bounds.curve import gaussian_curve
        >>> loud = TensorSource(10, gaussian_curve(), variance=4.0, sensitivity=1.0)
        >>> quiet = TensorSource(10, gaussian_curve(), variance=1.0, sensitivity=1.0)
        >>> round(least_bits(ModelBound((loud, quiet)), 20.0), 2)  # both at distortion 1
        10.0

    Source:
        Cover and Thomas, Elements of Information Theory, 2nd ed., section 10.3.3.
    """

    sources: tuple[TensorSource, ...]
    curve: RateDistortion = field(init=False)

    def __post_init__(self) -> None:
        if not self.sources:
            raise InputError("sources: expected at least one tensor")
        object.__setattr__(self, "curve", _water_fill(self.sources))


def tensor_source(weights: np.ndarray, sensitivity: float = 1.0) -> TensorSource:
    """Describe a tensor by its empirical curve.

    Args:
        weights: Weights, any shape, finite, not empty.
        sensitivity: Loss per squared error of one weight, >= 0.

    Returns:
        The tensor as a source.

    Raises:
        InputError: The weights are empty or not finite, or the sensitivity is negative.
    """
    curve = empirical_curve(weights)
    variance = float(np.var(np.asarray(weights), dtype=np.float64))
    return TensorSource(np.asarray(weights).size, curve, variance, sensitivity)


def least_bits(model: ModelBound, weighted_distortion: float) -> float:
    """Give the fewest bits for all weights together within a weighted distortion.

    Args:
        model: The network.
        weighted_distortion: sum over all weights of f (w - w')^2, >= 0. Below the rounding
            error of the weights' own number format, the bits are those at that error.

    Returns:
        Total bits; 0 if the distortion is as large as with every weight at its mean.

    Raises:
        InputError: The distortion is negative or not a number.
    """
    if not weighted_distortion >= 0:
        raise InputError(f"weighted_distortion: expected >= 0, got {weighted_distortion}")
    return model.curve.rate_at(weighted_distortion)


def least_distortion(model: ModelBound, total_bits: float) -> float:
    """Give the least weighted distortion that a number of bits allows.

    Args:
        model: The network.
        total_bits: Bits for all weights together, >= 0.

    Returns:
        sum over all weights of f (w - w')^2.

    Raises:
        InputError: The number of bits is negative or not a number.
    """
    if not total_bits >= 0:
        raise InputError(f"total_bits: expected >= 0, got {total_bits}")
    return model.curve.distortion_at(total_bits)


def least_cells_per_weight(
    model: ModelBound, weighted_distortion: float, capacity_bits: float, weights_total: int
) -> float:
    """Give the Shannon limit R(D) / C in cells per weight.

    Args:
        model: The network.
        weighted_distortion: sum over all weights of f (w - w')^2, >= 0.
        capacity_bits: Capacity of a cell, bits, > 0.
        weights_total: Weights of the original network, pruned ones included, >= 1.

    Returns:
        Cells per weight that no code and no compressor can undercut at that distortion.

    Raises:
        InputError: An argument is out of range.
        InfeasibleError: The cells have no capacity.
    """
    if weights_total < 1:
        raise InputError(f"weights_total: expected at least 1, got {weights_total}")
    if not capacity_bits > 0:
        raise InfeasibleError(
            f"capacity_bits: expected > 0, got {capacity_bits}; such a cell stores nothing"
        )
    return least_bits(model, weighted_distortion) / (capacity_bits * weights_total)


def _water_fill(sources: Sequence[TensorSource]) -> RateDistortion:
    """Merge the chords of all tensors in the order of their slopes."""
    bits, distortion = [], []
    rest = 0.0
    for source in sources:
        unit = source.count * source.sensitivity * source.variance
        if unit > 0:
            bits.append(source.count * np.diff(source.curve.rate_bits))
            distortion.append(-unit * np.diff(source.curve.distortion))
            rest += unit * float(source.curve.distortion[-1])
    if not bits:
        return RateDistortion(np.zeros(1), np.zeros(1))
    gained, cost = np.concatenate(distortion), np.concatenate(bits)
    order = np.argsort(-gained / cost, kind="stable")
    # Summed from the small end, so that the last of 16 digits still count.
    remaining = rest + np.cumsum(gained[order][::-1])[::-1]
    return RateDistortion(
        np.concatenate(([0.0], np.cumsum(cost[order]))), np.append(remaining, rest)
    )
