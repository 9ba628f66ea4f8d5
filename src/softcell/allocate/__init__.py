"""Plans: which code and how many cells for which tensor, and how it is written."""

from typing import TYPE_CHECKING

from softcell.exports import imported_on_use

if TYPE_CHECKING:
    from softcell.allocate.plan import Plan, TensorPlan, make_plan
    from softcell.allocate.procedure import Procedure
    from softcell.allocate.survey import loss_weights
else:
    __getattr__, __dir__ = imported_on_use(__name__)

__all__ = ["Plan", "Procedure", "TensorPlan", "loss_weights", "make_plan"]
