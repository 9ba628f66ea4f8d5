"""Coarse-to-fine maps: robust cells for the part of the range, one more for the place in it."""
