"""Trellises: their structure, their gain, and that the indices alone lead through them."""

from __future__ import annotations

import numpy as np
import pytest

from softcell.codes.entropy.quantise import quantise
from softcell.codes.entropy.stream import decode, encode
from softcell.codes.entropy.trellis import STATES, Trellis
from softcell.errors import InputError

TRELLISES = [states for states in STATES if states > 1]


@pytest.mark.parametrize("states", TRELLISES)
def test_every_state_is_left_and_reached_by_both_parities(states):
    transitions = Trellis(states).transitions
    assert transitions.shape == (states, 2)
    assert (transitions[:, 0] != transitions[:, 1]).all()
    np.testing.assert_array_equal(np.bincount(transitions.ravel()), np.full(states, 2))


@pytest.mark.parametrize(("states", "distance"), [(4, 9), (8, 10), (16, 11), (32, 13), (64, 14)])
def test_the_free_distance_is_that_of_ungerboecks_code(states, distance):
    """Squared free distances of Table I for amplitude modulation, in units of the spacing's.

    Dijkstra over pairs of states, for paths that part and meet again. Two branches lie apart by
    the distance of their cosets 2 z1 + z0 modulo 4 (1 or 2 spacings), or, where both take the same
    coset, by nothing.
    """
    transitions = Trellis(states).transitions
    best = {}
    queue = {(s, s, False): 0 for s in range(states)}
    while queue:
        node = min(queue, key=queue.get)
        length = queue.pop(node)
        best[node] = length
        first, second, parted = node
        for a in range(2):
            for b in range(2):
                if not parted and a == b:
                    continue
                cosets = 2 * a + (first & 1), 2 * b + (second & 1)
                apart = abs(cosets[0] - cosets[1])
                apart = min(apart, 4 - apart) ** 2
                following = (int(transitions[first, a]), int(transitions[second, b]), True)
                if following not in best:
                    queue[following] = min(queue.get(following, 10**9), length + apart)
    met = min(length for (a, b, parted), length in best.items() if parted and a == b)
    assert met == distance


def test_the_quantisers_follow_from_the_parities():
    trellis = Trellis(8)
    indices = np.random.default_rng(1).integers(-9, 10, (13, 17)).astype(np.int32)
    state, expected = 0, []
    for index in indices.ravel():
        expected.append(state & 1)
        state = trellis.transitions[state, abs(index) % 2]
    np.testing.assert_array_equal(trellis.quantiser_of(indices).ravel(), expected)
    assert not Trellis().quantiser_of(indices).any()


def test_the_path_found_is_the_best_of_all_paths():
    """At no price of bits, against every sequence of indices near the weights."""
    weights = np.random.default_rng(3).standard_normal((1, 5)).astype(np.float32)
    trellis = Trellis(4)
    best = np.inf
    grid = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 5, indexing="ij"), -1).reshape(-1, 5)
    state = np.zeros(len(grid), np.int64)
    error = np.zeros(len(grid))
    for place in range(5):
        index = grid[:, place]
        value = index - np.sign(index) * 0.5 * (state & 1)
        error += (weights[0, place] - value) ** 2
        state = trellis.transitions[state, index & 1]
    best = error.min()
    found = quantise(weights, 1.0, trade_off=0, trellis=trellis)
    values = found.indices - np.sign(found.indices) * 0.5 * trellis.quantiser_of(found.indices)
    assert ((weights - values) ** 2).sum() == pytest.approx(best, rel=1e-6)


def distortion(step_for_bits, weights: np.ndarray, bits: float, states: int) -> float:
    trellis = Trellis(states)
    step = step_for_bits(weights, bits, trellis=trellis)
    stream = encode(weights, step, trellis=trellis)
    assert 8 * len(stream) <= bits * weights.size
    return float(((decode(stream, weights.shape) - weights) ** 2).mean())


def test_eight_states_gain_over_half_a_decibel_at_equal_bits(step_for_bits):
    weights = np.random.default_rng(5).standard_normal((150, 200)).astype(np.float32)
    scalar, eight = (distortion(step_for_bits, weights, 2.4, states) for states in (1, 8))
    assert 10 * np.log10(scalar / eight) > 0.6


def test_more_states_come_closer(step_for_bits):
    weights = np.random.default_rng(5).standard_normal((150, 200)).astype(np.float32)
    four, sixteen = (distortion(step_for_bits, weights, 3.6, states) for states in (4, 16))
    assert 10 * np.log10(four / sixteen) > 0.1


@pytest.mark.parametrize("states", [0, 2, 3, 128])
def test_other_numbers_of_states_are_refused(states):
    with pytest.raises(InputError, match=f"not {states}"):
        Trellis(states)
