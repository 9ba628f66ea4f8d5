"""Records as plain JSON values, and back: one way for every file that holds some.

A record is a frozen dataclass. Its annotations say what its fields are read as, and its own checks
say which values go together: whatever is wrong with a file ends as a `FormatError` that names the
place in it. Only the classes that annotations name are ever made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from softcell.errors import FormatError, InputError

Record = TypeVar("Record")

Within = Callable[[Any, Any, str], Any]
"""Reads a value within another."""


def values_of(record: Any) -> dict[str, Any]:
    """Return a record as plain JSON values, field by field.

    Arrays become lists, nested records objects; numbers come back to the bit.

    Example:
        >>> from softcell.durations import Ages
        >>> values_of(Ages(0.0, 60.0))
        {'first': 0.0, 'last': 60.0, 'told': True}
    """
    return {each.name: _plain(getattr(record, each.name)) for each in fields(record)}


def record_of(
    kind: type[Record], values: Any, where: str, *, optional: bool = False, rest: bool = False
) -> Record:
    """Return the record of plain values, as `values_of` makes them.

    Args:
        kind: The record's class.
        values: The values.
        where: What they are, for the error.
        optional: Fields that have a default may be missing, here and in records within.
        rest: Values of other names are left alone, likewise.

    Raises:
        FormatError: A value is missing, one too many, or none that the class can have.

    Example:
        >>> from softcell.durations import Ages
        >>> record_of(Ages, {"first": 0, "last": "1d", "told": True}, "ages")
        Traceback (most recent call last):
        softcell.errors.FormatError: ages.last is a finite number, got '1d'
    """
    named: Any = kind
    known, hints = _fields(named), _hints(named)
    needed = tuple(name for name, default in known.items() if not (optional and default))
    require_keys(values, needed, where, known=None if rest else tuple(known))
    given = {
        name: read(hints[name], values[name], place(where, name), optional=optional, rest=rest)
        for name in known
        if name in values
    }
    try:
        return kind(**given)
    except FormatError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatError(f"{where}: {error}" if where else str(error)) from None


def place(where: str, name: str) -> str:
    """Return the path of a field within a file.

    Args:
        where: Path of the object; "" for the whole file.
        name: The field's name.

    Example:
        >>> place("tensors[3]", "cells"), place("", "tensors")
        ('tensors[3].cells', 'tensors')
    """
    return f"{where}.{name}" if where else name


def require_keys(
    values: Any, needed: tuple[str, ...], where: str, *, known: tuple[str, ...] | None = None
) -> None:
    """Require an object with these keys.

    Args:
        values: What is to be the object.
        needed: Keys that it has.
        where: What it is, for the error.
        known: Keys that it may have; None for any.

    Raises:
        FormatError: It is none, lacks a key, or has one that is not known.
    """
    if not isinstance(values, dict):
        raise FormatError(f"{where or 'it'} is an object, got {values!r:.40}")
    missing = [key for key in needed if key not in values]
    unknown = sorted(set(values) - set(known)) if known is not None else []
    if missing or unknown:
        wrong = f"lacks {missing}" if missing else f"has unknown {unknown}"
        raise FormatError(f"{where or 'it'} {wrong}")


def read(hint: Any, value: Any, where: str, *, optional: bool = False, rest: bool = False) -> Any:
    """Return a plain value as what an annotation says it is.

    Args:
        hint: Annotation: bool, int, float, str, None, Any, `Literal["a", "b"]`, `X | Y`,
            `tuple[X, ...]`, `tuple[X, Y]`, `frozenset[X]`, `Mapping[str, X]`, `NDArray[...]`, or a
            record's class.
        value: The value.
        where: What it is, for the error.
        optional: As for `record_of`.
        rest: Likewise.

    Raises:
        FormatError: It is something else.
    """
    within = partial(read, optional=optional, rest=rest)
    origin, inner = get_origin(hint), get_args(hint)
    if hint in _SCALARS:
        return _SCALARS[hint](value, where)
    if origin is Literal:
        return _choice(inner, value, where)
    if origin in (Union, UnionType):
        return _one_of(within, inner, value, where)
    if origin is tuple and inner[1:] != (...,):
        return _fixed(within, inner, value, where)
    if origin in (tuple, frozenset):
        return origin(_several(within, inner[0], value, where))
    if origin is not None and issubclass(origin, Mapping):
        require_keys(value, (), where)
        return {key: within(inner[1], each, place(where, key)) for key, each in value.items()}
    if origin is np.ndarray:
        return _array(np.dtype(get_args(inner[1])[0]), value, where)
    if is_dataclass(hint) and isinstance(hint, type):
        return record_of(hint, value, where, optional=optional, rest=rest)
    raise TypeError(f"{where}: a record has no field of type {hint}")


def parse_json(text: str | bytes) -> Any:
    """Return the value of JSON text in which no object has a key twice and every number is finite.

    Args:
        text: The text; bytes are UTF-8.

    Raises:
        ValueError: It is not such a text, or is nested beyond reason.
    """
    text = text if isinstance(text, str) else text.decode()
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_float=_finite, parse_constant=_finite
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def require_plain(value: Any, where: str) -> None:
    """Require plain JSON values: what a file can hold.

    Args:
        value: Objects, lists and scalars.
        where: What they are, for the error.

    Raises:
        InputError: One is none that JSON has, such as NaN.
    """
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str):
                raise InputError(f"{where} has the key {key!r:.40}; keys in a plan are text")
            require_plain(each, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for i, each in enumerate(value):
            require_plain(each, f"{where}[{i}]")
    elif not (value is None or isinstance(value, str | int | float)):
        raise InputError(f"{where} is a {type(value).__name__}; a plan holds plain JSON values")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} is {value}; a plan holds finite numbers")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key occurs twice in an object")
    return values


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return number


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind)


@cache
def _fields(kind: Any) -> Mapping[str, bool]:
    """Return the fields of a record, and whether each has a default."""
    return {
        each.name: each.default is not MISSING or each.default_factory is not MISSING
        for each in fields(kind)
        if each.init
    }


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return values_of(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, frozenset):
        return sorted(_plain(each) for each in value)
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value


def _whole(value: Any, where: str) -> int:
    if type(value) is not int:
        raise FormatError(f"{where} is a whole number, got {value!r:.40}")
    return value


def _number(value: Any, where: str) -> float:
    try:
        if type(value) in (int, float) and math.isfinite(number := float(value)):
            return number
    except OverflowError:  # a whole number beyond float64
        pass
    raise FormatError(f"{where} is a finite number, got {value!r:.40}")


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise FormatError(f"{where} is true or false, got {value!r:.40}")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise FormatError(f"{where} is text, got {value!r:.40}")
    return value


def _nothing(value: Any, where: str) -> None:
    if value is not None:
        raise FormatError(f"{where} is null, got {value!r:.40}")


_SCALARS: Mapping[Any, Callable[[Any, str], Any]] = {
    int: _whole,
    float: _number,
    bool: _flag,
    str: _text,
    NoneType: _nothing,
    Any: lambda value, _: value,
}


def _choice(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    if not any(type(value) is type(each) and value == each for each in choices):
        raise FormatError(f"{where} is one of {', '.join(map(repr, choices))}, got {value!r:.40}")
    return value


def _one_of(within: Within, choices: tuple[Any, ...], value: Any, where: str) -> Any:
    """Read a value as the first of some annotations that its JSON type goes with."""
    fitting = [choice for choice in choices if isinstance(value, _json_types(choice))]
    if isinstance(value, bool):  # which is an int in Python alone
        fitting = [choice for choice in fitting if _json_types(choice) not in (int, (int, float))]
    return within((fitting or choices)[0], value, where)  # or it says what is wrong


def _json_types(hint: Any) -> Any:
    """Return the Python types of the JSON values that an annotation is read from."""
    origin = get_origin(hint)
    if origin is Literal:
        return tuple({type(each) for each in get_args(hint)})
    if origin in (np.ndarray, tuple, frozenset):
        return list
    if hint in _SCALARS:
        return {float: (int, float), Any: object}.get(hint, hint)
    return dict


def _fixed(within: Within, hints: tuple[Any, ...], values: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(values, list) or len(values) != len(hints):
        raise FormatError(f"{where} is a list of {len(hints)}, got {values!r:.40}")
    return tuple(within(hint, values[i], f"{where}[{i}]") for i, hint in enumerate(hints))


def _several(within: Within, hint: Any, values: Any, where: str) -> list[Any]:
    if not isinstance(values, list):
        raise FormatError(f"{where} is a list, got {values!r:.40}")
    return [within(hint, value, f"{where}[{i}]") for i, value in enumerate(values)]


def _array(kind: np.dtype[Any], values: Any, where: str) -> np.ndarray:
    """Read an array: a list of numbers, or of lists of equal length."""
    wide = np.float64 if kind.kind == "f" else np.int64
    numbers = _nested(float if kind.kind == "f" else int, values, where)
    try:
        found = np.array(numbers, wide)
    except OverflowError:
        raise FormatError(f"{where} holds a number beyond the range of {kind}") from None
    with np.errstate(over="ignore"):
        array = found.astype(kind)
    if not np.isfinite(array).all() or (kind.kind != "f" and (array != found).any()):
        raise FormatError(f"{where} holds a number beyond the range of {kind}")
    return array


def _nested(entry: type, values: Any, where: str) -> list[Any]:
    if not isinstance(values, list):
        raise FormatError(f"{where} is a list, got {values!r:.40}")
    if not any(isinstance(value, list) for value in values):
        return [_SCALARS[entry](value, f"{where}[{i}]") for i, value in enumerate(values)]
    rows = [_nested(entry, value, f"{where}[{i}]") for i, value in enumerate(values)]
    if len({len(row) for row in rows}) > 1:
        raise FormatError(f"{where} has rows of different lengths")
    return rows
