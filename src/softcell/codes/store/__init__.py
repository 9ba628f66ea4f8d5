"""Error-free storage of bytes in cells: levels, labels, code words."""
