"""Whether the feedback loop does good, matrix by matrix, on inputs that were held out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.plan import Plan, TensorPlan
from softcell.codes.code import ByColumn
from softcell.curvature import Calibration, LayerCurvature
from softcell.curvature.procedures import CLOSED, FALL_BACKS, OPEN, curvature_by
from softcell.feedback.layer import FeedbackLayer, in_loop, second_order
from softcell.feedback.memory import Memory
from softcell.image.closed_loop import WrittenNetwork, store_matrix
from softcell.weights.finite import as_rows

_CLEAR = 0.5
"""Part of the error without feedback up to which its estimate will do."""


@dataclass(frozen=True)
class MatrixCheck:
    """What feedback does to the errors of one matrix's outputs.

    Both are square errors relative to those of the same code without feedback: below 1 it helps.

    Args:
        tensor: The matrix.
        procedure: How it went through the loop.
        predicted: By the curvature that the loop went by; None in an open loop.
        measured: On inputs that were held out.
    """

    tensor: str
    procedure: str
    predicted: float | None
    measured: float

    @property
    def harmful(self) -> bool:
        """Whether the matrix is better off without feedback."""
        return self.measured > 1


def check_matrices(
    plan: Plan,
    written: WrittenNetwork,
    calibration: Calibration,
    procedures: dict[str, str],
    memory: Memory,
) -> Iterator[MatrixCheck]:
    """Compare what the loop left of errors with what would be there without it.

    Without feedback a code errs by about what its cells err by in the loop. Where that does not
    decide, the matrix is written once more without.

    Args:
        plan: The plan.
        written: What became of the network in the loop.
        calibration: What is known of it, with inputs held out.
        procedures: How matrices went through the loop that were not in the closed one, by name.
        memory: A simulated one of the same cells.

    Yields:
        A record for each matrix that was in the loop and whose inputs are known.
    """
    for tensor in plan.tensors:
        name = tensor.info.name
        procedure = procedures.get(name, CLOSED)
        held = _held(calibration, tensor)
        if held is None or calibration.curvature(name) is None:
            continue
        curvature = curvature_by(calibration, name, procedure)
        if curvature is None:
            yield MatrixCheck(name, OPEN, None, 1.0)
            continue
        wanted, targets, seen = (
            as_rows(each[name]) for each in (written.wanted, written.targets, written.seen)
        )
        left, apart = second_order(held, wanted, seen), seen - targets
        if not isinstance(tensor.code, ByColumn) or left > _CLEAR * second_order(
            held, np.zeros_like(apart), apart
        ):
            apart = _stored(tensor, plan, wanted, None, memory) - wanted
        none = np.zeros_like(apart)
        yield MatrixCheck(
            name,
            procedure,
            _ratio(second_order(curvature, wanted, seen), second_order(curvature, none, apart)),
            _ratio(left, second_order(held, none, apart)),
        )


def best_procedure(
    plan: Plan, name: str, wanted: NDArray[np.float32], calibration: Calibration, memory: Memory
) -> str:
    """Return the procedure that leaves least of a matrix's output errors on held-out inputs.

    Args:
        plan: The plan.
        name: The matrix.
        wanted: Its wanted weights, shape (rows, columns).
        calibration: What is known of it, with inputs held out.
        memory: A simulated one of the same cells.
    """
    tensor = next(each for each in plan.tensors if each.info.name == name)
    held = _held(calibration, tensor)
    errors = {}
    for procedure in FALL_BACKS:
        curvature = curvature_by(calibration, name, procedure)
        if held is not None and (procedure == OPEN or curvature is not None):
            seen = _stored(tensor, plan, wanted, curvature, memory)
            errors[procedure] = second_order(held, wanted, seen)
    return min(errors, key=errors.__getitem__, default=OPEN)


def _held(calibration: Calibration, tensor: TensorPlan) -> LayerCurvature | None:
    """Return the moments of a coded matrix's inputs, unless they are cut into blocks."""
    if calibration.held is None or tensor.code is None:
        return None
    held = calibration.held.check.get(tensor.info.name)
    return held if held is not None and held.rows.size == tensor.info.rows else None


def _stored(
    tensor: TensorPlan,
    plan: Plan,
    wanted: NDArray[np.float32],
    curvature: LayerCurvature | None,
    memory: Memory,
) -> NDArray[np.float32]:
    layer: FeedbackLayer = in_loop(tensor.info.name, wanted, curvature)
    return store_matrix(layer, tensor, plan, memory, closed=True)[1]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 1.0 if part == 0 else float("inf")
