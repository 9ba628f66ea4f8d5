"""What a calibration promises of the feedback loop, beside what other inputs say of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from softcell.curvature import Calibration, LayerCurvature
from softcell.feedback.factor import FeedbackFactor, factorise
from softcell.feedback.layer import second_order
from softcell.network.divergence import output_divergence
from softcell.records import values_of
from softcell.streams import Stream
from softcell.weights.finite import as_rows

if TYPE_CHECKING:
    from torch import Tensor, nn

NOISE = 0.2
"""Error of a weight as it is stored, relative to its row's root mean square: about one cell's."""


@dataclass(frozen=True)
class CalibrationCheck:
    """What errors of weights do with the feedback loop and without.

    Args:
        matrices: For each matrix what feedback leaves of its outputs' square error: as the
            curvature predicts it, and on inputs that were held out. Below 1 it helps.
        predicted: Divergence in nats that the curvature predicts with feedback; None without
            Fisher information.
        closed: Divergence measured with feedback, on inputs that were held out; None if it cannot
            be measured.
        open: Likewise without feedback.
    """

    matrices: Mapping[str, tuple[float, float]]
    predicted: float | None
    closed: float | None
    open: float | None

    @property
    def surprise(self) -> float | None:
        """The divergence with feedback over the predicted one; None if it is not known."""
        if not self.predicted or self.closed is None or not np.isfinite(self.closed):
            return None
        return self.closed / self.predicted

    def values(self) -> dict[str, Any]:
        """Return plain values; what is not finite is None."""
        values = values_of(self) | {"surprise": self.surprise}
        for name in ("closed", "open"):
            if values[name] is not None and not np.isfinite(values[name]):
                values[name] = None
        return values

    @property
    def usual(self) -> tuple[float, float]:
        """Both for the median matrix."""
        predicted, measured = np.median(list(self.matrices.values()), axis=0)
        return float(predicted), float(measured)

    @property
    def harmful(self) -> tuple[str, ...]:
        """Matrices that are better off without feedback."""
        return tuple(name for name, (_, measured) in self.matrices.items() if measured > 1)


def tried_calibration(
    module: nn.Module, calibration: Calibration, held: Tensor
) -> tuple[Calibration, CalibrationCheck]:
    """Return a calibration that knows how far it was off, and what was found."""
    check = check_calibration(module, calibration, held)
    return replace(calibration, surprise=check.surprise), check


def check_calibration(
    module: nn.Module, calibration: Calibration, held: Tensor, *, seed: int = 0
) -> CalibrationCheck:
    """Try a calibration on a network whose weights err at random, on inputs that it has not seen.

    Errors are normal, of a fifth of their row's root mean square as each column is stored; with
    feedback later columns absorb them.

    Args:
        module: The network; it is left as it was found.
        calibration: What was learnt of it.
        held: Inputs that it was not learnt on.
        seed: Seed of the errors.
    """
    # A tensor of several names is looked at once.
    state = {name: tensor.detach().float().cpu() for name, tensor in module.named_parameters()}
    state |= {name: tensor.detach().cpu() for name, tensor in module.named_buffers()}
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    noisy: list[dict[str, NDArray[Any]]] = [dict(arrays), dict(arrays)]
    found, predicted = {}, 0.0
    for name in arrays:
        curvature = calibration.curvature(name)
        if curvature is None:
            continue
        weights = as_rows(arrays[name])
        if curvature.rows.size != len(weights):  # it is cut into blocks
            continue
        stream = Stream.of(seed, f"calibration check/{name}")
        size = NOISE * np.sqrt(np.square(weights).mean(axis=1, keepdims=True))
        apart = size * stream.normal(weights.size).astype(np.float32).reshape(weights.shape)
        left = _absorbed(apart, factorise(curvature.covariance))
        predicted += second_order(curvature, left, np.zeros_like(left))
        for errors, each in zip((left, apart), noisy):
            each[name] = (weights + errors).reshape(arrays[name].shape)
        check = None if calibration.held is None else calibration.held.check.get(name)
        if check is not None and check.rows.size == len(weights):
            found[name] = _part(curvature, left, apart), _part(check, left, apart)
    measure = output_divergence(module, held)
    closed, open_ = (None if measure is None else measure(each) for each in noisy)
    return CalibrationCheck(
        found, predicted if calibration.kind == "fisher" else None, closed, open_
    )


def _absorbed(apart: NDArray[np.float32], factor: FeedbackFactor) -> NDArray[np.float32]:
    """Return what is left of errors that columns are stored with: E (I + U) = Z."""
    from scipy.linalg import solve_triangular

    parts = apart[:, factor.order].reshape(factor.groups, -1, factor.columns)
    unit = np.eye(factor.columns, dtype=np.float32)
    left = [
        solve_triangular((unit + u).T, z.T, lower=True, unit_diagonal=True).T
        for u, z in zip(factor.coefficients, parts)
    ]
    result = np.empty_like(apart)
    result[:, factor.order] = np.concatenate(left)
    return result


def _part(
    curvature: LayerCurvature, left: NDArray[np.float32], apart: NDArray[np.float32]
) -> float:
    none = np.zeros_like(apart)
    whole = second_order(curvature, none, apart)
    return second_order(curvature, none, left) / whole if whole > 0 else 1.0
