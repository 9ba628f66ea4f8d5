"""The parts of a plan as plain JSON values, and back: codes of tensors, digital stores, ages.

Only the classes named here are ever made of a file, each of exactly its own fields, which are
checked before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from softcell.allocate.plan import TensorCode, TensorPlan
from softcell.codes.analog.code import AnalogCode
from softcell.codes.analog.value_range import PLACES, ValueRange
from softcell.codes.bfloat16 import ceiling
from softcell.codes.coarse.code import CoarseCode
from softcell.codes.entropy.code import EntropyCode
from softcell.codes.entropy.stream import stored_steps
from softcell.codes.fixed_length.code import FixedLengthCode, IndexFormat
from softcell.codes.joint.code import JointCode
from softcell.codes.number.vector_formats import NUMBER_FORMATS
from softcell.codes.packed.code import PackedCode
from softcell.codes.schemes import COARSE_TO_FINE, ENTROPY_CODED, FIXED_LENGTH, JOINT_MAP, PACKED
from softcell.codes.store.hard_store import DigitalStore
from softcell.codes.store.soft_store import SoftStore
from softcell.codes.store.store import Store
from softcell.durations import Ages
from softcell.errors import FormatError
from softcell.weights import TensorInfo


@dataclass(frozen=True)
class _Form:
    """How a value is written, and read from the place that an error is to name."""

    write: Callable[[Any], Any]
    read: Callable[[Any, str], Any]


def _read_whole(value: Any, where: str) -> int:
    if type(value) is not int:
        raise FormatError(f"{where} is a whole number, got {value!r:.40}")
    return value


def _read_number(value: Any, where: str) -> float:
    if type(value) not in (int, float) or not abs(value) < math.inf:
        raise FormatError(f"{where} is a finite number, got {value!r:.40}")
    return float(value)


def _read_flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise FormatError(f"{where} is true or false, got {value!r:.40}")
    return value


_WHOLE = _Form(int, _read_whole)
_NUMBER = _Form(float, _read_number)
_FLAG = _Form(bool, _read_flag)


def _or_none(form: _Form) -> _Form:
    """Return the form of a value that may be missing."""
    return _Form(
        lambda value: None if value is None else form.write(value),
        lambda value, where: None if value is None else form.read(value, where),
    )


def _several(form: _Form) -> _Form:
    """Return the form of a tuple."""

    def read(values: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(values, list):
            raise FormatError(f"{where} is a list, got {values!r:.40}")
        return tuple(form.read(value, f"{where}[{i}]") for i, value in enumerate(values))

    return _Form(lambda values: [form.write(value) for value in values], read)


def _array(dtype: DTypeLike, axes: int = 1) -> _Form:
    """Return the form of an array: a list, or a list of lists, of numbers."""
    kind = np.dtype(dtype)
    entry = _NUMBER if kind.kind == "f" else _WHOLE

    def read(values: Any, where: str) -> np.ndarray:
        form = entry
        for _ in range(axes):
            form = _several(form)
        rows = form.read(values, where)
        if axes > 1 and len({len(row) for row in rows}) > 1:
            raise FormatError(f"{where} has rows of different lengths")
        with np.errstate(over="ignore"):
            wide = np.array(rows, np.float64 if kind.kind == "f" else np.int64)
            array = wide.astype(kind)
        if not np.isfinite(array).all() or (kind.kind != "f" and (array != wide).any()):
            raise FormatError(f"{where} holds a number beyond the range of {kind}")
        return array

    return _Form(lambda values: np.asarray(values, kind).tolist(), read)


def _record(kind: type) -> _Form:
    """Return the form of one of the classes of `_FIELDS`."""
    return _Form(
        lambda record: values_of(record), lambda values, where: record_of(kind, values, where)
    )


_ROW_STEPS = _array(np.float32)

# One step, or one for each row.
_STEP = _Form(
    lambda step: _ROW_STEPS.write(step) if np.ndim(step) else float(step),
    lambda step, where: (_ROW_STEPS if isinstance(step, list) else _NUMBER).read(step, where),
)

_FIELDS: Mapping[type, Mapping[str, _Form]] = {
    Ages: {"first": _NUMBER, "last": _NUMBER, "told": _FLAG},
    DigitalStore: {
        "indices": _several(_WHOLE),
        "k": _WHOLE,
        "t": _WHOLE,
        "raw_bit_error_rate": _NUMBER,
        "m": _WHOLE,
    },
    SoftStore: {
        "indices": _several(_WHOLE),
        "labels": _several(_WHOLE),
        "planes": _several(_WHOLE),
        "lifting": _WHOLE,
        "parity": _WHOLE,
        "t": _WHOLE,
        "iterations": _WHOLE,
        "information": _NUMBER,
    },
    ValueRange: {"low": _NUMBER, "high": _NUMBER, "start": _WHOLE, "stop": _WHOLE},
    AnalogCode: {
        "sign": _FLAG,
        "mask": _FLAG,
        "ranges": _several(_record(ValueRange)),
        "cells": _array(np.uint8, axes=2),
    },
    CoarseCode: {
        "shape": _WHOLE,
        "deviation": _NUMBER,
        "bits": _array(np.uint8),
        "protected": _FLAG,
    },
    JointCode: {"shape": _WHOLE, "deviation": _NUMBER, "cells": _array(np.uint8)},
    PackedCode: {"classes": _array(np.uint8), "scales": _array(np.int32)},
    IndexFormat: {"bits": _WHOLE, "protected": _WHOLE, "step": _NUMBER},
    FixedLengthCode: {
        "label_bits": _WHOLE,
        "formats": _several(_record(IndexFormat)),
        "rows": _array(np.uint8),
    },
    EntropyCode: {
        "step": _STEP,
        "states": _WHOLE,
        "trade_off": _or_none(_NUMBER),
        "by_column": _FLAG,
    },
}
"""Every field of every class that a plan is made of."""

_CODES: Mapping[str, type] = {
    "analog": AnalogCode,
    COARSE_TO_FINE: CoarseCode,
    JOINT_MAP: JointCode,
    PACKED: PackedCode,
    FIXED_LENGTH: FixedLengthCode,
    ENTROPY_CODED: EntropyCode,
}
"""Codes by the kind of tensor."""

_STORES: Mapping[str, type] = {"hard": DigitalStore, "soft": SoftStore}

_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})


def values_of(record: Any) -> dict[str, Any]:
    """Return a code, a store or ages as plain JSON values.

    Example:
        >>> values_of(EntropyCode(np.array([0.5, 0.25], np.float32), states=1, trade_off=0.0))
        {'step': [0.5, 0.25], 'states': 1, 'trade_off': 0.0, 'by_column': False}
    """
    return {name: f.write(getattr(record, name)) for name, f in _FIELDS[type(record)].items()}


def record_of(kind: type, values: Any, where: str) -> Any:
    """Return the code, store or ages of plain values, as `values_of` makes them.

    Args:
        kind: One of these classes.
        values: The values.
        where: What they are, for the error.

    Raises:
        FormatError: A value is missing, one too many, or none that the class can have.
    """
    fields = _FIELDS[kind]
    require_keys(values, tuple(fields), where)
    try:
        return kind(**{k: form.read(values[k], f"{where}.{k}") for k, form in fields.items()})
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"{where}: {error}") from None


def require_keys(values: Any, keys: tuple[str, ...], where: str) -> None:
    """Require an object of just these keys.

    Raises:
        FormatError: It is another.
    """
    if not isinstance(values, dict):
        raise FormatError(f"{where} is an object, got {values!r:.40}")
    missing, unknown = [k for k in keys if k not in values], sorted(set(values) - set(keys))
    if missing or unknown:
        raise FormatError(f"{where} {f'lacks {missing}' if missing else f'has unknown {unknown}'}")


def store_values(store: Store) -> dict[str, Any]:
    """Return a digital store as plain values."""
    return {"kind": next(k for k, v in _STORES.items() if isinstance(store, v)), **values_of(store)}


def store_of(values: Any, *, soft: bool) -> Store:
    """Return the digital store of plain values, as `store_values` makes them.

    Args:
        values: The values.
        soft: Whether the scheme has a store of soft decisions.

    Raises:
        FormatError: They make no store, or one of the other kind.
    """
    rest, expected = dict(values) if isinstance(values, dict) else {}, "soft" if soft else "hard"
    if (kind := rest.pop("kind", None)) != expected:
        raise FormatError(f"the store is {expected!r} in this scheme, got {kind!r:.40}")
    store: Store = record_of(_STORES[expected], rest, "the store")
    try:
        store.bits_per_cell  # noqa: B018  its codes are made at their first use
    except ValueError as error:
        raise FormatError(f"the store: {error}") from None
    return store


def tensor_values(tensor: TensorPlan) -> dict[str, Any]:
    """Return the plan of a tensor as plain values."""
    info = tensor.info
    return {
        "name": info.name,
        "shape": list(info.shape),
        "dtype": info.dtype,
        "kind": tensor.kind,
        "code": None if tensor.code is None else values_of(tensor.code),
    }


def tensor_of(values: Any, where: str) -> TensorPlan:
    """Return the plan of a tensor from plain values, as `tensor_values` makes them.

    Raises:
        FormatError: They make none, or a code of another tensor.
    """
    require_keys(values, ("name", "shape", "dtype", "kind", "code"), where)
    shape = _several(_WHOLE).read(values["shape"], f"{where}: shape")
    try:
        info = TensorInfo(values["name"], shape, values["dtype"])
    except (ValueError, TypeError) as error:
        raise FormatError(f"{where}: {error}") from None
    where, kind, code = f"tensor {info.name!r}", values["kind"], values["code"]
    if not isinstance(kind, str) or kind not in (*_CODES, *NUMBER_FORMATS, "raw"):
        raise FormatError(f"{where} is of unknown kind {kind!r:.40}")
    if kind != "raw" and (info.dtype not in _FLOATS or not info.size):
        raise FormatError(f"{where} of type {info.dtype} and shape {info.shape} cannot be {kind!r}")
    if kind not in _CODES:
        if code is not None:
            raise FormatError(f"{where} of kind {kind!r} has no code, got {code!r:.40}")
        return TensorPlan(info, kind)
    made = record_of(_CODES[kind], code, where)
    try:
        reason = _fault(made, info)
    except ValueError as error:
        reason = str(error)
    if reason:
        raise FormatError(f"{where}: {reason}")
    return TensorPlan(info, kind, made)


def _fault(code: TensorCode, info: TensorInfo) -> str:
    """Return what a code is not, that its class does not check itself; "" if nothing.

    What a decoder reads of the side information must be what an encoder was told.
    """
    rows, given = info.shape[0] if len(info.shape) > 1 else 1, -1
    if isinstance(code, EntropyCode):
        steps = np.atleast_1d(code.step)
        given = len(steps) if np.ndim(code.step) else rows
        kept = stored_steps(steps)
        if code.trellis.by_column and (kept != steps).any():
            return "its steps are not those that its stream would keep"
        if code.trade_off is not None and code.trade_off < 0:
            return f"the price of a bit is at least 0, got {code.trade_off}"
    elif isinstance(code, AnalogCode):
        given, low = len(code.cells), 0.0
        for each in code.ranges:
            expected, low = low if code.sign else -each.high, each.high
            blind = each.start == each.stop == 0
            places = min(each.start, each.stop) >= 0 and max(each.start, each.stop) <= PLACES
            if each.low != expected or each.high < each.low or ceiling(each.high) != each.high:
                return f"{each} is no range of values"
            if not places or (each.start == each.stop and not blind):
                return f"{each} is no part of a cell's response"
    elif isinstance(code, CoarseCode | JointCode):
        given = len(code.bits if isinstance(code, CoarseCode) else code.cells)
        if ceiling(code.deviation) != code.deviation:
            return f"its deviation is a bfloat16, got {code.deviation}"
    else:
        given = len(code.rows) if isinstance(code, FixedLengthCode) else code.rows
    return "" if given == rows else f"its code is for {given} rows, it has {rows}"
