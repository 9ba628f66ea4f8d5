"""A user's own Python code, named on the command line as `module:function`."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from softcell.errors import InputError, SoftcellError

_Result = TypeVar("_Result")


def imported(function: str, option: str) -> Callable[..., Any]:
    """Import a function, from the current folder if it is there.

    Args:
        function: `module:function`.
        option: The option that named it, for messages.

    Raises:
        InputError: There is no such function, or its module cannot be imported.
    """
    module_name, _, name = function.partition(":")
    if not module_name or not name:
        raise InputError(f"{option}: expected module:function, got {function!r}")
    sys.path.insert(0, "")  # the current folder, as `python -m` has it
    try:
        module = guarded(lambda: importlib.import_module(module_name), f"{option} {function}")
    finally:
        sys.path.remove("")
    found = getattr(module, name, None)
    if not callable(found):
        raise InputError(f"{option}: module {module_name} has no function {name!r}")
    return found


def guarded(call: Callable[[], _Result], what: str) -> _Result:
    """Call a user's code; say in one line what went wrong in it, and where.

    Raises:
        InputError: The code raised an exception of its own.
    """
    try:
        return call()
    except SoftcellError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[1:]
        own = [f for f in frames if not f.filename.startswith("<frozen")]
        where = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
        raise InputError(f"{what} failed{where}: {type(error).__name__}: {error}") from error
