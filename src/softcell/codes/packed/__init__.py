"""Packed cells: no, half a, one or several cells for each weight of a row."""
