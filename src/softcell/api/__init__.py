"""The package's few public functions, on files or on a network's tensors."""

from softcell.api.images import keep_chip, read, restore, write
from softcell.api.measured import compare, optimise

__all__ = ["compare", "keep_chip", "optimise", "read", "restore", "write"]
