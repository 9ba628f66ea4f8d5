"""What the loss feels: Fisher information, the curvature of layers, and their files."""

from typing import TYPE_CHECKING

from softcell.exports import imported_on_use

if TYPE_CHECKING:
    from softcell.curvature.calibration import Calibration, calibrate
    from softcell.curvature.calibration_file import load_calibration, save_calibration
    from softcell.curvature.covariance import layer_curvatures
    from softcell.curvature.fisher import diagonal_fisher
    from softcell.curvature.fisher_file import load_fisher, save_fisher
    from softcell.curvature.layer import LayerCurvature
else:
    __getattr__, __dir__ = imported_on_use(__name__)

__all__ = [
    "Calibration",
    "LayerCurvature",
    "calibrate",
    "diagonal_fisher",
    "layer_curvatures",
    "load_calibration",
    "load_fisher",
    "save_calibration",
    "save_fisher",
]
