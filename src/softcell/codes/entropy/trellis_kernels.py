"""The inner loops of rate-distortion-optimised and of trellis-coded quantisation.

They stay in one file: a compiled function is cached by the file that it is in, and would not notice
a change in another.
"""

from __future__ import annotations

import numpy as np

from softcell.codes.entropy.index_models import (
    CLASSES,
    LARGE_NODES,
    LARGEST_LENGTH,
    LENGTH_NODES,
    LONGEST_TREE,
)
from softcell.compiled import compiled

# Magnitudes below this have their code lengths in a table.
LEVELS = 64
# Weights whose states are kept before the best path through them is chosen.
BLOCK = 1 << 14
# Magnitudes 1, 2 and 3 upwards each have their own reconstruction offset.
OFFSETS = 3


@compiled()
def walk(indices, transitions, by_column, states, quantisers):
    """Write every index's quantiser, given all indices of some rows; carry the paths' states on."""
    rows, columns = indices.shape
    for row in range(rows):
        for column in range(columns):
            path = column if by_column else 0
            quantisers[row, column] = states[path] & 1
            states[path] = transitions[states[path], indices[row, column] & 1]


@compiled()
def fill_code_lengths(bits, used, levels, lengths):
    """Add up the bits of the decisions that spell a magnitude, its sign at one bit among them.

    Args:
        bits: Bits of each node's decision, float32, shape (2, used, NODES): for zero, for one.
        used: Models that they are of, shape (used,).
        levels: Filled with the bits of each magnitude below LEVELS, shape (models, LEVELS).
        lengths: Filled with the bits of larger magnitudes by length, shape (models, 32).
    """
    for number in range(used.size):
        model = used[number]
        ones = np.float32(0)
        for length in range(32):
            if length < 31:
                lengths[model, length] = ones + bits[0, number, min(length, LENGTH_NODES - 1)]
            else:
                lengths[model, length] = ones
            if length:
                lengths[model, length] += np.float32(length)  # bits below the leading one; sign
            ones += bits[1, number, min(length, LENGTH_NODES - 1)]
        for size in range(LEVELS):
            length = 0
            while size >> length:
                length += 1
            total = lengths[model, length]
            if length > 1:
                prefix = 1
                for place in range(length - 2, -1, -1):
                    if length <= LONGEST_TREE:
                        node = LENGTH_NODES + (1 << (length - 1)) - length + prefix - 1
                    elif prefix < 4:
                        node = LARGE_NODES + 3 * (min(length, LARGEST_LENGTH) - LONGEST_TREE - 1)
                        node += prefix - 1
                    else:
                        break
                    bit = (size >> place) & 1
                    total += bits[bit, number, node] - np.float32(1)
                    prefix = 2 * prefix + bit
            levels[model, size] = total


@compiled(inline="always")
def _magnitude(size, quantiser, offsets):
    """Return the reconstruction of a magnitude, in steps."""
    if size == 0:
        return 0.0
    return size - 0.5 * quantiser - offsets[min(size, OFFSETS) - 1]


@compiled()
def _best_choices(x, scale, multiplier, number, offsets, levels, lengths, cost, choice):
    """Find for each quantiser and parity the index of least cost for the magnitude x in steps."""
    for quantiser in range(cost.shape[0]):
        model = number + quantiser * CLASSES
        cost[quantiser, 0] = np.inf
        cost[quantiser, 1] = np.inf
        base = np.int64(x + 0.5 * quantiser)
        for k in range(4):
            size = base + 1 - k if k < 3 else 0
            if size < 0 or (k == 3 and base <= 1):
                continue
            if size < LEVELS:
                rate = levels[model, size]
            else:
                length = 0
                while size >> length:
                    length += 1
                rate = lengths[model, length]
            error = x - _magnitude(size, quantiser, offsets)
            total = scale * error * error + multiplier * rate
            if total < cost[quantiser, size & 1]:
                cost[quantiser, size & 1] = total
                choice[quantiser, size & 1] = size


