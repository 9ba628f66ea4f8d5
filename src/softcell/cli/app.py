"""The command `softcell`: its verbs, their help, and what becomes of errors."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Annotated, TextIO

import typer

from softcell.cli.calibrate import calibrate
from softcell.cli.closed_streams import replace_closed_streams
from softcell.cli.compare import compare
from softcell.cli.decode import decode
from softcell.cli.devices import devices
from softcell.cli.evaluate import evaluate
from softcell.cli.export import export
from softcell.cli.fit import fit
from softcell.cli.info import info
from softcell.cli.optimise import optimise
from softcell.cli.program import program as program_chip
from softcell.cli.prune import prune
from softcell.cli.quantise import quantise
from softcell.cli.read import read
from softcell.cli.results import results
from softcell.cli.train import train
from softcell.cli.write import write
from softcell.errors import SoftcellError
from softcell.own_code import imported_module
from softcell.plain_text import plain
from softcell.version import VERSION

VERBS: dict[str, Callable[..., int | None]] = {
    "devices": devices,
    "fit": fit,
    "write": write,
    "read": read,
    "info": info,
    "export": export,
    "decode": decode,
    "program": program_chip,
    "prune": prune,
    "quantise": quantise,
    "calibrate": calibrate,
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "optimise": optimise,
    "results": results,
}
"""Verbs in the order of `softcell --help`. Each returns its exit status, None for 0.

A verb's docstring is its help; the indented lines after `Example:` are shown as they stand.
"""

USER_ERROR = 2
INTERRUPTED = 130
PIPE_CLOSED = 141  # as the shell says it of a program that SIGPIPE ended


def program() -> typer.Typer:
    """Return the command line with all its verbs."""
    # Plain help: it comes in half the time, and its examples can be copied as they are.
    application = typer.Typer(name="softcell", add_completion=False, rich_markup_mode=None)
    application.callback()(_softcell)
    for name, verb in VERBS.items():
        text, _, example = inspect.cleandoc(verb.__doc__ or "").partition("\n\nExample:\n")
        application.command(name, help=text, epilog=_verbatim(example))(verb)
    return application


def _verbatim(example: str) -> str:
    """Return lines marked such that they are not wrapped."""
    return f"\b\nExample:\n{example}" if example else ""


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"softcell {VERSION}")
        raise typer.Exit()


def _softcell(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="MODULE",
            help="Import a module first, which registers codes of your own; may be repeated.",
        ),
    ] = None,
) -> None:
    """Store the weights of neural networks in noisy memory cells."""
    del version  # its callback has answered
    for module in modules or []:
        imported_module(module, f"--import {module}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows `softcell`; by default the process's own arguments.

    Returns:
        Exit status: 0 for success; 1 if the output is there but a warning says what is wrong with
        it; 2 for a user's mistake, said in one line on standard error; 130 when interrupted
        or told to terminate; 141 when the reader of standard output has closed it.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        _replace_what_cannot_be_shown(stream)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = typer.main.get_command(program())
    try:
        status = command.main(
            args=arguments or ["--help"], prog_name="softcell", standalone_mode=False
        )
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # which typer makes of the first
        _drop_output()  # the reader has enough
        return PIPE_CLOSED
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except typer.TyperException as error:
        return _complain(f"{error.format_message()} (see {_help_of(arguments)})", USER_ERROR)
    except SoftcellError as error:
        _drop_output()
        return _complain(str(error), USER_ERROR)
    except OSError as error:
        _drop_output()
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}", USER_ERROR)
    except MemoryError:
        return _complain("not enough memory: close other programs or take less", USER_ERROR)
    return _complain("interrupted", INTERRUPTED) if status == INTERRUPTED else int(status or 0)


def _drop_output() -> None:
    """Let go of what standard output cannot take, so that it does not fail again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str, status: int) -> int:
    print(f"softcell: {plain(' '.join(message.split()))}", file=sys.stderr)
    return status


def _help_of(arguments: Sequence[str]) -> str:
    verb = next((a for a in arguments if a in VERBS), None)
    return f"`softcell {verb} --help`" if verb else "`softcell --help`"


def _replace_what_cannot_be_shown(stream: TextIO) -> None:
    """Let a terminal without Unicode show `?` for a sign that it does not have."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
