"""Which ranges and how many cells for which tensor of the analog code."""

from softcell.codes.analog.plan.analog_codes import plan_codes

__all__ = ["plan_codes"]
