"""What verbs print, and where they may write."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softcell.durations import format_age, parse_age
from softcell.errors import InputError
from softcell.plain_text import plain

if TYPE_CHECKING:
    from rich.table import Table

    from softcell.devices import Device
    from softcell.image.header import ImageHeader
    from softcell.image.restore import ReadReport

PIPE_WIDTH = 110
"""Characters of a line where standard output is not a terminal."""

NARROWEST = 80
"""Characters that a table takes at least; a narrower terminal breaks its lines."""

_MANY_WORDS = 8
"""Code words of which half must fail before the readings are taken for another image's."""

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


def print_read_report(
    report: ReadReport, output: Path, *, age: str, header: ImageHeader, as_json: bool
) -> int:
    """Print how decoding went and return the exit status.

    Args:
        report: The state of the code words.
        output: The file that was written.
        age: Age of the cells, as it was told.
        header: The image's header.
        as_json: Print JSON.
    """
    if as_json:
        print_json(
            {
                "output": str(output),
                "code_words": report.frames,
                "failed_code_words": report.failed,
                "corrected_bits": report.corrected,
            }
        )
    else:
        words = f"{report.frames} code words, {report.corrected} bit errors corrected"
        print_facts([("restored", str(output)), ("digital store", words)])
    note_ageing(header.device, parse_age(age))
    if not report.failed:
        return 0
    print_note(
        f"warning: {report.failed} of {report.frames} code words could not be corrected, {output} "
        f"holds wrong weights; {_likely_cause(report, age, header.age_seconds)}"
    )
    return DECODING_FAILED


def _likely_cause(report: ReadReport, age: str, planned: float) -> str:
    if parse_age(age) > planned:
        return (
            f"the image was planned for an age of {format_age(planned)}, plan it for a higher one "
            "with `softcell write --age`"
        )
    if 2 * report.failed >= report.frames >= _MANY_WORDS:
        return (
            "so many fail where the readings are not this image's: of another chip, in another "
            "unit or order of cells, or of cells that were never programmed"
        )
    return (
        f"cells are older than the {age} that was told (--age), stuck, or worse than the device "
        "says (see `softcell write --device`)"
    )


def image_header(image: Path) -> ImageHeader:
    """Return the header of an image."""
    from softcell.image.cell_image import CellImage

    with CellImage(image) as opened:
        return opened.header
