"""Fewer weights before they are stored."""

from softcell.compress.prune import prune_magnitude

__all__ = ["prune_magnitude"]
