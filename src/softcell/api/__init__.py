"""The package's few public functions, on files or on a network's tensors."""

from typing import TYPE_CHECKING

from softcell.exports import imported_on_use

if TYPE_CHECKING:
    from softcell.api.comparison import compare, error_free_cells
    from softcell.api.images import write
    from softcell.api.optimisation import optimise
    from softcell.api.reading import read, restore
else:
    __getattr__, __dir__ = imported_on_use(__name__)

__all__ = ["compare", "error_free_cells", "optimise", "read", "restore", "write"]
