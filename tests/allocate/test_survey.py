"""What a plan knows of a tensor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from drawn import normal
from softcell.allocate.survey import loss_weights, survey
from softcell.codes.schemes import parse_scheme
from softcell.errors import InputError
from softcell.weights import StateDictWeights
from softcell.weights.finite import as_rows, finite_weights


def kinds(state, scheme):
    surveys = survey(StateDictWeights(state), parse_scheme(scheme))
    return {each.info.name: each.kind for each in surveys}


def test_statistics_of_a_pruned_tensor():
    weights = normal(8, 50)
    weights[weights < 0.2] = 0
    (found,) = survey(StateDictWeights({"w": weights}), parse_scheme("combined"))
    assert found.zeros == int((weights == 0).sum())
    assert found.magnitudes.counts.sum() == int((weights != 0).sum())
    assert found.magnitudes.values.min() > 0
    assert found.magnitudes.values.max() == pytest.approx(float(weights.max()), rel=1e-6)
    assert found.variance == pytest.approx(float(np.mean(weights.astype(float) ** 2)))
    assert (found.rows, found.columns) == (8, 50)
    assert found.importance == pytest.approx(np.full(8, 1 / found.variance))


def test_kinds_of_every_type_and_scheme():
    state = {
        "matrix": normal(4, 4),
        "vector": normal(4),
        "tiny": np.full(3, 1e-6, np.float32),
        "scalar": np.array(2.0, np.float32),
        "half": normal(4, 4).astype(np.float16),
        "half_vector": normal(4).astype(np.float16),
        "bfloat": torch.ones(4, 4, dtype=torch.bfloat16),
        "double": normal(4, 4).astype(np.float64),
        "count": np.array(7),
        "flags": np.ones((2, 2), bool),
        "nothing": np.zeros((0, 3), np.float32),
    }
    raw = dict.fromkeys(("count", "flags", "nothing"), "raw")
    vectors = {"vector": "float16", "tiny": "float32", "scalar": "float16", "half_vector": "raw"}
    matrices = ("matrix", "half", "bfloat", "double")
    coded = {**raw, **vectors, "tiny": "constant", **dict.fromkeys(matrices, "analog")}
    assert kinds(state, "combined") == coded
    assert kinds(state, "int8") == {**raw, **vectors, **dict.fromkeys(matrices, "int8")}
    every = dict.fromkeys(state, "float32")
    halves = {"half": "raw", "half_vector": "raw"}
    assert kinds(state, "float32") == {**every, **raw, **halves, "bfloat": "raw"}
    assert kinds(state, "float16") == {**dict.fromkeys(state, "float16"), **raw, **halves}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(bad):
    weights = normal(3, 3)
    weights[1, 1] = bad
    for scheme in ("combined", "int8", "float32"):
        with pytest.raises(InputError, match="'w' holds 1 weights that are NaN or infinite"):
            survey(StateDictWeights({"w": weights}), parse_scheme(scheme))


def test_weights_beyond_float32_are_named_as_such():
    weights = {"w": np.array([[1.0, 1e39]])}
    with pytest.raises(InputError, match="beyond float32"):
        finite_weights(StateDictWeights(weights), "w")


@pytest.mark.parametrize("state", [{}, {"w": np.zeros((0, 4), np.float32)}])
def test_networks_without_weights_are_refused(state):
    with pytest.raises(InputError, match="no weights"):
        survey(StateDictWeights(state), parse_scheme("int8"))


@pytest.mark.parametrize("dtype", ["complex64", "float8_e4m3fn"])
def test_types_that_could_not_be_restored_are_refused_before_writing(dtype):
    tensor = torch.zeros(2, 2).to(getattr(torch, dtype))
    with pytest.raises(InputError, match="convert it"):
        survey(StateDictWeights({"w": tensor}), parse_scheme("float32"))


def test_sensitivity_by_row():
    fisher = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    (found,) = survey(
        StateDictWeights({"w": normal(3, 2, 2)}),
        parse_scheme("combined"),
        sensitivity={"w": fisher, "other": np.ones(3)},
    )
    assert found.importance.tolist() == [1.5, 5.5, 9.5]


@pytest.mark.parametrize(
    ("fisher", "reason"),
    [
        (np.ones((2, 3)), "has shape"),
        (np.full((3, 2), np.nan), "NaN, infinite or negative"),
        (np.full((3, 2), np.inf), "NaN, infinite or negative"),
        (np.array([[1, 2], [3, -1e-9], [1, 1]]), "NaN, infinite or negative"),
    ],
)
def test_what_is_no_sensitivity_is_refused(fisher, reason):
    with pytest.raises(InputError, match=reason):
        survey(
            StateDictWeights({"w": normal(3, 2)}),
            parse_scheme("combined"),
            sensitivity={"w": fisher},
        )


def test_a_sensitivity_of_another_network_is_refused():
    weights = StateDictWeights({"w": normal(3, 2)})
    with pytest.raises(InputError, match="the sensitivity has no tensor 'w'"):
        survey(weights, parse_scheme("combined"), sensitivity={"module.w": np.ones((3, 2))})
    survey(weights, parse_scheme("naive"), sensitivity={"module.w": np.ones((3, 2))})


def test_tensors_without_sensitivity_stand_in_the_same_unit():
    """A buffer has no Fisher information; counted in another unit it would take every cell."""
    assert loss_weights({"a": 4.0, "b": 0.5}, {}) == {"a": 0.25, "b": 2.0}
    known = {"a": 1e-6, "b": 8e-6}
    told = loss_weights({"a": 4.0, "b": 0.5, "c": 2.0, "d": 0.0}, known)
    assert told == pytest.approx({"a": 1e-6, "b": 8e-6, "c": 2e-6, "d": 0.0})


def test_rows_are_output_channels():
    assert as_rows(normal(4, 3, 2)).shape == (4, 6)
    assert as_rows(normal(5)).shape == (1, 5)
    assert as_rows(np.ones((), np.float32)).shape == (1, 1)


def test_progress_counts_tensors():
    seen = []
    state = {"a": normal(2, 2), "b": normal(3)}
    survey(StateDictWeights(state), parse_scheme("naive"), progress=lambda *told: seen.append(told))
    assert seen == [("survey", 1, 2), ("survey", 2, 2)]


def test_what_is_known_is_not_read_again():
    class Counted(StateDictWeights):
        reads = 0

        def read(self, name):
            Counted.reads += 1
            return super().read(name)

    weights = Counted({"w": normal(4, 6), "b": normal(4), "kept": normal(5, 2)})
    known = {}
    first = survey(weights, parse_scheme("combined"), keep=["kept"], known=known)
    read = Counted.reads
    felt = {"w": np.full((4, 6), 3.0)}
    again = survey(weights, parse_scheme("naive"), sensitivity=felt, keep=["kept"], known=known)
    assert Counted.reads == read > 0
    assert [s.variance for s in again] == [s.variance for s in first]
    assert again[0].importance.tolist() == [3.0] * 4
    survey(weights, parse_scheme("packed"), known=known)
    assert Counted.reads > read