@compiled()
def choose_indices(
    weights, steps, importance, multiplier, offsets, transitions, levels, lengths, classes, indices
):
    """Choose all indices: the path through the trellis of least distortion plus rate (Viterbi).

    Args:
        weights: Floats, shape (rows, columns).
        steps: Float64, shape (rows,).
        importance: Weight of every squared error, shape (rows, columns).
        multiplier: Cost of a bit.
        offsets: How much nearer to zero magnitudes 1, 2 and 3 upwards are, in steps; shape (3,).
        transitions: Next state by state and parity, shape (states, 2).
        levels: Bits of small magnitudes, by model.
        lengths: Bits of other magnitudes by their length, by model.
        classes: The class in which each index will about be coded, shape (rows, columns).
        indices: int32, shape (rows, columns), filled.
    """
    states = transitions.shape[0]
    quantisers = 1 if states == 1 else 2
    columns = weights.shape[1]
    origin = np.empty((states, 2), np.int64)
    entering = np.zeros(states, np.int64)
    for state in range(states):
        for parity in range(2):
            target = transitions[state, parity]
            origin[target, entering[target]] = 2 * state + parity
            entering[target] += 1
    cost = np.empty((quantisers, 2))
    choices = np.empty((BLOCK, quantisers, 2), np.int32)
    taken = np.empty((BLOCK, states), np.uint8)
    metric = np.empty(states)
    following = np.empty(states)
    start = np.int64(0)
    for begin in range(0, weights.size, BLOCK):
        count = min(BLOCK, weights.size - begin)
        metric[:] = np.inf
        metric[start] = 0.0
        row = begin // columns
        column = begin - row * columns
        for i in range(count):
            step = steps[row]
            x = abs(np.float64(weights[row, column])) / step
            scale = importance[row, column] * step * step
            _best_choices(
                x, scale, multiplier, np.int64(classes[row, column]), offsets, levels, lengths,
                cost, choices[i],
            )  # fmt: skip
            for state in range(states):
                first = origin[state, 0]
                second = origin[state, 1]
                a = metric[first >> 1] + cost[(first >> 1) & 1, first & 1]
                b = metric[second >> 1] + cost[(second >> 1) & 1, second & 1]
                following[state] = min(a, b)
                taken[i, state] = second if b < a else first
            metric, following = following, metric
            column += 1
            if column == columns:
                column = 0
                row += 1
        start = np.int64(np.argmin(metric))
        at = start
        for i in range(count - 1, -1, -1):
            branch = np.int64(taken[i, at])
            at = branch >> 1
            chosen = choices[i, at & 1, branch & 1]
            row = (begin + i) // columns
            column = begin + i - row * columns
            indices[row, column] = -chosen if weights[row, column] < 0 else chosen


@compiled()
def reconstruct(indices, quantisers, steps, offsets, out):
    """Write the value of every index: sign(q) (|q| - quantiser / 2 - offset) step, float32."""
    for row in range(indices.shape[0]):
        for column in range(indices.shape[1]):
            index = np.int64(indices[row, column])
            value = _magnitude(abs(index), np.float64(quantisers[row, column]), offsets)
            out[row, column] = np.float32((-value if index < 0 else value) * steps[row])


@compiled()
def find_indices(weights, steps, transitions, indices):
    """Find the indices that `reconstruct` made weights of, a path in every column.

    Returns:
        Whether there are such indices.
    """
    rows, columns = weights.shape
    states = np.zeros(columns, np.int64)
    one = transitions.shape[0] == 1
    for row in range(rows):
        for column in range(columns):
            state = states[column]
            half = 0.0 if one else 0.5 * (state & 1)
            x = np.float64(weights[row, column]) / steps[row]
            size = np.int64(np.rint(abs(x) + half)) if x != 0.0 else np.int64(0)
            value = np.float32((size - half if size else 0.0) * steps[row])
            if value != abs(weights[row, column]) or size >= 1 << 31:
                return False
            indices[row, column] = -size if x < 0 else size
            states[column] = transitions[state, size & 1]
    return True


@compiled()
def sum_centroids(weights, indices, quantisers, steps, importance, sums):
    """Add up how far magnitudes 1, 2 and 3 upwards lie from their mid-points, shape (2, 3).

    Row 0 has the sums of importance * step^2 * (mid-point - magnitude), row 1 those of
    importance * step^2; their quotients are the best offsets.
    """
    for row in range(indices.shape[0]):
        step = steps[row]
        for column in range(indices.shape[1]):
            size = abs(np.int64(indices[row, column]))
            if size:
                scale = importance[row, column] * step * step
                middle = size - 0.5 * quantisers[row, column]
                x = abs(np.float64(weights[row, column])) / step
                group = size if size < OFFSETS else OFFSETS
                sums[0, group - 1] += scale * (middle - x)
                sums[1, group - 1] += scale


@compiled()
def weighted_distortion(weights, indices, quantisers, steps, importance, offsets):
    """Return the sum of importance * (weight - reconstruction)^2."""
    total = 0.0
    for row in range(indices.shape[0]):
        step = steps[row]
        for column in range(indices.shape[1]):
            size = abs(np.int64(indices[row, column]))
            value = _magnitude(size, np.float64(quantisers[row, column]), offsets)
            error = abs(np.float64(weights[row, column])) - value * step
            total += importance[row, column] * error * error
    return total
