"""The cell image: a file of levels, written, exported, read and decoded."""
