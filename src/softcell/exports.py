"""Packages that import what they export when it is first asked for.

Such a package lists its imports as any other does, but under `if TYPE_CHECKING:`, where editors and
type checkers read them, and ends with

    else:
        __getattr__, __dir__ = imported_on_use(__name__)

So a command that reads a header waits for neither a compiler nor torch.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from functools import cache
from typing import Any


def imported_on_use(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions `__getattr__` and `__dir__` of a package.

    No exported name may be that of another module in the package: who imported that module first
    would find it in the name's place.

    Args:
        package: Name of the package, whose `__init__` imports what `__all__` lists under
            `if TYPE_CHECKING:`.

    Example:
        >>> import softcell.curvature
        >>> "calibrate" in dir(softcell.curvature)
        True
    """

    def attribute(name: str) -> Any:
        if name not in _homes(package):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home, own_name = _homes(package)[name]
        if home == package:
            found = importlib.import_module(f"{package}.{own_name}")
        else:  # a name in a module, or a module in a package
            found = getattr(__import__(home, fromlist=(own_name,)), own_name)
        setattr(sys.modules[package], name, found)
        return found

    return attribute, lambda: sorted(sys.modules[package].__all__)


@cache
def _homes(package: str) -> dict[str, tuple[str, str]]:
    """Return the module that each exported name is imported from, and its name there."""
    spec = sys.modules[package].__spec__
    source = spec.loader.get_source(package)  # type: ignore[union-attr]
    return {
        each.asname or each.name: (statement.module or package, each.name)
        for block in ast.parse(source).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for each in statement.names
    }
