"""A tensor as the feedback loop takes it, with what a plan knows of it."""

from __future__ import annotations

import numpy as np

from softcell.allocate.survey import TensorSurvey
from softcell.curvature import Calibration
from softcell.feedback.layer import FeedbackLayer, in_loop
from softcell.weights import Weights
from softcell.weights.finite import as_rows, finite_weights


def feedback_layer(
    weights: Weights, tensor: TensorSurvey, calibration: Calibration | None
) -> FeedbackLayer:
    """Return a tensor as the loop takes it.

    Args:
        weights: The network's tensors.
        tensor: What is known of the tensor.
        calibration: Holds the curvature of tensors. One that is not there, or whose curvature is 0
            or cut into blocks because it is so wide, is stored in an open loop.
    """
    name = tensor.info.name
    rows = as_rows(finite_weights(weights, name))
    curvature = None if calibration is None else calibration.curvature(name)
    if calibration is None or curvature is None or curvature.rows.size != len(rows):
        return FeedbackLayer(name, rows, tensor.importance)
    # Second moments of inputs say nothing of one layer's weight against another's.
    felt = curvature.rows.astype(np.float64) if calibration.kind == "fisher" else tensor.importance
    return in_loop(name, rows, curvature, felt)
