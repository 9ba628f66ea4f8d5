"""Joint maps: one cell for each weight, or two that hold it together."""
