"""What the coder of quantisation indices expects before it has seen any: classes and priors.

A *class* is a range of the local activity, the magnitude that the indices already coded let one
expect: a third of an octave wide, so that within it one model fits. Because a class means an
expected magnitude, its models start at those of a Laplacian variable of that mean magnitude
instead of at one half, and a tensor of a few hundred weights costs hardly more than its entropy.

All of it comes from integers, or from additions, products, quotients and square roots, which
IEEE 754 rounds alike everywhere: the same stream decodes to the same indices on every machine.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

# Activities are fixed-point numbers with this many fractional bits.
FRACTION = 12
# Magnitudes above count as this in an activity.
LARGEST_ACTIVITY = 1 << 16
# Class boundaries begin at 0.02, three to an octave; class 0 lies below.
_FIRST_BOUNDARY = 82  # 0.02 * 2 ** FRACTION
CLASSES = 66

# Nodes of the tree of binary decisions that spells a magnitude: first its length in bits in
# unary, then the bits below the leading one; see `index_kernels`.
LENGTH_NODES = 24
LONGEST_TREE = 4  # lengths up to this have a node for each prefix
LARGE_NODES = LENGTH_NODES + (1 << LONGEST_TREE) - 1 - LONGEST_TREE
LARGEST_LENGTH = 12  # lengths from this on share their nodes
NODES = LARGE_NODES + 3 * (LARGEST_LENGTH - LONGEST_TREE)

# A sign is predicted from six neighbours and a constant; the weights of these are in units of
# 2^-SIGN_FRACTION.
SIGN_INPUTS = 7
SIGN_FRACTION = 20
# Learning rate of a sign's weights: FIRST_RATE / sqrt(1 + n / 4) after n signs, at least LAST_RATE.
_FIRST_RATE = 1024  # 1 / 4, in units of 2^-12
_LAST_RATE = 10

# Probabilities have this many bits in a model; the coder takes the upper 16 of them.
PROBABILITY_BITS = 24
SMALLEST_PROBABILITY = 1 << 12
# A model's first observation moves it by 1 / FIRST_COUNT, the last by 1 / LAST_COUNT.
FIRST_COUNT = 8
LAST_COUNT = 512


def _boundary(number: int) -> int:
    """Return the activity at which class ``number`` begins: 0.02 * 2^((number - 1) / 3)."""
    cube = _FIRST_BOUNDARY**3 << (number - 1)
    root: int = round(cube ** (1 / 3))
    while root**3 < cube:
        root += 1
    while (root - 1) ** 3 >= cube:
        root -= 1
    return root


@cache
def class_tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the class of an activity from its bits 4 to 15, and from its bits 12 to 27."""
    boundaries = np.array([_boundary(number) for number in range(1, CLASSES)])
    fine = np.searchsorted(boundaries, np.arange(4096) << 4, side="right")
    coarse = np.searchsorted(boundaries, np.arange(1 << 16) << 12, side="right")
    return fine.astype(np.uint8), coarse.astype(np.uint8)


@cache
def reciprocals() -> NDArray[np.int64]:
    """Return 2^16 / n for n from 0 (where it is 2^16) to LAST_COUNT."""
    counts = np.maximum(np.arange(LAST_COUNT + 1), 1)
    return (1 << 16) // counts


@cache
def logistic() -> NDArray[np.int64]:
    """Return 2^16 / (1 + exp(-x)) for x = -8 to 8 in steps of 1 / 256, within 1 and 2^16 - 1."""
    step = 0.9961013694701175  # exp(-1 / 256)
    power = [1.0]
    for _ in range(8 * 256):
        power.append(power[-1] * step)
    upper = [int(65536 / (1 + value)) for value in power]
    return np.array([65536 - value for value in upper[:0:-1]] + upper, np.int64)


