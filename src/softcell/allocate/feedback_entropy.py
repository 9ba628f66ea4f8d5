"""Steps of entropy-coded tensors that go through the feedback loop."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.entropy import EntropyCode
from softcell.allocate.feedback_layer import FeedbackLayer, feedback_layer
from softcell.allocate.setting import Setting
from softcell.allocate.step_factor import bits_to_spend, fit_factor
from softcell.allocate.survey import Progress
from softcell.codes.digital.entropy_coded import stored_steps
from softcell.curvature import Calibration

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
    common factor is found by quantising and coding the network until it fits the target.

    Raises:
        InfeasibleError: The target is less than what is stored besides the matrices.
    """
    tensors = setting.analog
    layers = [feedback_layer(setting.weights, s, calibration) for s in tensors]
    if not layers:
        return {}
    bits = bits_to_spend(setting)
    return fit_factor(
        lambda logarithm: {layer.name: _code(layer, 2.0**logarithm) for layer in layers},
        lambda codes: _cells(setting, layers, codes),
        setting,
        first=_first_guess(layers, bits),
        weights=sum(np.count_nonzero(_sizes(x)) * x.weights.shape[1] for x in layers),
        progress=progress,
    )


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
