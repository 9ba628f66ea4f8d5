"""Columns of texts as tables: on a terminal, or in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from softcell.plain_text import plain

if TYPE_CHECKING:
    from rich.table import Table


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


def terminal_columns(texts: Mapping[str, Sequence[str]], words: Mapping[str, int]) -> Table:
    """Return a table of columns of texts, by their names, for a terminal.

    Args:
        texts: The columns, all of one length.
        words: Least width of each column that holds words, which may be folded; the others are of
            numbers.
    """
    table = bare_table(padding=0, show_edge=False)
    for name in texts:
        if name in words:
            table.add_column(name, overflow="fold", min_width=words[name])
        else:
            # Headers of several lines keep the table within the 80 characters of a terminal.
            table.add_column(fill(name.replace("/", "/ "), 8), justify="right", no_wrap=True)
    for row in zip(*texts.values(), strict=True):
        table.add_row(*row)
    return table


def bare_table(**style: Any) -> Table:
    """Return a table without rows whose texts are shown as they are, never read as markup.

    Args:
        style: As for `rich.table.Table`.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    class PlainTable(Table):
        def add_row(self, *texts: Any, **options: Any) -> None:
            super().add_row(*(Text(plain(text)) for text in texts), **options)

    return PlainTable(box=box.SIMPLE_HEAD, **style)
