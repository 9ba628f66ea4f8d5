"""Steps of entropy-coded tensors that go through the feedback loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from softcell.allocate.layer import feedback_layer
from softcell.allocate.setting import Setting
from softcell.allocate.survey import TensorSurvey
from softcell.codes.entropy.code import EntropyCode
from softcell.codes.entropy.plan.curves import EntropyCurves, Quantiser, row_sizes, unit_steps
from softcell.codes.entropy.plan.factor import bits_to_spend, fit_factor
from softcell.curvature import Calibration
from softcell.feedback.layer import FeedbackLayer
from softcell.progress import Progress
from softcell.weights import Weights


def feedback_entropy_codes(setting: Setting, calibration: Calibration) -> dict[str, EntropyCode]:
    """Return the code of every matrix, quantised in the loop.

    Bits are shared by the matrices along their curves of loss against bits; a common factor is then
    found by quantising and coding the network until it fits the target.

    Args:
        setting: What has to be stored.
        calibration: Curvature of the layers.

    Raises:
        InfeasibleError: The target is less than what is stored besides the matrices.
    """
    if not setting.matrices:
        return {}
    curves = setting.curves or entropy_curves(
        setting.weights, setting.matrices, calibration, setting.quantiser, setting.progress
    )
    layers = curves.layers
    bits = bits_to_spend(setting)
    weights = sum(np.count_nonzero(row_sizes(x)) * x.weights.shape[1] for x in layers)
    start = _first_guess(layers, bits) + (0.8 if curves.quantiser.states > 1 else 0.0)
    for _ in range(2):
        spent = curves.bits([round(start, 1)] * len(layers))
        start += float(np.clip((spent - bits) / max(weights, 1) * 1.2, -2, 4))
    shares = curves.shared(start, bits)

    def codes_at(logarithm: float) -> dict[str, EntropyCode]:
        return {
            layer.name: curves.code(number, float(shares[number]) + logarithm)
            for number, layer in enumerate(layers)
        }

    return fit_factor(
        codes_at,
        lambda codes: _cells(setting, layers, codes),
        setting,
        first=0.0,
        weights=weights,
    )


def entropy_curves(
    weights: Weights,
    tensors: Sequence[TensorSurvey],
    calibration: Calibration,
    quantiser: Quantiser | None = None,
    progress: Progress | None = None,
) -> EntropyCurves:
    """Return the curves of a network's matrices, for several plans of it.

    Args:
        weights: The network's tensors.
        tensors: Those that are quantised.
        calibration: Curvature of the layers.
        quantiser: How weights are quantised.
        progress: Called after every matrix.
    """
    layers = [feedback_layer(weights, each, calibration) for each in tensors]
    return EntropyCurves(layers, quantiser or Quantiser(), progress)


def _first_guess(layers: Sequence[FeedbackLayer], bits: float) -> float:
    """A Gaussian of unit deviation quantised with step s takes about log2(4.13 / s) bits."""
    total, weights = 0.0, 0
    for layer in layers:
        sizes = row_sizes(layer)
        some = sizes > 0  # rows of zeros take next to nothing
        ratios = np.log2(sizes[some] / unit_steps(layer)[some])
        total += layer.weights.shape[1] * float(ratios.sum())
        weights += layer.weights.shape[1] * len(ratios)
    octaves: float = (total - bits) / max(weights, 1) + np.log2(4.13)
    return octaves


def _cells(
    setting: Setting, layers: Sequence[FeedbackLayer], codes: Mapping[str, EntropyCode]
) -> int:
    return setting.cells(
        (len(codes[layer.name].stream(codes[layer.name].quantised(layer))), 0) for layer in layers
    )
