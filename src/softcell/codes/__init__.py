"""Codes: weights to levels of cells and back."""
