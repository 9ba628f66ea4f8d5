"""Store the weights of neural networks in noisy memory cells, with as few cells as possible.

    >>> import softcell
    >>> softcell.parse_device("pcm-partial-reset").level_axis.unit
    'V'

`write` puts a network into a cell image, `read` takes it from a simulated chip, `compare` shows
what every scheme keeps of its accuracy, `optimise` finds the plan of fewest cells. The same is on
the command line as `softcell`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from softcell.allocate.plan_file import load_plan, save_plan
    from softcell.api import compare, error_free_cells, optimise, read, restore, write
    from softcell.curvature import calibrate, diagonal_fisher, load_calibration, save_calibration
    from softcell.devices import fit_measurements, parse_device
    from softcell.errors import SoftcellError
    from softcell.evaluate import bounds
    from softcell.feedback import correct_drift
    from softcell.network import Network

_HOME = {
    "write": "softcell.api",
    "read": "softcell.api",
    "restore": "softcell.api",
    "compare": "softcell.api",
    "error_free_cells": "softcell.api",
    "load_plan": "softcell.allocate.plan_file",
    "save_plan": "softcell.allocate.plan_file",
    "optimise": "softcell.api",
    "calibrate": "softcell.curvature",
    "diagonal_fisher": "softcell.curvature",
    "load_calibration": "softcell.curvature",
    "save_calibration": "softcell.curvature",
    "correct_drift": "softcell.feedback",
    "Network": "softcell.network",
    "fit_measurements": "softcell.devices",
    "parse_device": "softcell.devices",
    "SoftcellError": "softcell.errors",
    "bounds": "softcell.evaluate",
}

__all__ = [
    "Network",
    "SoftcellError",
    "bounds",
    "calibrate",
    "compare",
    "correct_drift",
    "diagonal_fisher",
    "error_free_cells",
    "fit_measurements",
    "load_calibration",
    "load_plan",
    "optimise",
    "parse_device",
    "read",
    "restore",
    "save_calibration",
    "save_plan",
    "write",
]


def __getattr__(name: str) -> Any:
    """Import on first use: `softcell --help` waits for neither numba nor torch."""
    if name == "__version__":
        from softcell.version import VERSION

        return VERSION
    if name not in _HOME:
        raise AttributeError(f"module 'softcell' has no attribute {name!r}")
    if name == "bounds":
        return importlib.import_module("softcell.evaluate.bounds")
    return getattr(importlib.import_module(_HOME[name]), name)
