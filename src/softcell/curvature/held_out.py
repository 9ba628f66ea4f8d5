"""Inputs that a calibration has not seen: what its curvature is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from softcell.curvature.layer import LayerCurvature
from softcell.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

FEWEST = 4
"""Inputs that are held out at least."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Second moments of the layers' inputs, over inputs that the calibration has not seen.

    An error E of a matrix changes its outputs by tr(E H E^T), H the moments.

    Args:
        check: Moments over one half of these inputs, by matrix: what errors are measured by.
        fit: Over the other half: what the feedback loop may go by instead.
        inputs: Number of inputs of both halves, >= 2.

    Raises:
        InputError: There are fewer inputs.
    """

    check: Mapping[str, LayerCurvature] = field(repr=False)
    fit: Mapping[str, LayerCurvature] = field(repr=False)
    inputs: int

    def __post_init__(self) -> None:
        if self.inputs < 2:
            raise InputError(f"expected at least 2 inputs that are held out, got {self.inputs}")

    @classmethod
    def of(cls, module: nn.Module, inputs: Tensor, *, batch: int = 4) -> HeldOut:
        """Return the moments of a network's matrices.

        Args:
            module: As for `layer_curvatures`.
            inputs: Inputs that no curvature was estimated on, at least 2.
            batch: Inputs that go through together, >= 1.
        """
        from softcell.curvature.covariance import layer_curvatures

        if len(inputs) < 2:
            raise InputError(f"expected at least 2 inputs that are held out, got {len(inputs)}")
        check, fit = (
            layer_curvatures(module, inputs[part::2], seed=0, batch=batch, kind="inputs")
            for part in range(2)
        )
        return cls(check, fit, len(inputs))


def split(inputs: Tensor, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Return inputs to calibrate on, and a tenth as many that are held out.

    Those that are held out come behind the others, and are additional ones as far as there are any.

    Args:
        inputs: Inputs, first axis inputs.
        count: Number of inputs to calibrate on; None for all that are not held out.

    Returns:
        Both parts. Of fewer than 8 inputs none is held out.

    Example:
        >>> import torch
        >>> [len(part) for part in split(torch.zeros(100, 3))]
        [90, 10]
        >>> [len(part) for part in split(torch.zeros(100, 3), 60)]
        [60, 6]
    """
    wanted = len(inputs) if count is None else min(count, len(inputs))
    held = max(wanted // 10, FEWEST)
    if len(inputs) < 2 * FEWEST:
        return inputs[:wanted], inputs[:0]
    learnt = min(wanted, len(inputs) - held)
    return inputs[:learnt], inputs[learnt : learnt + held]
