"""Results: one schema, there and back."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from softcell.errors import FormatError, InputError
from softcell.evaluate.results import SCHEMA, Result, read_results, write_results

RESULT = Result(
    task="digits",
    model="cnn",
    device="pcm-partial-reset",
    age_seconds=60.0,
    scheme="combined",
    target_cells_per_weight=2.0,
    cells_per_weight=1.99,
    side_cells_per_weight=0.5,
    accuracy_mean=0.9,
    accuracy_ci95=(0.88, 0.92),
    float_accuracy=0.95,
    seeds=3,
    images=360,
    sdr_db=14.2,
    limit_cells_per_weight=0.9,
    capacity_bits=2.65,
    code_words=30,
    failed_code_words=1,
    first_seed=7,
    accuracies=(0.89, 0.9, 0.91),
    version="0.1.0",
)
PROMISED = {
    "task",
    "model",
    "device",
    "age_seconds",
    "scheme",
    "cells_per_weight",
    "side_cells_per_weight",
    "accuracy_mean",
    "accuracy_ci95",
    "float_accuracy",
    "seeds",
    "images",
    "sdr_db",
    "limit_cells_per_weight",
}


def test_round_trip(tmp_path):
    path = tmp_path / "results.json"
    results = [RESULT, replace(RESULT, scheme="int8", target_cells_per_weight=None, accuracies=())]
    write_results(path, results)
    assert read_results(path) == results
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_the_file_has_the_promised_schema_and_names(tmp_path):
    path = tmp_path / "results.json"
    write_results(path, [RESULT])
    content = json.loads(path.read_text())
    assert set(content) == {"schema", "results"}
    assert content["schema"] == SCHEMA == "softcell.results/1"
    (row,) = content["results"]
    assert set(row) >= PROMISED
    low, high = row["accuracy_ci95"]
    assert (low, high) == (0.88, 0.92)
    numbers = PROMISED - {"task", "model", "device", "scheme", "accuracy_ci95"}
    assert all(isinstance(row[name], int | float) for name in numbers)


def test_an_empty_list_is_a_file_too(tmp_path):
    write_results(tmp_path / "x.json", [])
    assert read_results(tmp_path / "x.json") == []


def test_unknown_names_of_later_versions_are_passed_over(tmp_path):
    row = {**asdict(RESULT), "colour": "red"}
    (tmp_path / "x.json").write_text(json.dumps({"schema": SCHEMA, "results": [row]}))
    assert read_results(tmp_path / "x.json") == [RESULT]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        '{"results": []}',
        '{"schema": "softcell.results/2", "results": []}',
        '{"schema": "softcell.results/1"}',
        '{"schema": "softcell.results/1", "results": 3}',
        '{"schema": "softcell.results/1", "results": [3]}',
        '{"schema": "softcell.results/1", "results": [{}]}',
    ],
)
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(FormatError) as told:
        read_results(tmp_path / "x.json")
    assert "\n" not in str(told.value)
    assert "x.json" in str(told.value)


@pytest.mark.parametrize("name", sorted(PROMISED))
@pytest.mark.parametrize("value", [None, [], {}, "text", float("nan"), [1, 2, 3], ["a", "b"]])
def test_a_missing_or_odd_value_is_refused(tmp_path, name, value):
    row = asdict(RESULT)
    del row[name]
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"schema": SCHEMA, "results": [row]}))
    with pytest.raises(FormatError):
        read_results(path)
    row[name] = value
    if isinstance(value, str) and isinstance(getattr(RESULT, name), str):
        return
    path.write_text(json.dumps({"schema": SCHEMA, "results": [row]}))
    with pytest.raises(FormatError, match="not as the schema has it|NaN is not a finite number"):
        read_results(path)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_results(tmp_path / "missing.json")
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError):
        read_results(tmp_path / "x.json")
    with pytest.raises(FormatError):
        read_results(tmp_path)
    with pytest.raises(InputError):
        write_results(tmp_path / "no folder" / "x.json", [RESULT])


def test_a_result_is_of_finite_numbers():
    for change in ({"sdr_db": float("inf")}, {"accuracy_ci95": (0.1, float("nan"))}):
        with pytest.raises(InputError):
            replace(RESULT, **change)


def test_the_key_tells_settings_apart_and_not_outcomes():
    same = {"accuracy_mean": 0.1, "sdr_db": 1.0, "cells_per_weight": 3.0, "accuracies": ()}
    assert replace(RESULT, **same).key == RESULT.key
    for change in (
        {"task": "x"},
        {"model": "x"},
        {"device": "x"},
        {"age_seconds": 1.0},
        {"scheme": "x"},
        {"target_cells_per_weight": 3.0},
        {"seeds": 4},
        {"first_seed": 8},
        {"images": 4},
        {"version": "x"},
    ):
        assert replace(RESULT, **change).key != RESULT.key
