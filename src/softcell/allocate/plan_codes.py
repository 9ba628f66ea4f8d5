"""The parts of a plan as plain JSON values, and back: digital stores, and codes of tensors.

Only classes that the registries of codes and stores name are ever made of a file.
"""

from __future__ import annotations

from typing import Any

from softcell.allocate.plan import TensorPlan
from softcell.codes.families import RAW, family_of
from softcell.codes.number.vector_formats import NUMBER_FORMATS
from softcell.codes.store.design import STORES, kind_of
from softcell.codes.store.store import Store
from softcell.errors import FormatError
from softcell.records import read, record_of, require_keys, values_of
from softcell.weights import TensorInfo
from softcell.weights.finite import FLOATS

_TENSOR = ("name", "shape", "dtype", "kind", "code")


def store_values(store: Store) -> dict[str, Any]:
    """Return a digital store as plain values."""
    return {"kind": kind_of(store), **values_of(store)}


def store_of(values: Any, *, kind: str | None = None, optional: bool = False) -> Store:
    """Return the digital store of plain values, as `store_values` makes them.

    Args:
        values: The values.
        kind: Kind of store that the scheme has; None for any.
        optional: Fields that have a default may be missing.

    Raises:
        FormatError: They make no store, or one of another kind.
    """
    rest = dict(values) if isinstance(values, dict) else {}
    found = rest.pop("kind", None)
    if found != (kind or found) or found not in STORES:
        expected = repr(kind) if kind else f"one of {', '.join(STORES)}"
        raise FormatError(f"the store is {expected} in this scheme, got {found!r:.40}")
    store: Store = record_of(STORES[found], rest, "the store", optional=optional)
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
    require_keys(values, _TENSOR, where, known=_TENSOR)
    shape = read(tuple[int, ...], values["shape"], f"{where}: shape")
    try:
        info = TensorInfo(values["name"], shape, values["dtype"])
    except (ValueError, TypeError) as error:
        raise FormatError(f"{where}: {error}") from None
    where, kind, code = f"tensor {info.name!r}", values["kind"], values["code"]
    if not isinstance(kind, str):
        raise FormatError(f"{where} is of unknown kind {kind!r:.40}")
    plain = kind == RAW or kind in NUMBER_FORMATS
    family = None if plain else family_of(kind, where)
    if kind != RAW and (info.dtype not in FLOATS or not info.size):
        raise FormatError(f"{where} of type {info.dtype} and shape {info.shape} cannot be {kind!r}")
    if family is None:
        if code is not None:
            raise FormatError(f"{where} of kind {kind!r} has no code, got {code!r:.40}")
        return TensorPlan(info, kind)
    made = record_of(family.code_class(), code, where)
    try:
        made.require_rows(info.rows)
    except ValueError as error:
        raise FormatError(f"{where}: {error}") from None
    return TensorPlan(info, kind, made)
