"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def markdown_columns(texts: Mapping[str, Sequence[str]], *, left: int = 1) -> str:
    """Return a table of columns of texts, by their names.

    Args:
        texts: The columns, all of one length.
        left: Columns that hold words, the first ones; the others are of numbers.

    Example:
        >>> print(markdown_columns({"scheme": ["int8"], "cells": ["4.1"]}), end="")
        | scheme | cells |
        | --- | ---: |
        | int8 | 4.1 |
    """
    ruler = ["---"] * left + ["---:"] * (len(texts) - left)
    rows = [list(texts), ruler, *zip(*texts.values(), strict=True)]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)
