"""k-means code books: optimality of values and cells, and what zeros are."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.compress import kmeans_codebook, prune_magnitude
from softcell.errors import InputError

DENSITIES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "laplace": lambda rng, n: rng.laplace(size=n),
    "few large": lambda rng, n: rng.normal(size=n) * np.where(rng.uniform(size=n) < 0.01, 30, 1),
    "lopsided": lambda rng, n: rng.exponential(size=n) - 0.2,
}


def matrix(density, rows=30, columns=50, seed=0):
    rng = np.random.default_rng(seed)
    return DENSITIES[density](rng, rows * columns).reshape(rows, columns)


def felt_by(seed, shape=(30, 50)):
    return np.random.default_rng(seed).exponential(size=shape) ** 2


def error(weights, shared, felt=1.0):
    return float((felt * (weights - shared) ** 2).sum())


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_means_of_their_cells_and_weights_take_the_nearest(density, weighted):
    weights = matrix(density)
    felt = felt_by(1) if weighted else np.ones_like(weights)
    sensitivity = {"w": felt} if weighted else None
    state, books = kmeans_codebook({"w": weights}, 4, sensitivity=sensitivity)
    shared, book = state["w"], books["w"]
    assert (np.diff(book) > 0).all()
    assert book.size == 16
    distance = np.abs(weights[..., None] - book)
    np.testing.assert_allclose(np.abs(weights - shared), distance.min(axis=-1), atol=1e-12)
    for value in book:
        cell = shared == value
        np.testing.assert_allclose(
            np.average(weights[cell], weights=felt[cell]), value, rtol=1e-8, atol=1e-9
        )


@pytest.mark.parametrize("density", DENSITIES)
def test_the_error_is_below_that_of_even_steps_and_falls_with_bits(density):
    weights = matrix(density)
    errors = []
    for bits in range(1, 9):
        shared = kmeans_codebook({"w": weights}, bits)[0]["w"]
        even = np.linspace(weights.min(), weights.max(), 2**bits)
        nearest = even[np.abs(weights[..., None] - even).argmin(axis=-1)]
        errors.append(error(weights, shared))
        assert errors[-1] < error(weights, nearest)
    assert (np.diff(errors) < 0).all()


def test_four_values_for_normal_weights_are_those_of_lloyd_and_max():
    half = matrix("normal", 500, 200)
    book = kmeans_codebook({"w": np.concatenate([half, -half])}, 2)[1]["w"]
    # Max, "Quantizing for minimum distortion", IRE Transactions IT-6 (1960), table I, N = 4.
    np.testing.assert_allclose(book, [-1.510, -0.4528, 0.4528, 1.510], atol=0.01)


def test_sensitivity_moves_the_error_to_where_it_is_not_felt():
    weights, felt = matrix("normal"), felt_by(2)
    blind = kmeans_codebook({"w": weights}, 3)[0]["w"]
    aware = kmeans_codebook({"w": weights}, 3, sensitivity={"w": felt})[0]["w"]
    assert error(weights, aware, felt) < error(weights, blind, felt)
    assert error(weights, aware) > error(weights, blind)
    alike = kmeans_codebook({"w": weights}, 3, sensitivity={"w": np.full((30, 50), 7.0)})[0]["w"]
    np.testing.assert_allclose(alike, blind, rtol=1e-9)


@pytest.mark.parametrize("felt", [0.0, 1e-300, 1e300])
def test_any_scale_of_the_sensitivity_serves(felt):
    weights = matrix("normal")
    shared = kmeans_codebook({"w": weights}, 3, sensitivity={"w": np.full((30, 50), felt)})[0]
    np.testing.assert_allclose(shared["w"], kmeans_codebook({"w": weights}, 3)[0]["w"], rtol=1e-9)


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_zeros_stay_and_nothing_else_becomes_zero(bits):
    pruned = prune_magnitude({"w": matrix("lopsided")}, 0.6)["w"]
    state, books = kmeans_codebook({"w": pruned}, bits)
    np.testing.assert_array_equal(state["w"] == 0, pruned == 0)
    assert 0 in books["w"]
    assert set(np.unique(state["w"])) == set(books["w"])
    assert books["w"].size == 2**bits


def test_few_values_are_kept_as_they_are():
    weights = np.random.default_rng(0).choice([-1.5, 0.0, 0.25, 3.0], size=(20, 20))
    state, books = kmeans_codebook({"w": weights, "z": np.zeros((2, 2))}, 2)
    np.testing.assert_array_equal(state["w"], weights)
    np.testing.assert_array_equal(state["z"], np.zeros((2, 2)))
    assert (books["w"].tolist(), books["z"].tolist()) == ([-1.5, 0.0, 0.25, 3.0], [0.0])


def test_types_vectors_and_kept_tensors_stay_and_the_input_is_not_changed():
    state = {
        "single": matrix("normal").astype(np.float32),
        "half": matrix("laplace").astype(np.float16).reshape(30, 5, 10),
        "kept": matrix("normal", seed=1),
        "bias": np.arange(5.0),
        "steps": np.arange(6).reshape(2, 3),
    }
    copy = {name: values.copy() for name, values in state.items()}
    shared, books = kmeans_codebook(state, 3, keep=["kept"])
    assert books.keys() == {"single", "half"}
    for name, values in copy.items():
        np.testing.assert_array_equal(state[name], values)
        assert (shared[name].dtype, shared[name].shape) == (values.dtype, values.shape)
    for name in ("kept", "bias", "steps"):
        np.testing.assert_array_equal(shared[name], copy[name])
    for name, book in books.items():
        np.testing.assert_array_equal(np.unique(shared[name]), book.astype(state[name].dtype))


def test_what_cannot_be_is_refused():
    state = {"w": matrix("normal")}
    for bits in (0, 17, -1):
        with pytest.raises(InputError, match="1 to 16 bits"):
            kmeans_codebook(state, bits)
    with pytest.raises(InputError, match="'w' has shape"):
        kmeans_codebook(state, 4, sensitivity={"w": np.ones((50, 30))})
    with pytest.raises(InputError, match="negative"):
        kmeans_codebook(state, 4, sensitivity={"w": -np.ones((30, 50))})
    with pytest.raises(InputError, match="NaN"):
        kmeans_codebook({"w": np.full((2, 2), np.inf)}, 4)
    with pytest.raises(InputError, match="no matrix"):
        kmeans_codebook({"bias": np.ones(3)}, 4)
    with pytest.raises(InputError, match="'other'"):
        kmeans_codebook(state, 4, keep=["other"])
