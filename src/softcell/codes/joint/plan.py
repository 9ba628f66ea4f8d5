"""Which rows get two cells for each weight: where it takes most from the expected loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.row_bits import shared_bits
from softcell.allocate.setting import Setting
from softcell.allocate.survey import TensorSurvey
from softcell.codes.coarse.design import design_map
from softcell.codes.joint.code import JointCode, encode_joint_side
from softcell.codes.joint.design import design_joint_map


def plan_codes(setting: Setting) -> dict[str, JointCode]:
    """Return the joint map of every matrix: rows of two cells for each weight, or one.

    Together with all else that is stored they keep to the target, unless one cell for each weight
    is already more: then every weight has one.
    """

    def distortions(shape: int) -> list[float]:
        one, two = design_map(setting.law, shape, 0), design_joint_map(setting.law, shape)
        return [one.distortion, two.distortion]

    def code(shape: int, deviation: float, more: NDArray[np.uint8]) -> JointCode:
        return JointCode(shape, deviation, more + np.uint8(1))

    def cost(code: JointCode, tensor: TensorSurvey) -> tuple[int, int]:
        return len(encode_joint_side(code)), int(code.row_starts(tensor.columns)[-1])

    return shared_bits(setting, distortions, code, cost, 1.0)
