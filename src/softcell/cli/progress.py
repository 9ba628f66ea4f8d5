"""Progress on standard error, where a person can see it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from softcell.plain_text import plain
from softcell.progress import Progress

if TYPE_CHECKING:
    from rich.progress import TaskID


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Give what reports progress: a bar for everything under way, on a terminal only.

    A bar goes when its work is done; after the `with` block nothing remains on the screen.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress as Bars
    from rich.progress import TimeRemainingColumn

    console = Console(stderr=True)
    bars = Bars(
        *Bars.get_default_columns()[:3],
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    shown: dict[str, TaskID] = {}

    def report(what: str, done: int, total: int) -> None:
        if done < total:
            if what not in shown:
                shown[what] = bars.add_task(escape(plain(what)))
            bars.update(shown[what], completed=done, total=total)
        elif what in shown:
            bars.remove_task(shown.pop(what))

    with bars:
        yield report


__all__ = ["Progress", "progress_bars"]