@cache
def sign_rates() -> NDArray[np.int64]:
    """Return the learning rate after 0, 1, ... signs, in units of 2^-12, until it is the least."""
    last = 4 * (_FIRST_RATE * _FIRST_RATE // (_LAST_RATE * _LAST_RATE))
    rates = [int(_FIRST_RATE / math.sqrt(1 + count / 4)) for count in range(last)]
    return np.maximum(np.array(rates, np.int64), _LAST_RATE)


@cache
def _initial_probabilities() -> NDArray[np.int32]:
    """Return the priors of one set of models, shape (CLASSES, NODES)."""
    prior = np.empty((CLASSES, NODES))
    for number in range(CLASSES):
        begin = _boundary(number) if number else _FIRST_BOUNDARY // 2
        end = _boundary(number + 1) if number else _FIRST_BOUNDARY
        prior[number] = _laplacian((begin + end) / (2 << FRACTION))
    scaled = np.floor(prior * (1 << PROBABILITY_BITS)).astype(np.int64)
    last = (1 << PROBABILITY_BITS) - SMALLEST_PROBABILITY
    return np.clip(scaled, SMALLEST_PROBABILITY, last).astype(np.int32)


def initial_models(quantisers: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return fresh models of magnitudes and of signs.

    The first, of shape (2, quantisers * CLASSES, NODES), has each decision's probability of one
    in units of 2^-24, and its count of observations. The second has the weights of the sign's
    neighbours, which begin at none, and the count of signs.
    """
    return _initial_magnitudes(quantisers).copy(), np.zeros(SIGN_INPUTS + 1, np.int64)


@cache
def _initial_magnitudes(quantisers: int) -> NDArray[np.int32]:
    magnitudes = np.empty((2, quantisers * CLASSES, NODES), np.int32)
    magnitudes[0] = np.tile(_initial_probabilities(), (quantisers, 1))
    magnitudes[1] = FIRST_COUNT
    return magnitudes


def _laplacian(mean: float) -> NDArray[np.float64]:
    """Return every node's probability for a rounded Laplacian variable of this mean magnitude.

    With r = exp(-step / scale): P(|q| >= k) = r^(k - 1/2) for k >= 1, hence the mean magnitude
    is sqrt(r) / (1 - r), and the binary digits of |q| - 1 are independent of each other.
    """
    root = (math.sqrt(1 + 4 * mean * mean) - 1) / (2 * mean)
    power = [root * root]  # r, r^2, r^4, ...
    for _ in range(LENGTH_NODES):
        power.append(power[-1] * power[-1])
    node = np.empty(NODES)
    node[0] = root
    node[1:LENGTH_NODES] = power[: LENGTH_NODES - 1]
    digit = [p / (1 + p) for p in power]
    for length in range(2, LONGEST_TREE + 1):
        first = tree_node(length)
        for place in range(length - 1):
            prefixes = slice(first + (1 << place) - 1, first + (2 << place) - 1)
            node[prefixes] = digit[length - 2 - place]
    for length in range(LONGEST_TREE + 1, LARGEST_LENGTH + 1):
        first = LARGE_NODES + 3 * (length - LONGEST_TREE - 1)
        node[first] = digit[length - 2]
        node[first + 1 : first + 3] = digit[length - 3]
    return node


def tree_node(length: int) -> int:
    """Return the first node of the bits below the leading one, for 2 to LONGEST_TREE bits."""
    return LENGTH_NODES + (1 << (length - 1)) - length


def mean_code(mean: float) -> int:
    """Return the class, below 66, in which a mean magnitude falls.

    Example:
        >>> mean_code(0.0), mean_code(1.0), mean_code(2.0)
        (0, 17, 20)
    """
    fixed = int(min(mean, LARGEST_ACTIVITY - 1) * (1 << FRACTION))
    fine, coarse = class_tables()
    return int(fine[fixed >> 4] if fixed < 1 << 16 else coarse[fixed >> 12])


def code_mean(code: int) -> int:
    """Return the activity at the beginning of a class, 1 / 2^6 for class 0."""
    return _boundary(code) if code else 1 << (FRACTION - 6)
