"""Store the weights of neural networks in noisy memory cells, with as few cells as possible.

    >>> import softcell
    >>> softcell.parse_device("pcm-partial-reset").level_axis.unit
    'V'

`write` puts a network into a cell image, `read` takes it from a simulated chip, `compare` shows
what every scheme keeps of its accuracy, `optimise` finds the plan of fewest cells. The same is on
the command line as `softcell`.
"""

from typing import TYPE_CHECKING

from softcell.exports import imported_on_use

if TYPE_CHECKING:
    from softcell import (
        allocate,
        channel,
        codes,
        compress,
        curvature,
        devices,
        evaluate,
        feedback,
        network,
        search,
        training,
        weights,
    )
    from softcell.allocate.plan_file import load_plan, save_plan
    from softcell.api import compare, error_free_cells, optimise, read, restore, write
    from softcell.curvature import calibrate, diagonal_fisher, load_calibration, save_calibration
    from softcell.devices import fit_measurements, parse_device
    from softcell.errors import SoftcellError
    from softcell.evaluate import bounds
    from softcell.feedback import correct_drift
    from softcell.network import Network
    from softcell.version import VERSION as __version__  # noqa: N811
else:
    __getattr__, __dir__ = imported_on_use(__name__)

__all__ = [
    "Network",
    "SoftcellError",
    "__version__",
    "allocate",
    "bounds",
    "calibrate",
    "channel",
    "codes",
    "compare",
    "compress",
    "correct_drift",
    "curvature",
    "devices",
    "diagonal_fisher",
    "error_free_cells",
    "evaluate",
    "feedback",
    "fit_measurements",
    "load_calibration",
    "load_plan",
    "network",
    "optimise",
    "parse_device",
    "read",
    "restore",
    "save_calibration",
    "save_plan",
    "search",
    "training",
    "weights",
    "write",
]
