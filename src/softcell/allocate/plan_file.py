"""Plans as JSON files: to look at, to keep, to write images from later.

A file is one object: the schema, the scheme and its target, the ages, the device with all its
coefficients, its digital store, the tensors with their codes, the digest of the network, and what
the search that made the plan says of it. Numbers come back to the bit.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softcell.allocate.plan import Plan
from softcell.allocate.plan_codes import store_of, store_values, tensor_of, tensor_values
from softcell.allocate.procedure import Procedure
from softcell.atomic_file import Target, written
from softcell.codes.schemes import parse_scheme
from softcell.devices import device_of
from softcell.durations import Ages
from softcell.errors import FormatError, InputError, OwnDeviceError
from softcell.own_bytes import text_bytes
from softcell.records import parse_json, read, record_of, require_keys, values_of
from softcell.weights import Weights

SCHEMA = "softcell.plan/2"

_FIRST = "softcell.plan/1"
"""The schema before: its procedure is among the settings, as the search had it."""

_KEYS = (
    *("schema", "scheme", "target", "ages", "network", "settings"),
    *("device", "store", "tensors", "report"),
)

_OF_RECIPE = ("verify_reads", "sequential", "sparsity")
"""What the recipe of the first schema says of how a network is written."""

_LINE = 100
"""Columns that an object may take on one line."""


def save_plan(path: Target, plan: Plan) -> None:
    """Write a plan to a file, which appears only once it is complete.

    Args:
        path: File to write; one that exists is replaced. An `AtomicFile` is completed, and left to
            its owner.
        plan: The plan.

    Raises:
        InputError: The file cannot be written (nothing remains of it then), or the device gives no
            plain values.
    """
    text = _plan_text(plan)
    with written(path) as file:
        file.write(text.encode())


def plan_digest(plan: Plan) -> str:
    """Return a name of all that a plan's file says: 32 hexadecimal digits.

    Raises:
        InputError: The device gives no plain values.
    """
    return hashlib.blake2b(_plan_text(plan).encode(), digest_size=16).hexdigest()


def _plan_text(plan: Plan) -> str:
    values = {
        "schema": SCHEMA,
        "scheme": plan.scheme,
        "target": plan.target,
        "ages": values_of(plan.ages),
        "network": plan.network,
        "procedure": values_of(plan.procedure),
        "keep": sorted(plan.keep),
        "settings": plan.settings,
        "device": plan.device.definition(),
        "store": store_values(plan.store),
        "tensors": [tensor_values(tensor) for tensor in plan.tensors],
        "report": plan.report,
    }
    try:
        return f"{_text(values)}\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"device {plan.device.name} cannot be kept in a plan: {error}") from None


def load_plan(path: Path | str) -> Plan:
    """Return the plan of a file that `save_plan` wrote.

    Raises:
        InputError: There is no such file, or it cannot be read.
        FormatError: It is truncated, damaged, no plan, or one of another version.
    """
    try:
        data = text_bytes(path)
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror or error}; give a plan of `softcell optimise`"
        ) from error
    try:
        values = parse_json(data)
    except ValueError as error:
        raise FormatError(
            f"{path} is no plan: it is truncated, altered or not JSON ({error})"
        ) from None
    schema = values.get("schema") if isinstance(values, dict) else None
    if schema not in (SCHEMA, _FIRST):
        raise FormatError(
            f"{path} is no plan that this version reads: its schema is {schema!r:.40}, expected "
            f"{SCHEMA!r}; make it again with `softcell optimise`"
        )
    try:
        return _plan_of(values)
    except OwnDeviceError as error:
        raise OwnDeviceError(f"{path}: {error}") from None
    except (
        *(TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError),
    ) as error:
        raise FormatError(f"{path} does not describe a plan: {error}") from None


def require_network(plan: Plan, weights: Weights, network: str | None = None) -> None:
    """Require that a plan is for a network.

    Args:
        plan: The plan.
        weights: The network's tensors.
        network: Their digest; by default it is computed where the plan has one, which reads every
            tensor once.

    Raises:
        InputError: A tensor is missing, of another shape or type, one too many or in another
            place; or the tensors are alike and their values are not.
    """
    planned = [tensor.info for tensor in plan.tensors]
    names = set(weights.names)
    for info in planned:
        if info.name not in names:
            raise InputError(
                f"the plan has a tensor {info.name!r}, the network has none; give the network that "
                "it was made for, or make a plan for this one"
            )
        if (own := weights.info(info.name)) != info:
            raise InputError(
                f"tensor {info.name!r} is {info.dtype} {info.shape} in the plan, {own.dtype} "
                f"{own.shape} in the network; give the network that the plan was made for"
            )
    extra = names - {info.name for info in planned}
    if extra:
        raise InputError(
            f"the network has a tensor {min(extra)!r}, the plan has none; make a plan for this one"
        )
    for name, info in zip(weights.names, planned, strict=True):
        if name != info.name:
            raise InputError(
                f"the network's tensors are in another order: {name!r} comes where the plan has "
                f"{info.name!r}; give the network as the plan was made for it"
            )
    if plan.network and plan.network != (network or network_digest(weights)):
        raise InputError(
            "the plan was made for other weights of the same shapes; give those, or make a plan "
            "for these"
        )


def network_digest(weights: Weights) -> str:
    """Return a name of the tensors' names, shapes, types and bytes: 32 hexadecimal digits.

    It does not depend on the tensors' order. One tensor at a time is in memory.

    Example:
        >>> import numpy as np
        >>> from softcell.weights import parse_weights
        >>> len({network_digest(parse_weights({"w": np.full(2, x)})) for x in (1.0, 1.5, 1.5)})
        2
    """
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(weights.names):
        info = weights.info(name)
        total.update(repr((info.name, info.shape, info.dtype)).encode())
        total.update(weights.raw(name).data)
    return total.hexdigest()


def _plan_of(values: Mapping[str, Any]) -> Plan:
    keys = _KEYS if values["schema"] == _FIRST else (*_KEYS, "procedure", "keep")
    require_keys(values, keys, "the file", known=keys)
    if not isinstance(values["scheme"], str):
        raise FormatError(f"the scheme is a name, got {values['scheme']!r:.40}")
    scheme, target = parse_scheme(values["scheme"]), values["target"]
    if (target is None) == scheme.takes_cells:
        raise FormatError(f"a target of {target!r:.40} cells per weight is none of {scheme.name!r}")
    if target is not None and (type(target) not in (int, float) or not 0 < target < math.inf):
        raise FormatError(f"the target is a number of cells per weight, got {target!r:.40}")
    if not isinstance(values["device"], dict) or not isinstance(values["tensors"], list):
        raise FormatError("the device is an object and the tensors are a list")
    tensors = tuple(tensor_of(t, f"tensors[{i}]") for i, t in enumerate(values["tensors"]))
    if len({tensor.info.name for tensor in tensors}) != len(tensors):
        raise FormatError("two tensors have the same name")
    if not sum(tensor.info.size for tensor in tensors):
        raise FormatError("its tensors have no weights")
    return Plan(
        scheme.name,
        device_of(values["device"]),
        record_of(Ages, values["ages"], "ages"),
        store_of(values["store"], kind=scheme.store),
        tensors,
        None if target is None else float(target),
        *_written(values),
        network=values["network"],
        settings=values["settings"],
        report=values["report"],
    )


def _written(values: Mapping[str, Any]) -> tuple[Procedure, frozenset[str]]:
    """Return how the network is written, and which tensors are kept as they are."""
    if values["schema"] != _FIRST:
        procedure = record_of(Procedure, values["procedure"], "procedure")
        return procedure, read(frozenset[str], values["keep"], "keep")
    settings = values["settings"]
    loop = read(bool, settings.get("loop", False), "settings.loop")
    keep = read(frozenset[str], settings.get("keep", []), "settings.keep")
    recipe = read(Mapping[str, Any], settings.get("recipe", {}), "settings.recipe") if loop else {}
    known = {name: recipe[name] for name in _OF_RECIPE if name in recipe}
    said = {"loop": loop, **known}
    return record_of(Procedure, said, "settings.recipe", optional=True), keep


def _text(value: Any, indent: str = "") -> str:
    """Return JSON to be read by people: lists of numbers and short objects are on one line."""
    if not _holds_object(value):
        return json.dumps(value, allow_nan=False)
    deeper = indent + "  "
    if isinstance(value, dict):
        (opening, closing), entries = (
            "{}",
            [f"{json.dumps(key)}: {_text(each, deeper)}" for key, each in value.items()],
        )
    else:
        (opening, closing), entries = "[]", [_text(each, deeper) for each in value]
    length = len(indent) + sum(len(entry) + 2 for entry in entries)
    if length < _LINE and not any("\n" in entry for entry in entries):
        return f"{opening}{', '.join(entries)}{closing}"
    return f"{opening}\n{deeper}" + f",\n{deeper}".join(entries) + f"\n{indent}{closing}"


def _holds_object(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_object(each) for each in value)
    return isinstance(value, dict)
