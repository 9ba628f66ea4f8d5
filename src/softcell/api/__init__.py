"""The package's few public functions, on files or on a network's tensors."""

from softcell.api.images import keep_chip, read, restore, write
from softcell.api.measured import compare, error_free_cells, optimise

__all__ = ["compare", "error_free_cells", "keep_chip", "optimise", "read", "restore", "write"]
