"""What the loss feels: Fisher information, the curvature of layers, and their files."""

from softcell.curvature.calibration import Calibration, calibrate
from softcell.curvature.calibration_file import load_calibration, save_calibration
from softcell.curvature.covariance import layer_curvatures
from softcell.curvature.fisher import diagonal_fisher
from softcell.curvature.fisher_file import load_fisher, save_fisher
from softcell.curvature.layer import LayerCurvature

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
