"""What the loss feels: the diagonal Fisher information of a network, and its file."""

from softcell.curvature.fisher import diagonal_fisher, load_fisher, save_fisher

__all__ = ["diagonal_fisher", "load_fisher", "save_fisher"]
