"""Index coder: no loss, real bytes near or below the first-order entropy, damage noticed."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from softcell.codes.entropy import index_coder
from softcell.codes.entropy.index_coding import (
    LARGEST,
    decode_indices,
    encode_indices,
    stream_size,
)
from softcell.codes.entropy.index_models import (
    CLASSES,
    FRACTION,
    NODES,
    code_mean,
    initial_models,
    mean_code,
    tree_node,
)
from softcell.codes.entropy.trellis import STATES, Trellis
from softcell.errors import FormatError, InputError


def first_order_bits(indices: np.ndarray) -> float:
    _, counts = np.unique(indices, return_counts=True)
    return float(-(counts * np.log2(counts / counts.sum())).sum())


def gaussian(shape: tuple[int, int], sigma: float, seed: int = 1) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(shape) * sigma
    return np.rint(values).astype(np.int32)


@settings(max_examples=200, deadline=None)
@given(
    hnp.arrays(
        np.int32,
        st.tuples(st.integers(0, 9), st.integers(0, 40)),
        elements=st.one_of(st.integers(-3, 3), st.integers(-(2**20), 2**20)),
    ),
    st.sampled_from(STATES),
)
def test_any_indices_come_back(indices, states):
    trellis = Trellis(states)
    stream = encode_indices(indices, trellis=trellis)
    np.testing.assert_array_equal(
        decode_indices(stream, indices.shape, trellis=trellis), indices, strict=True
    )


@pytest.mark.parametrize("sigma", [0.01, 0.3, 3, 300, 3e5, 3e8])
@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (50, 100)])
def test_every_magnitude_and_shape_comes_back(sigma, shape):
    indices = gaussian(shape, sigma)
    indices[0, 0] = LARGEST - 1
    indices[-1, -1] = 1 - LARGEST
    np.testing.assert_array_equal(decode_indices(encode_indices(indices), shape), indices)


def test_the_layout_in_memory_changes_nothing():
    indices = gaussian((60, 50), 2)
    assert encode_indices(np.asfortranarray(indices)) == encode_indices(indices)
    padded = np.zeros((60, 90), np.int32)
    padded[:, ::2][:, :45] = indices[:, :45]
    assert encode_indices(padded[:, ::2]) == encode_indices(indices[:, :45].copy())


def test_one_stream_after_another_neither_influences_the_other():
    first, second = gaussian((30, 30), 1, seed=1), gaussian((20, 70), 5, seed=2)
    alone = encode_indices(second)
    stream = encode_indices(first)
    assert encode_indices(second) == alone
    np.testing.assert_array_equal(decode_indices(alone, (20, 70)), second)
    np.testing.assert_array_equal(decode_indices(stream, (30, 30)), first)


@pytest.mark.parametrize("source", ["gaussian", "laplacian", "sparse"])
@pytest.mark.parametrize("step", [0.2, 0.5, 0.8, 1.5])
def test_independent_indices_take_within_one_percent_of_their_entropy(source, step):
    rng = np.random.default_rng(7)
    values = {
        "gaussian": rng.standard_normal((400, 500)),
        "laplacian": rng.laplace(size=(400, 500)) / np.sqrt(2),
        "sparse": rng.standard_normal((400, 500)) * (rng.random((400, 500)) < 0.1),
    }[source]
    indices = np.rint(values / step).astype(np.int32)
    margin = 1.02 if source == "sparse" else 1.01
    assert 8 * len(encode_indices(indices)) < margin * first_order_bits(indices) + 64


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_or_columns_of_unequal_spread_take_less_than_the_first_order_entropy(axis):
    rng = np.random.default_rng(3)
    spread = np.exp(rng.standard_normal(300))
    values = rng.standard_normal((300, 300)) * (spread[:, None] if axis == 0 else spread)
    indices = np.rint(values).astype(np.int32)
    ideal = sum(first_order_bits(line) for line in np.moveaxis(indices, axis, 0))
    bits = 8 * len(encode_indices(indices))
    assert bits < 0.93 * first_order_bits(indices)
    assert bits < 1.14 * ideal


@pytest.mark.parametrize("lag", [1, 3, 7])
@pytest.mark.parametrize("direction", [1, -1])
def test_signs_that_follow_a_neighbour_cost_less(lag, direction):
    rng = np.random.default_rng(4)
    sizes = 1 + rng.poisson(1.0, (100, 210))
    flips = rng.random((100, 210)) < 0.1
    signs = np.where(rng.random((100, 210)) < 0.5, 1, -1)
    for column in range(lag, 210):
        agreed = direction * signs[:, column - lag]
        signs[:, column] = np.where(flips[:, column], -agreed, agreed)
    indices = (sizes * signs).astype(np.int32)
    expected = 0.469  # bits of a flip in ten
    bits = 8 * len(encode_indices(indices)) - first_order_bits(sizes)
    assert bits / indices.size < expected + 0.08


def test_a_small_tensor_pays_little():
    streams = [encode_indices(gaussian((8, 36), 1.2, seed=seed)) for seed in range(40)]
    entropy = 288 * 2.349  # of a normal variable of deviation 1.2, rounded
    header = 4
    assert 8 * (np.mean([len(stream) for stream in streams]) - header) < 1.03 * entropy


def test_zeros_cost_next_to_nothing():
    assert len(encode_indices(np.zeros((1000, 1000), np.int32))) < 500


def test_a_trellis_changes_the_models_but_not_the_indices():
    indices = gaussian((64, 64), 2)
    plain, dependent = encode_indices(indices), encode_indices(indices, trellis=Trellis(8))
    assert plain != dependent
    np.testing.assert_array_equal(decode_indices(dependent, (64, 64), trellis=Trellis(8)), indices)


def test_every_truncation_and_every_extension_is_refused():
    indices = gaussian((20, 20), 2)
    stream = encode_indices(indices)
    for length in range(len(stream)):
        with pytest.raises(FormatError):
            decode_indices(stream[:length], (20, 20))
    with pytest.raises(FormatError, match="something follows"):
        decode_indices(stream + b"\0", (20, 20))
    with pytest.raises(FormatError, match="its shape is another"):
        decode_indices(stream, (10, 20))
    with pytest.raises(FormatError, match="no bytes"):
        decode_indices(stream, (20, 0))


def test_a_damaged_stream_decodes_to_something_or_is_refused():
    indices = gaussian((30, 30), 2)
    stream = encode_indices(indices)
    for place in range(len(stream)):
        for bit in range(8):
            damaged = bytearray(stream)
            damaged[place] ^= 1 << bit
            try:
                assert decode_indices(bytes(damaged), (30, 30)).shape == (30, 30)
            except FormatError as error:
                assert "\n" not in str(error)


def test_streams_that_follow_each_other_can_be_told_apart():
    first, second = encode_indices(gaussian((40, 40), 2)), encode_indices(gaussian((3, 3), 1))
    assert stream_size(first + second) == len(first)
    with pytest.raises(FormatError, match="are left"):
        stream_size(first[:-1])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 30), st.integers(0, 30))
def test_any_bytes_decode_or_are_refused(data, rows, columns):
    try:
        assert decode_indices(data, (rows, columns)).shape == (rows, columns)
    except FormatError as error:
        assert "\n" not in str(error)


def test_indices_of_another_type_shape_or_size_are_refused():
    with pytest.raises(InputError, match="int32"):
        encode_indices(np.zeros((2, 2), np.int64))
    with pytest.raises(InputError, match="rows, columns"):
        encode_indices(np.zeros(4, np.int32))
    with pytest.raises(InputError, match="2\\^31"):
        encode_indices(np.array([[-(2**31)]], np.int32))


def test_classes_are_thirds_of_octaves():
    assert code_mean(mean_code(1.0)) <= 1 << FRACTION < code_mean(mean_code(1.0) + 1)
    for number in range(12, CLASSES - 3):
        assert abs(code_mean(number + 3) / code_mean(number) - 2) < 0.02
        assert mean_code(1.05 * code_mean(number) / (1 << FRACTION)) == number
    assert mean_code(0) == 0
    assert mean_code(1e30) == CLASSES - 1


def test_priors_are_those_of_a_rounded_laplacian():
    number = 20
    mean = (code_mean(number) + code_mean(number + 1)) / 2 / (1 << FRACTION)
    scale = next(s for s in np.arange(0.1, 20, 1e-4) if laplacian_mean(s) >= mean)
    tail = lambda k: np.exp(-(k - 0.5) / scale)  # noqa: E731
    prior = initial_models(1)[0][0, number] / 2**24
    assert prior.shape == (NODES,)
    assert prior[0] == pytest.approx(tail(1), abs=1e-3)
    assert prior[1] == pytest.approx(tail(2) / tail(1), abs=1e-3)
    assert prior[2] == pytest.approx(tail(4) / tail(2), abs=1e-3)
    upper = (tail(3) - tail(4)) / (tail(2) - tail(4))
    assert prior[tree_node(2)] == pytest.approx(upper, abs=1e-3)
    upper = (tail(6) - tail(8)) / (tail(4) - tail(8))
    assert prior[tree_node(3)] == pytest.approx(upper, abs=1e-3)


def laplacian_mean(scale: float) -> float:
    r = np.exp(-1 / scale)
    return float(np.sqrt(r) / (1 - r))


def test_the_bytes_stay_what_they_are():
    """A change here breaks every image written before: it needs a new format."""
    state, values = 12345, []
    for _ in range(2000):  # a generator that no library can change
        state = (1103515245 * state + 12345) % 2**31
        values.append((state >> 16) % 16)
    triangle = np.array(values[::2]) - np.array(values[1::2])
    indices = (triangle * np.abs(triangle) // 16).reshape(25, 40).astype(np.int32)
    indices[3, 4] = 2**20
    found = {
        states: hashlib.sha256(encode_indices(indices, trellis=Trellis(states))).hexdigest()[:16]
        for states in (1, 8)
    }
    assert found == {1: "9297f4b7e971eb82", 8: "d8088c402329b7f9"}


# Streams that are used up


@pytest.mark.parametrize("states", [1, 8])
@pytest.mark.parametrize("by_column", [False, True])
@pytest.mark.parametrize("run", [1, 7, 64, 1000])
def test_runs_of_any_length_make_the_same_stream(monkeypatch, run, states, by_column):
    trellis = Trellis(states, by_column=by_column)
    indices = gaussian((23, 19), 30)
    stream = encode_indices(indices, trellis=trellis)
    monkeypatch.setattr(index_coder, "_RUN", run)
    assert encode_indices(indices, trellis=trellis) == stream
    np.testing.assert_array_equal(decode_indices(stream, (23, 19), trellis=trellis), indices)


@pytest.mark.parametrize("shape", [(10**6, 10**6), (1, 10**12), (10**9, 1)])
def test_a_shape_beyond_what_bytes_can_hold_is_refused_before_memory_is_taken(shape):
    stream = encode_indices(gaussian((30, 30), 2))
    with pytest.raises(FormatError, match="cannot hold indices"):
        decode_indices(stream, shape)


def test_the_most_indices_that_bytes_hold_are_decoded():
    # Nothing takes fewer bits than zeros among zeros.
    zeros = np.zeros((2000, 2000), np.int32)
    stream = encode_indices(zeros)
    assert zeros.size > 8_000 * len(stream)
    np.testing.assert_array_equal(decode_indices(stream, zeros.shape), zeros)


def test_a_decoder_stops_soon_after_its_stream_has_ended(monkeypatch):
    stream = encode_indices(gaussian((100, 100), 2))
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return code(*arguments)

    code = index_coder.code_indices
    monkeypatch.setattr(index_coder, "code_indices", counted)
    monkeypatch.setattr(index_coder, "_RUN", 1000)
    with pytest.raises(FormatError, match="ends at byte"):
        decode_indices(stream, (10_000, 1_000))
    assert 10 <= len(calls) <= 20  # of 10,000
