"""The analog code of every matrix: ranges, large weights, cells."""

from __future__ import annotations

from softcell.allocate.setting import Setting
from softcell.codes.analog.plan.planner import AnalogPlanner, Codes
from softcell.codes.analog.plan.ranges import LARGE_CELLS, choose_large
from softcell.codes.analog.plan.stored import mean_cells, pooled_magnitudes, require_a_cell_each


def plan_codes(setting: Setting) -> Codes:
    """Return the code of every analog tensor.

    Together with all else that is stored they keep to the target, unless one cell for each weight
    is already more: then every weight has one.

    Raises:
        InfeasibleError: Less than one cell per weight was asked for, and fewer than one for each
            that a mask of the zeros leaves.
    """
    require_a_cell_each(setting)
    scheme, names = setting.scheme, [s.info.name for s in setting.matrices]
    large = 0.0
    if scheme.has("sparsity"):
        large = choose_large(
            pooled_magnitudes(setting),
            scheme,
            setting.channel,
            cells_per_weight=mean_cells(setting),
            bits_per_cell=setting.store.bits_per_cell,
        )
    codes: Codes = {}
    # A class of large weights that turns out to be too much for the target is given up.
    for share in dict.fromkeys((large, 0.0)):
        reads = max(mean_cells(setting) / (1 + share * (LARGE_CELLS - 1)), 1.0)
        planner = AnalogPlanner(
            setting, large=share, reads=dict.fromkeys(names, reads), progress=setting.progress
        )
        codes = planner.codes()
        if scheme.has("adaptive") and scheme.has("sensitivity"):
            means = {name: float(code.cells[:, 0].mean()) for name, code in codes.items()}
            planner = AnalogPlanner(setting, large=share, reads=means, progress=setting.progress)
            codes = planner.codes()
        if planner.total(codes) <= setting.target:
            break
    return codes
