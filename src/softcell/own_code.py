"""A user's own Python code, named as `module:function` or `module:Class`."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from softcell.errors import InputError, SoftcellError

_Result = TypeVar("_Result")


def imported(path: str, option: str, kind: str = "function") -> Callable[..., Any]:
    """Import a function or a class, from the current folder if it is there.

    Args:
        path: `module:function`.
        option: The option that named it, for messages.
        kind: What is expected there, for messages.

    Raises:
        InputError: There is no such function, or its module cannot be imported.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise InputError(f"{option}: expected module:{kind}, got {path!r}")
    found: Any = getattr(imported_module(module_name, f"{option} {path}"), name, None)
    if not callable(found):
        raise InputError(f"{option}: module {module_name} has no {kind} {name!r}")
    function: Callable[..., Any] = found
    return function


def imported_module(module_name: str, what: str) -> ModuleType:
    """Return a module, imported from the current folder or from where Python has it.

    Args:
        module_name: Its name.
        what: Option and value that named it, for messages.

    Raises:
        InputError: There is no such module, or it cannot be imported.
    """
    sys.path.insert(0, "")  # the current folder, as `python -m` has it
    try:
        return guarded(lambda: importlib.import_module(module_name), what)
    except InputError as error:
        absent = error.__cause__
        if not isinstance(absent, ModuleNotFoundError) or absent.name is None:
            raise
        if not f"{module_name}.".startswith(f"{absent.name}."):
            raise  # the module is there, and lacks another
        raise InputError(
            f"{what}: there is no module {absent.name!r}; run softcell in the folder of "
            f"{absent.name}.py, or install the package that it is from"
        ) from None
    finally:
        sys.path.remove("")


def guarded(call: Callable[[], _Result], what: str) -> _Result:
    """Call a user's code; say in one line what went wrong in it, and where.

    What it prints goes to standard error, for standard output may be read as JSON.

    Raises:
        InputError: The code raised an exception of its own, or called `sys.exit`.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return call()
    except SoftcellError:
        raise
    except SystemExit as error:
        raise InputError(
            f"{what} called sys.exit; let it return, or raise an error that says what is wrong"
        ) from error
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[1:]
        own = [f for f in frames if not f.filename.startswith("<frozen")]
        where = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
        raise InputError(f"{what} failed{where}: {type(error).__name__}: {error}") from error
