"""Results on their way out: as a table, as JSON on standard output, or in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from softcell.cli.output import print_json, print_table, require_writable
from softcell.errors import InputError

if TYPE_CHECKING:
    from softcell.evaluate.results import Result


class ResultFile:
    """Where `--json` sends results.

    Args:
        name: A file, "-" for standard output, or None for neither.
        resume: Keep the results that the file holds already.

    Attributes:
        known: Results that the file held.

    Raises:
        InputError: The file cannot be written, or there is none to resume from.
        FormatError: The file to resume from holds something else.
    """

    def __init__(self, name: str | None, *, resume: bool = False) -> None:
        from softcell.evaluate.results import read_results

        self.prints = name == "-"
        self._path = None if name is None or self.prints else Path(name)
        self.known: list[Result] = []
        if self._path is not None:
            require_writable(self._path)
        if resume:
            if self._path is None:
                raise InputError("--resume needs the file to resume from: --json FILE")
            if self._path.exists():
                self.known = read_results(self._path)

    def write(self, results: Sequence[Result]) -> None:
        """Write results, and behind them those that the file held of other measurements."""
        from softcell.evaluate.results import write_results

        if self._path is not None:
            measured = {result.key for result in results}
            others = [result for result in self.known if result.key not in measured]
            write_results(self._path, [*results, *others])


def print_results(results: Sequence[Result], file: ResultFile) -> None:
    """Print results as JSON where that was asked for, otherwise as a table."""
    from softcell.report.table import headline, results_table

    if file.prints:
        print_results_json(results)
    else:
        print(headline(results))
        print_table(results_table(results))


def print_results_json(results: Sequence[Result]) -> None:
    """Print results as JSON on standard output, as `ResultFile` writes them to a file."""
    from softcell.evaluate.results import SCHEMA
    from softcell.records import values_of

    print_json({"schema": SCHEMA, "results": [values_of(result) for result in results]})
