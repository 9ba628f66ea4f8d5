"""Fewer weights, and fewer values of them, before they are stored."""

from typing import TYPE_CHECKING

from softcell.exports import imported_on_use

if TYPE_CHECKING:
    from softcell.compress.absorb import prune_absorbing
    from softcell.compress.codebook import kmeans_codebook
    from softcell.compress.matrices import weight_matrices
    from softcell.compress.prune import prune_magnitude, prune_saliency
else:
    __getattr__, __dir__ = imported_on_use(__name__)

__all__ = [
    "kmeans_codebook",
    "prune_absorbing",
    "prune_magnitude",
    "prune_saliency",
    "weight_matrices",
]
