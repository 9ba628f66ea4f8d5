"""The step at which a matrix of weights takes a wanted number of bits, or has a wanted error."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softcell.codes.entropy.quantise import PASSES
from softcell.codes.entropy.stream import SCALAR, decode, encode
from softcell.codes.entropy.trellis import Trellis
from softcell.errors import InfeasibleError, InputError

# Steps are bfloat16: neighbours are up to 1 / 128 apart.
_RESOLUTION = math.log2(1 + 1 / 256)
_TRIALS = 24


def step_for_bits(
    weights: NDArray[np.float32],
    bits: float,
    *,
    importance: ArrayLike | None = None,
    trade_off: float | None = None,
    trellis: Trellis = SCALAR,
    passes: int = PASSES,
) -> float:
    """Find the smallest step at which the stream takes no more than so many bits per weight.

    The stream is really made at each trial, so all side information counts. Its length need not
    fall at every single step; of those tried, the smallest is returned that suffices.

    Args:
        weights: Finite, shape (rows, columns).
        bits: Bits per weight of the whole stream, above 0.
        importance: As for `stream.encode`.
        trade_off: As for `stream.encode`.
        trellis: As for `stream.encode`.
        passes: As for `stream.encode`.

    Returns:
        The step, to within a bfloat16's resolution.

    Raises:
        InputError: Bits are not above 0.
        InfeasibleError: Even a stream of zeros takes more.

    Example:
        >>> weights = np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32)
        >>> step = step_for_bits(weights, 3.0)
        >>> 2.9 < 8 * len(encode(weights, step)) / weights.size <= 3.0
        True
    """
    if not (math.isfinite(bits) and bits > 0):
        raise InputError(f"step_for_bits: expected bits above 0, not {bits}")
    weights = np.asarray(weights, np.float32)

    def excess(step: float) -> float:
        stream = encode(
            weights,
            step,
            importance=importance,
            trade_off=trade_off,
            trellis=trellis,
            passes=passes,
        )
        return 8 * len(stream) / max(weights.size, 1) - bits

    return _search(excess, weights, start=-bits + 2)


def step_for_distortion(
    weights: NDArray[np.float32],
    distortion: float,
    *,
    importance: ArrayLike | None = None,
    trade_off: float | None = None,
    trellis: Trellis = SCALAR,
    passes: int = PASSES,
) -> float:
    """Find about the largest step at which the mean of importance * error^2 is no more than this.

    Args:
        weights: Finite, shape (rows, columns).
        distortion: Mean of importance * squared error, above 0.
        importance: As for `stream.encode`.
        trade_off: As for `stream.encode`.
        trellis: As for `stream.encode`.
        passes: As for `stream.encode`.

    Returns:
        The step, to within a bfloat16's resolution.

    Raises:
        InputError: The distortion is not above 0.
        InfeasibleError: No step that can be stored brings it so low.

    Example:
        >>> weights = np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32)
        >>> step = step_for_distortion(weights, 0.01)
        >>> error = decode(encode(weights, step), weights.shape) - weights
        >>> 0.0095 < float((error**2).mean()) <= 0.01
        True
    """
    if not (math.isfinite(distortion) and distortion > 0):
        raise InputError(f"step_for_distortion: expected a distortion above 0, not {distortion}")
    weights = np.asarray(weights, np.float32)
    scale = np.float64(1) if importance is None else np.asarray(importance, np.float64)

    def shortfall(step: float) -> float:
        stream = encode(
            weights,
            step,
            importance=importance,
            trade_off=trade_off,
            trellis=trellis,
            passes=passes,
        )
        error = decode(stream, weights.shape).astype(np.float64) - weights
        return 1 - float((scale * error * error).mean()) / distortion

    sigma = _spread(weights)
    start = math.log2(math.sqrt(12 * distortion / max(float(scale.mean()), 1e-300)) / sigma)
    return _search(lambda step: -shortfall(step), weights, start=start, rising=True)


def _spread(weights: NDArray[np.float32]) -> float:
    """Return the root mean square of the weights, 1 if they are all zero."""
    power = float(np.square(weights, dtype=np.float64).sum()) / max(weights.size, 1)
    return math.sqrt(power) or 1.0


def _search(
    excess: Callable[[float], float],
    weights: NDArray[np.float32],
    *,
    start: float,
    rising: bool = False,
) -> float:
    """Bisect the logarithm of the step, from ``start`` octaves above the weights' spread.

    ``excess`` at most 0 is good. It falls with the step, or rises if ``rising``; the good end
    nearest to the change is returned.
    """
    sigma = _spread(weights)
    towards_good = -1.0 if rising else 1.0
    at = min(max(start, -24.0), 24.0)
    good = bad = math.nan
    stride = 0.5
    for _ in range(_TRIALS):
        if excess(sigma * 2.0**at) <= 0:
            good = at
        else:
            bad = at
        if math.isnan(good) or math.isnan(bad):
            at += (towards_good if math.isnan(good) else -towards_good) * stride
            at = min(max(at, -28.0), 28.0)
            stride *= 1.6
        elif abs(good - bad) <= _RESOLUTION:
            break
        else:
            at = (good + bad) / 2
    if math.isnan(good):
        raise InfeasibleError(
            "no step from 2^-28 to 2^28 times the weights' spread reaches what was asked for; "
            "allow more bits or more distortion"
        )
    step: float = sigma * 2.0**good
    return step
