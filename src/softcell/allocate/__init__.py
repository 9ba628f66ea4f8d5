"""Plans: which code and how many cells for which tensor, and how it is written."""

from softcell.allocate.plan import Plan, TensorPlan, make_plan
from softcell.allocate.procedure import Procedure
from softcell.allocate.survey import loss_weights

__all__ = ["Plan", "Procedure", "TensorPlan", "loss_weights", "make_plan"]
