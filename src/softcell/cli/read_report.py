"""How decoding went, as the verbs that decode an image tell it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softcell.cli.output import (
    DECODING_FAILED,
    note_ageing,
    print_facts,
    print_json,
    print_note,
)
from softcell.durations import format_age, parse_age

if TYPE_CHECKING:
    from softcell.api.reading import RestoreReport
    from softcell.image.header import ImageHeader

_NAMED = 4
"""Tensors with lost weights that are named before the others are counted."""


def note_untold_age(age: str | None, header: ImageHeader) -> None:
    """Say that cells are taken as freshly written where no age was told and it matters."""
    from softcell.devices.device import changes_with_age

    planned = header.age_seconds
    if age is None and planned > 0 and changes_with_age(header.device, planned):
        print_note(
            f"no --age was given: the cells are taken as just written (0s); the image is for up to "
            f"{format_age(planned)}"
        )


def print_read_report(
    report: RestoreReport,
    output: Path,
    *,
    age: str,
    header: ImageHeader,
    as_json: bool,
) -> int:
    """Print how decoding went and return the exit status.

    Args:
        report: How it went.
        output: The file that was written.
        age: Age of the cells at which it was decoded.
        header: The image's header.
        as_json: Print JSON.
    """
    if as_json:
        print_json({"output": str(output), "age": age, **_json(report)})
    else:
        words = f"{report.frames} code words, {report.corrected} bit errors corrected"
        print_facts([("restored", str(output)), ("digital store", words), *_facts(report)])
    note_ageing(header.device, parse_age(age))
    found = report.diagnosis
    if found is not None and found.implausible and not found.mismatched:
        print_note(
            f"warning: {found.implausible} readings cannot be this device's and were left out: "
            f"{found.reason}"
        )
    if report.failed:
        what = "lacks" if report.lost else "holds wrong"
        print_note(
            f"warning: {report.failed} of {report.frames} code words could not be corrected, "
            f"{output} {what} weights: {report.why}"
        )
    elif found is not None and found.cause is not None:
        says = f"{output} holds wrong weights: " if report.wrong else ""
        print_note(f"warning: {says}{found.cause}")
    return DECODING_FAILED if report.wrong else 0


def _json(report: RestoreReport) -> dict[str, Any]:
    from softcell.image.diagnosis import Diagnosis

    return {
        "code_words": report.frames,
        "failed_code_words": report.failed,
        "corrected_bits": report.corrected,
        "lost_weights": sum(each.lost for each in report.lost),
        "lost": [
            {"tensor": each.tensor, "weights": each.weights, "runs": each.runs}
            for each in report.lost
        ],
        "why": report.why,
        **asdict(report.diagnosis or Diagnosis()),
    }


def _facts(report: RestoreReport) -> list[tuple[str, str]]:
    facts = []
    if report.diagnosis is not None and report.diagnosis.missing:
        facts.append(("readings", f"{report.diagnosis.missing} cells gave none"))
    if report.lost:
        total = sum(each.lost for each in report.lost)
        named = [f"{each.tensor} {each.lost} of {each.weights}" for each in report.lost[:_NAMED]]
        more = len(report.lost) - _NAMED
        if more > 0:
            named.append(f"and of {more} more tensors")
        facts.append(("lost weights", f"{total}: {', '.join(named)}"))
    return facts
