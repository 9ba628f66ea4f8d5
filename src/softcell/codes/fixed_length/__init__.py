"""Fixed-length indices: the upper bits protected, the lower ones raw in cells."""
