"""Steps of entropy-coded tensors that go through the feedback loop."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.entropy import EntropyCode
from softcell.allocate.feedback_layer import FeedbackLayer, feedback_layer
from softcell.allocate.setting import Setting
from softcell.allocate.survey import Progress
from softcell.codes.digital.entropy_coded import stored_steps
from softcell.curvature import Calibration
from softcell.errors import InfeasibleError

_ROUNDS = 12
_CLOSE = 0.002
"""A plan may leave this part of its target unused."""

_COARSEST = 8.0
"""Largest step, in root mean squares of a tensor's largest row: all is zero from there on."""

_FINEST = 2.0**-16
"""Smallest step of a row, in root mean squares of its weights."""

_SPAN = 2.0**-60
"""Smallest step of a row, in largest ones of its tensor: a stream keeps 64 octaves."""


def feedback_entropy_codes(
    setting: Setting, calibration: Calibration, progress: Progress | None = None
) -> dict[str, EntropyCode]:
    """Return the code of every matrix, quantised in the loop.

    A row of which the loss feels f of a squared error has a step in proportion to 1 / sqrt(f). The
    common factor is found by quantising and coding the network
    until it fits the target.

    Raises:
        InfeasibleError: The target is less than what is stored besides the matrices.
    """
    tensors = setting.analog
    layers = [feedback_layer(setting.weights, s, calibration) for s in tensors]
    room = setting.target - setting.store.cells(setting.fixed_bytes)
    if tensors and room <= 0:
        least = setting.store.cells(setting.fixed_bytes) / setting.target * setting.cells_per_weight
        raise InfeasibleError(
            f"vectors and integers alone take {least:.3f} cells per weight; ask for more than that"
        )
    weights = sum(np.count_nonzero(_sizes(x)) * x.weights.shape[1] for x in layers)
    best: dict[str, EntropyCode] = {}
    unused, same_side, before = np.inf, 0, 0.0
    low, high, log_factor = (
        -np.inf,
        np.inf,
        _first_guess(layers, room * setting.store.bits_per_cell),
    )
    for done in range(_ROUNDS):
        codes = {layer.name: _code(layer, 2.0**log_factor) for layer in layers}
        over = _cells(setting, layers, codes) - setting.target
        if progress:
            progress("steps", done + 1, _ROUNDS)
        if over <= 0:
            high = log_factor
            if -over < unused:
                best, unused = codes, -over
            if over > -_CLOSE * setting.target:
                break
        else:
            low = log_factor
        # One more bit of step is about one bit less of each weight, and less where most are zero.
        same_side, before = (same_side + 1 if over * before > 0 else 0), over
        move = over * setting.store.bits_per_cell / max(weights, 1) * 1.2 * 1.5**same_side
        log_factor += float(np.clip(move, -2.0, 4.0)) + (1e-3 if over > 0 else 0.0)
        if np.isfinite(low) and (log_factor <= low or log_factor >= high):
            log_factor = (low + high) / 2 if np.isfinite(high) else low + 0.5
    if tensors and not best:
        raise InfeasibleError("no step brings the network into so few cells; ask for more")
    return best


def _first_guess(layers: list[FeedbackLayer], bits: float) -> float:
    """A Gaussian of unit deviation quantised with step s takes about log2(4.13 / s) bits."""
    total, weights = 0.0, 0
    for layer in layers:
        sizes = _sizes(layer)
        some = sizes > 0  # rows of zeros take next to nothing
        ratios = np.log2(sizes[some] / _unit_steps(layer)[some])
        total += layer.weights.shape[1] * float(ratios.sum())
        weights += layer.weights.shape[1] * len(ratios)
    return (total - bits) / max(weights, 1) + np.log2(4.13)


def _sizes(layer: FeedbackLayer) -> NDArray[np.float64]:
    return np.sqrt(np.square(layer.weights, dtype=np.float64).mean(axis=1))


def _unit_steps(layer: FeedbackLayer) -> NDArray[np.float64]:
    typical = max(float(layer.felt.mean()), 1e-280)
    # A row that the loss does not feel is still felt a little: the estimate is no certainty.
    return np.maximum(layer.felt, 1e-4 * typical) ** -0.5


def _code(layer: FeedbackLayer, factor: float) -> EntropyCode:
    sizes = _sizes(layer)
    steps = np.clip(factor * _unit_steps(layer), _FINEST * sizes, _COARSEST * sizes.max())
    steps = np.clip(np.maximum(steps, _SPAN * steps.max()), 1e-30, 1e30)
    return EntropyCode(stored_steps(steps), states=1, trade_off=0.0)


def _cells(setting: Setting, layers: list[FeedbackLayer], codes: Mapping[str, EntropyCode]) -> int:
    data = setting.fixed_bytes
    for layer in layers:
        code = codes[layer.name]
        seen = layer.rounded(code.row_steps(len(layer.weights)))
        data += len(code.encode(seen))
    return setting.store.cells(data)
