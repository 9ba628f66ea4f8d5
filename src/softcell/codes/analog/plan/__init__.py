"""Which ranges and how many cells for which tensor of the analog code."""

from softcell.codes.analog.plan.analog_codes import analog_codes

__all__ = ["analog_codes"]
