"""Records as plain JSON values: every field there and back, and every fault with its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from softcell.errors import FormatError, InputError
from softcell.records import parse_json, read, record_of, require_plain, values_of


@dataclass(frozen=True)
class Inner:
    """A record within another, which takes no negative number."""

    count: int
    note: str = "none"

    def __post_init__(self) -> None:
        if self.count < 0:
            raise InputError(f"count must be at least 0, got {self.count}")


@dataclass(frozen=True)
class Outer:
    """A field of every kind but arrays, which have no equality."""

    flag: bool
    whole: int
    number: float
    text: str
    scale: Literal["linear", "log10"]
    maybe: float | None
    either: str | int | tuple[int, ...]
    pair: tuple[float, str]
    several: tuple[Inner, ...]
    names: frozenset[str]
    named: Mapping[str, Inner]
    anything: Any


TEXT = st.text(max_size=5)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
INNER = st.builds(Inner, st.integers(0, 2**70), TEXT)
OUTER = st.builds(
    Outer,
    flag=st.booleans(),
    whole=st.integers(),
    number=NUMBER,
    text=TEXT,
    scale=st.sampled_from(["linear", "log10"]),
    maybe=st.none() | NUMBER,
    either=TEXT | st.integers() | st.lists(st.integers(), max_size=3).map(tuple),
    pair=st.tuples(NUMBER, TEXT),
    several=st.lists(INNER, max_size=3).map(tuple),
    names=st.frozensets(TEXT, max_size=3),
    named=st.dictionaries(TEXT, INNER, max_size=3),
    anything=st.none() | TEXT | NUMBER | st.lists(st.booleans(), max_size=2),
)
WHOLE = Outer(
    *(True, 3, 0.5, "a", "linear", None, "b", (1.5, "c"), (Inner(1), Inner(2)), frozenset({"d"})),
    {"e": Inner(4)},
    None,
)


@given(OUTER)
def test_a_record_comes_back_from_a_file_as_it_was(record):
    text = json.dumps(values_of(record), allow_nan=False)
    assert record_of(Outer, parse_json(text), "file") == record


ENTRIES = {
    np.float64: NUMBER,
    np.float32: st.floats(width=32, allow_nan=False, allow_infinity=False),
}
ENTRIES |= {np.int64: st.integers(-(2**63), 2**63 - 1), np.uint8: st.integers(0, 255)}


@pytest.mark.parametrize("kind", ENTRIES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_arrays_come_back_to_the_bit(kind, data):
    @dataclass(frozen=True, eq=False)
    class Holder:
        values: NDArray[Any]

    shape = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    count = int(np.prod(shape))
    entries = data.draw(st.lists(ENTRIES[kind], min_size=count, max_size=count))
    array = np.array(entries, kind).reshape(shape)
    plain = parse_json(json.dumps(values_of(Holder(array))))
    again = read(NDArray[kind], plain["values"], "values")
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert again.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("flag",), 1, "file.flag is true or false, got 1"),
        (("whole",), True, "file.whole is a whole number, got True"),
        (("whole",), 1.0, "file.whole is a whole number, got 1.0"),
        (("number",), "1", "file.number is a finite number, got '1'"),
        (("number",), True, "file.number is a finite number, got True"),
        (("number",), float("nan"), "file.number is a finite number, got nan"),
        (("number",), float("-inf"), "file.number is a finite number, got -inf"),
        (("number",), 10**400, "file.number is a finite number, got 1000"),
        (("text",), None, "file.text is text, got None"),
        (("scale",), "dB", "file.scale is one of 'linear', 'log10', got 'dB'"),
        (("maybe",), "x", "file.maybe is a finite number, got 'x'"),
        (("either",), True, "file.either is text, got True"),
        (("either",), [1, "x"], "file.either[1] is a whole number, got 'x'"),
        (("pair",), [1.0], "file.pair is a list of 2, got [1.0]"),
        (("pair",), [1.0, 2.0], "file.pair[1] is text, got 2.0"),
        (("several",), {}, "file.several is a list, got {}"),
        (("several", 1), 7, "file.several[1] is an object, got 7"),
        (("several", 1, "count"), "x", "file.several[1].count is a whole number, got 'x'"),
        (("several", 1, "count"), -1, "file.several[1]: count must be at least 0, got -1"),
        (("names",), [3], "file.names[0] is text, got 3"),
        (("named", "e", "note"), 3, "file.named.e.note is text, got 3"),
    ],
)
def test_a_fault_is_told_with_its_place(place, value, message):
    values = values_of(WHOLE)
    at = values
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    with pytest.raises(FormatError) as told:
        record_of(Outer, values, "file")
    assert message in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (np.float64, 3, "a is a list, got 3"),
        (np.float64, [1, [2]], "a[0] is a list, got 1"),
        (np.float64, [[1, 2], [3]], "a has rows of different lengths"),
        (np.float64, [[1], [None]], "a[1][0] is a finite number, got None"),
        (np.float64, [float("inf")], "a[0] is a finite number, got inf"),
        (np.float32, [1e39], "a holds a number beyond the range of float32"),
        (np.uint8, [256], "a holds a number beyond the range of uint8"),
        (np.uint8, [-1], "a holds a number beyond the range of uint8"),
        (np.uint8, [1.0], "a[0] is a whole number, got 1.0"),
        (np.int64, [2**63], "a holds a number beyond the range of int64"),
    ],
)
def test_lists_that_are_no_array_are_refused(kind, values, message):
    with pytest.raises(FormatError) as told:
        read(NDArray[kind], values, "a")
    assert message in str(told.value)


def test_keys_are_those_of_the_record_unless_more_or_fewer_are_allowed():
    values = values_of(WHOLE)
    del values["several"][1]["note"]
    with pytest.raises(FormatError, match=r"file\.several\[1\] lacks \['note'\]"):
        record_of(Outer, values, "file")
    assert record_of(Outer, values, "file", optional=True) == WHOLE
    values["several"][0]["colour"] = "red"
    with pytest.raises(FormatError, match=r"file\.several\[0\] has unknown \['colour'\]"):
        record_of(Outer, values, "file", optional=True)
    assert record_of(Outer, values, "file", optional=True, rest=True) == WHOLE
    del values["whole"]
    with pytest.raises(FormatError, match=r"file lacks \['whole'\]"):
        record_of(Outer, values, "file", optional=True, rest=True)


def test_a_whole_file_has_no_name_in_its_paths():
    with pytest.raises(FormatError, match=r"^it lacks \['count'\]$"):
        record_of(Inner, {}, "", optional=True)
    with pytest.raises(FormatError, match=r"^count is a whole number, got None$"):
        record_of(Inner, {"count": None}, "", optional=True)
    with pytest.raises(FormatError, match=r"^count must be at least 0, got -2$"):
        record_of(Inner, {"count": -2}, "", optional=True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(name=st.sampled_from(list(Outer.__dataclass_fields__)), value=JSON)
def test_any_json_is_a_record_or_a_format_error(name, value):
    try:
        made = record_of(Outer, {**values_of(WHOLE), name: value}, "file")
    except FormatError as error:
        assert f"file.{name}" in str(error)
    else:
        assert name == "anything" or record_of(Outer, values_of(made), "file") == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "a key occurs twice"),
        ("[NaN]", "NaN is not a finite number"),
        ("[-Infinity]", "-Infinity is not a finite number"),
        ("[1e999]", "1e999 is not a finite number"),
        ("{", "Expecting"),
    ],
)
def test_text_that_is_no_strict_json_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_json(text)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, float("nan")]}, r"report\.a\[1\] is nan"),
        ({"a": {3: 1}}, "report.a has the key 3"),
        ({"a": np.float32(1)}, "report.a is a float32"),
    ],
)
def test_values_that_no_file_holds_are_refused_before_it_is_written(value, message):
    with pytest.raises(InputError, match=message):
        require_plain(value, "report")


def test_a_field_that_no_file_can_hold_is_a_fault_of_the_program():
    with pytest.raises(TypeError, match="no field of type"):
        read(complex, 1, "a")
