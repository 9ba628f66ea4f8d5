"""Plans: which code and how many cells for which tensor."""

from softcell.allocate.plan import Plan, TensorPlan, make_plan
from softcell.allocate.survey import Progress, as_rows, finite, finite_weights, loss_weights
from softcell.codes.entropy.code import EntropyCode
from softcell.codes.entropy.plan.curves import EntropyCurves, Quantiser
from softcell.codes.schemes import (
    COARSE_TO_FINE,
    CODED,
    CONVENTIONAL,
    CUMULATIVE,
    ENTROPY_CODED,
    FIXED_LENGTH,
    HYBRID,
    JOINT_MAP,
    PACKED,
    PROTECTIONS,
    SCHEMES,
    Scheme,
    parse_scheme,
)

__all__ = [
    "COARSE_TO_FINE",
    "CODED",
    "CONVENTIONAL",
    "CUMULATIVE",
    "ENTROPY_CODED",
    "FIXED_LENGTH",
    "HYBRID",
    "JOINT_MAP",
    "PACKED",
    "PROTECTIONS",
    "SCHEMES",
    "EntropyCode",
    "EntropyCurves",
    "Plan",
    "Progress",
    "Quantiser",
    "Scheme",
    "TensorPlan",
    "as_rows",
    "finite",
    "finite_weights",
    "loss_weights",
    "make_plan",
    "parse_scheme",
]
