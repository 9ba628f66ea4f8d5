"""Let the weights of a matrix share a few values: k-means code books."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.compress.absorb import LoopLayer
from softcell.compress.matrices import fisher_of, weight_matrices
from softcell.curvature import Calibration
from softcell.errors import InputError

MOST_BITS = 16
"""Bits of an index at most."""

_ITERATIONS = 1000


def kmeans_codebook(
    state: Mapping[str, NDArray[Any]],
    bits: int,
    *,
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None,
    calibration: Calibration | None = None,
    keep: Collection[str] = (),
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[np.float64]]]:
    """Replace the weights of each matrix by the nearest of at most 2^bits values that they share.

    minimise  sum_i F_i (w_i - c(w_i))^2,  c(w) the value nearest to w

    by Lloyd's iterations: every value becomes the mean of its cell, weighted by F, and cells reach
    half-way to the next values. Values begin evenly spaced from the least to the largest weight,
    so that no code book is worse than even steps; a value whose cell is empty goes to the cell with
    the largest error. Weights that are zero stay zero and are a cell of their
    own, so that a pruned network stays pruned.

    Args:
        state: Tensors by name.
        bits: Bits of an index, 1 to 16.
        sensitivity: Diagonal Fisher information F by name, as `diagonal_fisher` gives it; tensors
            that are not in it, and None, count all their weights alike.
        calibration: Curvature of the layers, to choose values in the feedback loop: column by
            column, each weight takes the value nearest to what errors so far have left to it.
        keep: Names of tensors to leave as they are.

    Returns:
        Tensors by name, those that change as copies; and the code book of each matrix, its values
        in rising order, shape (values,), zero among them where a weight is zero.

    Raises:
        InputError: Bits out of range, no matrix, weights that are not finite, a sensitivity that
            does not fit its tensor, or a name of `keep` that is not in the network.

    Source:
        Han, Mao and Dally, "Deep compression", ICLR 2016, arXiv 1510.00149, section 3; weighted by
        the curvature of the loss: Choi et al., "Towards the limit of network quantization", ICLR
        2017, arXiv 1612.01543, section 3.

    Example:
        >>> shared, books = kmeans_codebook({"w": np.array([[0.0, 1.0], [1.2, -3.0]])}, 2)
        >>> shared["w"].tolist(), books["w"].tolist()
        ([[0.0, 1.0], [1.2, -3.0]], [-3.0, 0.0, 1.0, 1.2])
    """
    if not 1 <= bits <= MOST_BITS:
        raise InputError(f"an index has 1 to {MOST_BITS} bits, got {bits}")
    matrices = weight_matrices(state, keep)
    if calibration is not None:
        calibration.require_network({name: values.shape for name, values in state.items()})
    known = {name: w for name, w in matrices.items() if sensitivity and name in sensitivity}
    felt = fisher_of(known, sensitivity or {})
    shared, books = {}, {}
    for name, weights in matrices.items():
        book = _codebook(weights, felt.get(name, np.ones(weights.shape)), 2**bits)
        zero = weights == 0
        values = book[book != 0] if zero.any() and book.size > 1 else book
        if calibration is not None and name in calibration.layers:
            chosen = LoopLayer.of(weights, calibration.layers[name]).nearest(values)
        else:
            nearest = values[np.searchsorted(_borders(values), weights)]
            chosen = np.where(zero, 0, nearest)
        shared[name] = chosen.astype(weights.dtype)
        books[name] = book
    return {**state, **shared}, books


def _codebook(weights: NDArray[Any], felt: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Return the values of one tensor's code book, rising, shape (values,)."""
    some = weights != 0
    order = np.argsort(weights[some], kind="stable")
    values = weights[some][order].astype(np.float64)
    zero = np.zeros(0 if some.all() else 1)
    distinct = values[np.flatnonzero(np.diff(values, prepend=-np.inf))]
    if distinct.size + zero.size > most:
        distinct = _best(values, felt[some][order], most - zero.size)
    return np.union1d(distinct, zero)


def _best(
    weights: NDArray[np.float64], felt: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """Return the shared values of sorted weights, shape (count,) or less.

    Felt unevenly, even spacing is a poor beginning: the code book of weights that are felt alike is
    tried, too.
    """
    even = np.linspace(weights[0], weights[-1], count)
    alike, _ = _lloyd(weights, np.ones_like(felt), even)
    if felt.max() == felt.min():
        return alike
    tried = [_lloyd(weights, felt / felt.max(), start) for start in (even, alike)]
    return min(tried, key=lambda found: found[1])[0]


def _lloyd(
    weights: NDArray[np.float64], felt: NDArray[np.float64], book: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Return where the iterations lead from a first code book, and the error that is left.

    Args:
        weights: Rising, shape (weights,).
        felt: What the loss feels of a squared error of each, same shape.
        book: Values, rising.
    """
    sums = np.zeros((3, len(weights) + 1))
    for power in range(3):
        np.cumsum(felt * weights**power, out=sums[power, 1:])
    before = np.zeros(0, np.int64)
    for _ in range(_ITERATIONS):
        inner = np.searchsorted(weights, _borders(book), side="right")
        edges = np.concatenate([[0], inner, [len(weights)]])
        mass, moment, square = np.diff(sums[:, edges])
        means = np.divide(moment, mass, out=book.copy(), where=mass > 0)
        # Differences of long sums round; a mean never leaves its cell.
        low, high = weights[np.minimum(edges[:-1], len(weights) - 1)], weights[edges[1:] - 1]
        used = edges[:-1] < edges[1:]
        book = np.where(used, np.clip(means, low, high), book)
        errors = np.where(low < high, square - 2 * book * moment + book**2 * mass, 0.0)
        if np.array_equal(edges, before):
            break
        before = edges
        empty = np.flatnonzero(~used)
        widest = np.argsort(-errors, kind="stable")[: empty.size]
        widest = widest[errors[widest] > 0]
        deviations = np.sqrt(errors[widest] / mass[widest])
        book[empty[: widest.size]] = np.minimum(book[widest] + deviations, high[widest])
        book.sort()
    return np.unique(book), float(errors.sum())


def _borders(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where the cells of rising values meet, shape (values - 1,)."""
    return (values[:-1] + values[1:]) / 2
