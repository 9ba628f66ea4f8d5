"""Steps of entropy-coded tensors: one number decides them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.setting import Setting
from softcell.allocate.step_factor import bits_to_spend, fit_factor
from softcell.allocate.survey import Progress, TensorSurvey, as_rows, finite_weights
from softcell.codes.digital.entropy_coded import encode, encode_quantised
from softcell.codes.digital.trellis import Trellis


@dataclass(frozen=True, eq=False)
class EntropyCode:
    """How a tensor is quantised and entropy-coded.

    Args:
        step: Distance of reconstruction values: one for all, or one for each row, shape (rows,).
        states: States of the trellis; 1 for scalar quantisation.
        trade_off: Price of a bit, as `entropy_coded.encode` takes it; 0 is rounding.
        by_column: Columns are quantised one after the other, as the feedback loop does it, and
            `encode` takes what it made of them. By default a tensor is quantised when it is coded.
    """

    step: float | NDArray[np.float32]
    states: int = 8
    trade_off: float | None = None
    by_column: bool = False

    @property
    def trellis(self) -> Trellis:
        """The trellis that indices follow."""
        return Trellis(self.states, self.by_column)

    def encode(self, rows: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return a tensor's bytes; rows of shape (rows, columns), finite."""
        if self.by_column:
            data = encode_quantised(rows, self.row_steps(len(rows)), trellis=self.trellis)
        else:
            data = encode(rows, self.step, trellis=self.trellis, trade_off=self.trade_off)
        return np.frombuffer(data, np.uint8)

    def row_steps(self, rows: int) -> NDArray[np.float32]:
        """Return the step of each row, shape (rows,)."""
        return np.broadcast_to(np.asarray(self.step, np.float32), (rows,))


def entropy_codes(setting: Setting, progress: Progress | None = None) -> dict[str, EntropyCode]:
    """Return the code of every matrix.

    A uniform quantiser of step s errs by s^2 / 12, and at high rate one more bit costs every
    tensor the same share of its error: the least weighted distortion has steps in proportion to
    1 / sqrt(f), with f what the loss feels of a squared error in the tensor. The factor is found
    by coding the network until it fits the target.

    Raises:
        InfeasibleError: The target is less than what is stored besides the matrices.
    """
    tensors = setting.analog
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
        progress=progress,
    )


def _code(tensor: TensorSurvey, step: float) -> EntropyCode:
    """Return a tensor's code with a step that can be had, and finer than float32 is of no use."""
    finest = float(tensor.magnitudes.values.max()) * 2.0**-24
    return EntropyCode(float(np.clip(max(step, finest), 1e-30, 1e30)))


def _unit_step(tensor: TensorSurvey) -> float:
    felt = float(tensor.importance.mean())
    deviation = tensor.variance**0.5
    if felt <= 0 or deviation <= 0:
        return max(deviation, 1e-20) * 4
    return felt**-0.5


def _cells(setting: Setting, codes: Mapping[str, EntropyCode]) -> int:
    data = setting.fixed_bytes
    for tensor in setting.analog:
        rows = as_rows(finite_weights(setting.weights, tensor.info.name))
        data += len(codes[tensor.info.name].encode(rows))
    return setting.store.cells(data)
