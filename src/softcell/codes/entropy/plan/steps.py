"""Steps of entropy-coded tensors: one number decides them all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from softcell.allocate.setting import Setting
from softcell.allocate.survey import TensorSurvey
from softcell.codes.entropy.code import EntropyCode
from softcell.codes.entropy.plan.factor import bits_to_spend, fit_factor
from softcell.weights.finite import as_rows, finite_weights


def entropy_codes(setting: Setting) -> dict[str, EntropyCode]:
    """Return the code of every matrix.

    A uniform quantiser of step s errs by s^2 / 12, and at high rate one more bit costs every
    tensor the same share of its error: the least weighted distortion has steps in proportion to
    1 / sqrt(f), with f what the loss feels of a squared error in the tensor. The factor is found
    by coding the network until it fits the target.

    Raises:
        InfeasibleError: The target is less than what is stored besides the matrices.
    """
    tensors = setting.matrices
    if not tensors:
        return {}
    unit = {s.info.name: _unit_step(s) for s in tensors}
    weights = sum(s.info.size for s in tensors)
    bits = bits_to_spend(setting) / weights
    # A Gaussian of unit deviation quantised with step s takes about log2(4.13 / s) bits.
    relative = np.average(
        [np.log2(max(s.variance, 1e-60) ** 0.5 / unit[s.info.name]) for s in tensors],
        weights=[s.info.size for s in tensors],
    )

    def codes_at(logarithm: float) -> dict[str, EntropyCode]:
        return {s.info.name: _code(s, 2**logarithm * unit[s.info.name]) for s in tensors}

    return fit_factor(
        codes_at,
        lambda codes: _cells(setting, codes),
        setting,
        first=float(relative) + np.log2(4.13) - bits,
        weights=weights,
    )


def _code(tensor: TensorSurvey, step: float) -> EntropyCode:
    """Return a tensor's code with a step that can be had, and finer than float32 is of no use."""
    finest = float(tensor.magnitudes.values.max()) * 2.0**-24
    return EntropyCode(float(np.clip(max(step, finest), 1e-30, 1e30)))


def _unit_step(tensor: TensorSurvey) -> float:
    felt = float(tensor.importance.mean())
    deviation: float = tensor.variance**0.5
    if felt <= 0 or deviation <= 0:
        return max(deviation, 1e-20) * 4
    step: float = felt**-0.5
    return step


def _cells(setting: Setting, codes: Mapping[str, EntropyCode]) -> int:
    return setting.cells(
        (len(codes[name].stream(as_rows(finite_weights(setting.weights, name)))), 0)
        for name in (tensor.info.name for tensor in setting.matrices)
    )
