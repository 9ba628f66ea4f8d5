"""Fewer weights, and fewer values of them, before they are stored."""

from softcell.compress.absorb import prune_absorbing
from softcell.compress.codebook import kmeans_codebook
from softcell.compress.matrices import weight_matrices
from softcell.compress.prune import prune_magnitude, prune_saliency

__all__ = [
    "kmeans_codebook",
    "prune_absorbing",
    "prune_magnitude",
    "prune_saliency",
    "weight_matrices",
]
