"""Steps of entropy-coded tensors, in the feedback loop or out of it."""

from __future__ import annotations

from softcell.allocate.setting import Setting
from softcell.codes.entropy.code import EntropyCode
from softcell.codes.entropy.plan.loop import feedback_entropy_codes
from softcell.codes.entropy.plan.steps import entropy_codes

__all__ = ["plan_codes"]


def plan_codes(setting: Setting) -> dict[str, EntropyCode]:
    """Return the code of every matrix, quantised in the loop if there is a calibration for it."""
    if setting.calibration is None:
        return entropy_codes(setting)
    return feedback_entropy_codes(setting, setting.calibration)
