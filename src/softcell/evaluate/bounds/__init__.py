"""Bounds that no scheme can beat: rate-distortion curves and the least bits of a network."""

from typing import TYPE_CHECKING

from softcell.exports import imported_on_use

if TYPE_CHECKING:
    from softcell.evaluate.bounds.curve import RateDistortion, convex_curve, gaussian_curve
    from softcell.evaluate.bounds.density import density_curve, shannon_lower_bound
    from softcell.evaluate.bounds.squared_error import rate_distortion
    from softcell.evaluate.bounds.tensor import differential_entropy, empirical_curve
    from softcell.evaluate.bounds.water_filling import (
        ModelBound,
        TensorSource,
        least_bits,
        least_cells_per_weight,
        least_distortion,
        tensor_source,
    )
else:
    __getattr__, __dir__ = imported_on_use(__name__)

__all__ = [
    "ModelBound",
    "RateDistortion",
    "TensorSource",
    "convex_curve",
    "density_curve",
    "differential_entropy",
    "empirical_curve",
    "gaussian_curve",
    "least_bits",
    "least_cells_per_weight",
    "least_distortion",
    "rate_distortion",
    "shannon_lower_bound",
    "tensor_source",
]
