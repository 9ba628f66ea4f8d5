"""Loops over numbers that numba compiles when one of their module is first called.

The compiler takes half a second and 100 MB to import: what only reads a header does without.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

_COMPILING = threading.RLock()
_Function = TypeVar("_Function", bound=Callable[..., Any])
_PLAIN: list[Callable[..., Any]] = []
"""Functions for compiled ones to call, of which the compiler does not know yet."""


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function, and keeps its machine code on disk.

    It runs without Python's lock, and may call compiled functions of its own module.

    Args:
        options: Further options of `numba.njit`.

    Example:
        >>> @compiled(cache=False)
        ... def twice(x):
        ...     return 2 * x
        >>> twice(21)
        42
    """
    return lambda function: _Deferred(function, {"cache": True, "nogil": True, **options})


def in_compiled(function: _Function) -> _Function:
    """Let compiled functions of any module call this one, too, which itself stays as it is.

    Example:
        >>> @in_compiled
        ... def next_number(x):
        ...     return x + 1
        >>> next_number(1)
        2
    """
    _PLAIN.append(function)
    return function


class _Deferred:
    """A function to be compiled, in whose place its module then has the compiled one."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self.__doc__, self.__wrapped__ = function.__doc__, function
        self.options = options
        self.machine_code: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        if self.machine_code is None:
            _compile(self)
        return self.machine_code(*arguments)  # type: ignore[misc]


def _compile(first: _Deferred) -> None:
    """Make machine code of a function, and of all others of its module, which it may call."""
    from numba import njit
    from numba.extending import register_jitable

    module = first.__wrapped__.__globals__
    with _COMPILING:
        while _PLAIN:
            register_jitable(_PLAIN.pop())
        waiting = {n: each for n, each in module.items() if isinstance(each, _Deferred)}
        own = {n: each for n, each in waiting.items() if each.__wrapped__.__globals__ is module}
        code = {each: njit(**each.options)(each.__wrapped__) for each in {first, *own.values()}}
        module.update({name: code[each] for name, each in own.items()})
        for each, made in code.items():
            each.machine_code = each.machine_code or made
