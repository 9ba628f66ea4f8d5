"""Codes of a plan as plain values: each comes back to the bit, and no other is made."""

from __future__ import annotations

import json
import re
from dataclasses import fields

import numpy as np
import pytest

from softcell.allocate.plan import TensorPlan
from softcell.allocate.plan_codes import tensor_of, tensor_values
from softcell.codes.analog.code import AnalogCode
from softcell.codes.analog.value_range import ValueRange
from softcell.codes.coarse.code import CoarseCode
from softcell.codes.code import Code
from softcell.codes.entropy.code import EntropyCode
from softcell.codes.entropy.stream import stored_steps
from softcell.codes.fixed_length.code import FixedLengthCode, IndexFormat
from softcell.codes.joint.code import JointCode
from softcell.codes.packed.code import PackedCode
from softcell.errors import FormatError
from softcell.weights import TensorInfo

CODES: dict[str, Code] = {
    "analog": AnalogCode(
        True,
        True,
        (ValueRange(0.0, 0.125, 16, 3), ValueRange(0.125, 1.5, 0, 0)),
        np.array([[1, 2], [255, 3]], np.uint8),
    ),
    "coarse-to-fine": CoarseCode(1, 0.0625, np.array([0, 3], np.uint8), True),
    "joint-map": JointCode(0, 2.0**-130, np.array([1, 2], np.uint8)),
    "packed": PackedCode(np.array([2, 2], np.uint8), np.array([-1008, 1016], np.int32)),
    "fixed-length": FixedLengthCode(
        2, (IndexFormat(4, 1, 0.25), IndexFormat(3, 0, 0.0)), np.array([1, 0], np.uint8)
    ),
    "entropy-coded": EntropyCode(np.array([0.1, 1 / 3], np.float32), 64, 0.07, False),
}
BY_COLUMN = EntropyCode(stored_steps(np.array([0.1, 1 / 3])), 8, None, True)
INFO = TensorInfo("w", (2, 5), "F32")


def records_of(code, values):
    """Return a code and the records within it, each beside its values in the file."""
    found = [(code, values)]
    for each in fields(code):
        if isinstance(inner := getattr(code, each.name), tuple):
            found += zip(inner, values[each.name], strict=True)
    return found


def bits_of(code):
    values = [getattr(code, each.name) for each in fields(code)]
    return [(v.dtype, v.tobytes()) if isinstance(v, np.ndarray) else v for v in values]


@pytest.mark.parametrize(("kind", "code"), [*CODES.items(), ("entropy-coded", BY_COLUMN)])
def test_every_code_comes_back_to_the_bit(kind, code):
    values = json.loads(json.dumps(tensor_values(TensorPlan(INFO, kind, code))))
    tensor = tensor_of(values, "it")
    assert type(tensor.code) is type(code)
    assert bits_of(tensor.code) == bits_of(code)
    assert (tensor.info, tensor.kind) == (INFO, kind)


@pytest.mark.parametrize("kind", CODES)
def test_every_field_is_kept_and_needed(kind):
    """What a code gains must be in the file: its default would be another code's value."""
    values = tensor_values(TensorPlan(INFO, kind, CODES[kind]))
    for record, place in records_of(CODES[kind], values["code"]):
        assert list(place) == [each.name for each in fields(record)]
        for name in list(place):
            kept = place.pop(name)
            with pytest.raises(FormatError, match=re.escape(f"lacks ['{name}']")):
                tensor_of(values, "it")
            place[name] = kept


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("analog", {"cells": [[1, 2]]}, "for 1 rows, it has 2"),
        ("analog", {"cells": [[1, 2], [0, 1]]}, "at least one cell"),
        ("analog", {"cells": [[1, 2], [256, 1]]}, "beyond the range of uint8"),
        ("analog", {"cells": [[1, 2], [1]]}, "different lengths"),
        ("analog", {"cells": [1, 2]}, "need shape"),
        ("analog", {"mask": False}, "need a mask"),
        ("analog", {"mask": 1}, "true or false"),
        ("analog", {"sign": False}, "no range of values"),
        ("coarse-to-fine", {"shape": 99}, "shape must be"),
        ("coarse-to-fine", {"deviation": 0.1}, "is a bfloat16"),
        ("coarse-to-fine", {"deviation": -0.5}, "at least 0"),
        ("coarse-to-fine", {"bits": [200, 1]}, "coarse bits"),
        ("joint-map", {"cells": [1, 3]}, "1 to 2 cells"),
        ("joint-map", {"cells": [1, 1, 1]}, "for 3 rows, it has 2"),
        ("joint-map", {"shape": 1.0}, "whole number"),
        ("packed", {"classes": [2, 3]}, "share cells"),
        ("packed", {"classes": [2, 2, 0]}, "one class and one scale"),
        ("packed", {"scales": [0, 2000]}, "out of float32's range"),
        ("fixed-length", {"rows": [2, 0]}, "row format 2 of 2"),
        ("fixed-length", {"label_bits": 4}, "1 to 3 raw bits"),
        ("fixed-length", {"formats": [{"bits": 4, "protected": 5, "step": 0.25}]}, "protected"),
        ("fixed-length", {"formats": [{"bits": 4, "step": 0.25}]}, "lacks"),
        ("entropy-coded", {"states": 3}, "64 states"),
        ("entropy-coded", {"step": [0.1, 0.0]}, "step from 1e-30"),
        ("entropy-coded", {"step": -0.1}, "step from 1e-30"),
        ("entropy-coded", {"step": [0.1, 1e39]}, "beyond the range of float32"),
        ("entropy-coded", {"step": [0.1]}, "for 1 rows, it has 2"),
        ("entropy-coded", {"step": "0.1"}, "finite number"),
        ("entropy-coded", {"trade_off": -0.1}, "price of a bit"),
        ("entropy-coded", {"by_column": True}, "stream would keep"),
        ("entropy-coded", {"by_rows": True}, "unknown"),
    ],
)
def test_impossible_codes_are_refused(kind, changes, message):
    values = tensor_values(TensorPlan(INFO, kind, CODES[kind]))
    with pytest.raises(FormatError, match=message):
        tensor_of({**values, "code": {**values["code"], **changes}}, "it")


@pytest.mark.parametrize("end", [{"high": 0.1}, {"high": -0.125}, {"start": 17}, {"stop": 16}])
def test_impossible_ranges_are_refused(end):
    values = tensor_values(TensorPlan(INFO, "analog", CODES["analog"]))
    values["code"]["ranges"][0].update(end)
    with pytest.raises(FormatError, match="'w': ValueRange"):
        tensor_of(values, "it")


def test_a_kind_is_one_that_the_tensor_can_have():
    values = tensor_values(TensorPlan(INFO, "float16"))
    for changes in (
        {"kind": "analogue"},
        {"kind": None},
        {"kind": "packed"},
        {"code": tensor_values(TensorPlan(INFO, "packed", CODES["packed"]))["code"]},
        {"dtype": "I64"},
        {"dtype": "F33"},
        {"shape": [0, 5]},
        {"shape": [-2, 5]},
        {"shape": 10},
        {"name": 3},
    ):
        with pytest.raises(FormatError):
            tensor_of({**values, **changes}, "it")
