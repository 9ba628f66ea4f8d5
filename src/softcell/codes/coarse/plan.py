"""Which rows get how many coarse bits: where it takes most from the expected loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.row_bits import shared_bits
from softcell.allocate.setting import Setting
from softcell.allocate.survey import TensorSurvey
from softcell.codes.coarse.code import CoarseCode, encode_coarse_side
from softcell.codes.coarse.design import MOST_BITS, design_map


def plan_codes(setting: Setting) -> dict[str, CoarseCode]:
    """Return the coarse-to-fine code of every matrix.

    Together with all else that is stored they keep to the target, unless one cell for each weight
    is already more: then no weight has a coarse bit.
    """
    protected = setting.scheme.decoder == "full"
    store = setting.store

    def distortions(shape: int) -> list[float]:
        return [design_map(setting.law, shape, bits).distortion for bits in range(MOST_BITS + 1)]

    def code(shape: int, deviation: float, bits: NDArray[np.uint8]) -> CoarseCode:
        return CoarseCode(shape, deviation, bits, protected)

    def cost(code: CoarseCode, tensor: TensorSurvey) -> tuple[int, int]:
        side = len(encode_coarse_side(code))
        if protected:
            side += -(-code.coarse_bits(tensor.columns) // 8)
        return side, tensor.info.size + code.coarse_cells(tensor.columns, store)

    per_cell = store.bits_per_cell if protected else float(store.bits_per_symbol)
    return shared_bits(setting, distortions, code, cost, per_cell)
