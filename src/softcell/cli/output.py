"""What verbs print, and where they may write."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softcell.durations import format_age
from softcell.errors import InputError
from softcell.plain_text import plain

if TYPE_CHECKING:
    from rich.table import Table

    from softcell.devices import Device
    from softcell.image.header import ImageHeader

PIPE_WIDTH = 110
"""Characters of a line where standard output is not a terminal."""

NARROWEST = 80
"""Characters that a table takes at least; a narrower terminal breaks its lines."""

DECODING_FAILED = 1
"""Exit status if an output was written that holds errors."""


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print names and values, one a line, the values below each other."""
    width = max(len(name) for name, _ in facts) + 2
    for name, value in facts:
        print(f"{name:<{width}}{plain(value)}")


def print_table(table: Table) -> None:
    """Print a table on standard output."""
    from rich.console import Console

    if sys.stdout.isatty():
        console = Console(highlight=False)
        console.width = max(console.width, NARROWEST)
        console.print(table)
        return
    text = io.StringIO()
    Console(file=text, width=PIPE_WIDTH, highlight=False).print(table)
    rule = "─" if "utf" in (sys.stdout.encoding or "").lower() else "-"
    for line in text.getvalue().strip("\n").split("\n"):
        print(line.rstrip().replace("─", rule))


def print_note(text: str) -> None:
    """Say something that is not a result, in one line on standard error."""
    print(f"softcell: {plain(text)}", file=sys.stderr)


def note_ageing(device: Device, age_seconds: float) -> None:
    """Say where an age changes nothing or is beyond what was measured of the device."""
    from softcell.devices import ageing_note, measured_seconds
    from softcell.devices.device import changes_with_age

    if not ageing_note(device, age_seconds):
        return
    if not changes_with_age(device, age_seconds):
        print_note(
            f"the ageing of {device.name} was not measured: its cells read alike at any age, and "
            f"figures at {format_age(age_seconds)} are those at 0s"
        )
        return
    measured = measured_seconds(device) or 0.0
    print_note(
        f"the ageing of {device.name} was measured up to {format_age(measured)}: figures at "
        f"{format_age(age_seconds)} are extrapolated"
    )


def require_writable(output: Path, *inputs: Path | str | None) -> None:
    """Find out whether a file can be written before work is spent on it.

    Args:
        output: The file.
        inputs: Files that the work reads, which must not be replaced by what comes of them.

    Raises:
        InputError: The folder is missing or cannot be written, or the output is an input.
    """
    # Imported late: `softcell --help` waits for no numerical library.
    from softcell.atomic_file import AtomicFile

    for path in inputs:
        if path is not None and os.path.realpath(path) == os.path.realpath(output):
            raise InputError(f"{output} is what is read; write to another name")
    AtomicFile(output).discard()


def image_header(image: Path) -> ImageHeader:
    """Return the header of an image."""
    from softcell.image.cell_image import CellImage

    with CellImage(image) as opened:
        return opened.header
