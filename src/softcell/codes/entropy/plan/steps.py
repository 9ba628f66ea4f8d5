"""Steps of entropy-coded tensors: one number decides them all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from softcell.allocate.setting import Setting
from softcell.allocate.survey import TensorSurvey
from softcell.codes.entropy.code import EntropyCode
from softcell.codes.entropy.plan.factor import bits_to_spend, fit_factor
from softcell.codes.entropy.plan.settle import Coded, settled_codes
from softcell.codes.entropy.plan.strata import STREAM, strata
from softcell.weights.finite import as_rows, finite_weights

_WHOLE = 1 << 22
"""Most weights that are coded at every step of the search, with `STREAM` more for each matrix."""

_ASIDE = 0.25
"""Octaves between steps at which samples are coded to see how their bits fall."""


def entropy_codes(setting: Setting) -> dict[str, EntropyCode]:
    """Return the code of every matrix.

    A uniform quantiser of step s errs by s^2 / 12, and at high rate one more bit costs every
    tensor the same share of its error: the least weighted distortion has steps in proportion to
    1 / sqrt(f), with f what the loss feels of a squared error in the tensor. The factor is found
    by coding the network until it fits the target; of a large network, samples. That is then coded
    once, and plans keep what came of it.

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
    first = float(relative) + np.log2(4.13) - bits

    def code(tensor: TensorSurvey, logarithm: float) -> EntropyCode:
        return _code(tensor, 2**logarithm * unit[tensor.info.name])

    if weights + STREAM * len(tensors) <= _WHOLE:
        return fit_factor(
            lambda logarithm: {s.info.name: code(s, logarithm) for s in tensors},
            lambda codes: _cells(setting, codes),
            setting,
            first=first,
            weights=weights,
        )
    parts = strata(setting.weights, tensors, lambda s: code(s, first))

    def rates(logarithm: float) -> list[float]:
        return [part.bits_per_weight(code(part.typical, logarithm)) for part in parts]

    def cells(logarithm: float) -> int:
        bits = sum(rate * part.weights for rate, part in zip(rates(logarithm), parts))
        return setting.cells([(round(bits / 8), 0)])

    at = fit_factor(
        lambda logarithm: logarithm,
        cells,
        setting,
        first=first,
        weights=weights,
    )
    expected = [
        Coded(s, rate * s.info.size, max(rate - coarser, 0.0) / _ASIDE * s.info.size)
        for part, rate, coarser in zip(parts, rates(at), rates(at + _ASIDE))
        for s in part.tensors
    ]
    return settled_codes(setting, lambda s, octaves: code(s, at + octaves), expected)


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
