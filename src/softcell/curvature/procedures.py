"""Ways through the feedback loop, from the one that trusts a calibration most to the open loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from softcell.curvature.calibration import Calibration
from softcell.curvature.layer import LayerCurvature

CLOSED, INPUTS, OPEN = "closed loop", "input moments", "open loop"

DAMPINGS: Mapping[str, float] = {"more damping": 0.3, "much damping": 3.0}
"""Share of the mean curvature that is added to every weight's own."""

FALL_BACKS = (INPUTS, *DAMPINGS, OPEN)
"""What is tried where the closed loop does harm, in this order."""


def curvature_by(calibration: Calibration, name: str, procedure: str) -> LayerCurvature | None:
    """Return the curvature that a procedure takes for a matrix; None for an open loop.

    Args:
        calibration: What is known of the network.
        name: The matrix.
        procedure: `CLOSED`, or one of `FALL_BACKS`. Input moments are those that the calibration
            holds of other inputs; where it has none of the matrix, its loop stays open.
    """
    known = calibration.curvature(name)
    if known is None or procedure in (CLOSED, OPEN):
        return known if procedure == CLOSED else None
    if procedure == INPUTS:
        moments = None if calibration.held is None else calibration.held.fit.get(name)
        alike = moments is not None and (moments.groups, moments.rows.size) == (
            known.groups,
            known.rows.size,
        )
        if moments is None or not alike or not np.einsum("gkk->g", moments.covariance).all():
            return None
        # Rows compare with those of other matrices as before.
        return replace(moments, rows=known.rows)
    mean = np.einsum("gkk->g", known.covariance, dtype=np.float64) / known.columns
    ridge = DAMPINGS[procedure] * mean[:, None, None] * np.eye(known.columns)
    return replace(known, covariance=(known.covariance + ridge).astype(np.float32))


def calibration_by(calibration: Calibration, procedures: Mapping[str, str]) -> Calibration:
    """Return a calibration by which matrices go through the loop as these procedures say.

    Args:
        calibration: What is known of the network.
        procedures: By matrix; one that is not there stays in the closed loop.
    """
    layers = dict(calibration.layers)
    for name, procedure in procedures.items():
        curvature = curvature_by(calibration, name, procedure)
        if curvature is None:
            layers.pop(name, None)
        else:
            layers[name] = curvature
    return replace(calibration, layers=layers)
