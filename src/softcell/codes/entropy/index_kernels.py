"""The inner loops of the index coder: contexts, adaptive models and the arithmetic coder.

Encoder and decoder are one compiled function, so that they cannot disagree. An index is a
sequence of binary decisions, each coded with an adaptive probability:

    length of |q| in bits, unary     0, 1, 2-3, 4-7, ...: models by (quantiser, class, position)
    bits of |q| below the leading    the first two, or all up to length 4, by models as well
    sign of q                        by a logistic regression on the neighbours to the left, at
                                     ``lag`` to the left (the tap above in a kernel) and above

The class comes from the local activity: of the magnitudes already coded, 7/16 the column's average
times the row's excess over what its columns let expect, 2/16 the column's average alone, 2/16 the
long and 5/16 the short average to the left. The weights were fitted on ResNet-20 and MobileNet;
anything near does as well.

The arithmetic coder keeps an interval [low, high] of 64-bit numbers, splits it in proportion, and
sends leading bytes that no longer change. There are no carries: an interval astride a byte's
boundary stays small for a while, which costs a fraction of 2^-20 bits.

Everything stays in one file: a compiled function is cached by the file that it is in, and would
not notice a change in another.
"""

from __future__ import annotations

import numpy as np

from softcell.codes.entropy.index_models import (
    CLASSES,
    FRACTION,
    LARGE_NODES,
    LARGEST_ACTIVITY,
    LARGEST_LENGTH,
    LAST_COUNT,
    LENGTH_NODES,
    LONGEST_TREE,
    PROBABILITY_BITS,
    SIGN_FRACTION,
    SIGN_INPUTS,
    SMALLEST_PROBABILITY,
)
from softcell.compiled import compiled

# Bytes that one index could take: 64 decisions, each up to 8.
MARGIN = 512
# What the coder carries from run to run: the number of the next index, the next byte, the mean
# magnitude that a row starts from, short and long average to the left, the magnitude to the left,
# what was seen in the row, and what its columns let expect.
AT, POSITION, MEAN, SHORT, LONG, LEFT, SEEN, EXPECTED = range(8)
COUNTERS = 8
# Lengths a magnitude can have: below 2^31.
LONGEST = 31

_LOW = np.uint64(0)
_HIGH = np.uint64(0xFFFFFFFFFFFFFFFF)
_ONE = np.uint64(1)
_BYTE = np.uint64(255)
_EIGHT = np.uint64(8)
_SIXTEEN = np.uint64(16)
_TOP = np.uint64(56)
_HALF = np.int64(1 << 15)
_CERTAIN = np.int64(1 << PROBABILITY_BITS)
_LEAST = np.int64(SMALLEST_PROBABILITY)
_MOST = np.int64((1 << PROBABILITY_BITS) - SMALLEST_PROBABILITY)
_MOST_ACTIVE = np.int64((LARGEST_ACTIVITY << FRACTION) - 1)
_DOWN = np.int64(PROBABILITY_BITS - 16)


@compiled(inline="always")
def _code_bit(decoding, bit, probability, low, high, code, data, position):
    """Code one decision whose probability of one, in units of 2^-16, is at least 1."""
    middle = low + ((high - low) >> _SIXTEEN) * np.uint64(probability)
    if decoding:
        bit = np.int64(1) if code <= middle else np.int64(0)
    if bit:
        high = middle
    else:
        low = middle + _ONE
    while (low ^ high) >> _TOP == _LOW:
        if decoding:
            byte = np.uint64(data[position]) if position < data.size else _LOW
            code = (code << _EIGHT) | byte
        else:
            data[position] = high >> _TOP
        position += 1
        low <<= _EIGHT
        high = (high << _EIGHT) | _BYTE
    return bit, low, high, code, position


@compiled(inline="always")
def _learn(models, row, column, bit, reciprocals):
    """Move a model towards what was seen, the less the more it has seen."""
    count = models[1, row, column]
    value = np.int64(models[0, row, column])
    target = _CERTAIN if bit else np.int64(0)
    value += ((target - value) * reciprocals[count]) >> np.int64(16)
    models[0, row, column] = min(max(value, _LEAST), _MOST)
    if count < LAST_COUNT:
        models[1, row, column] = count + 1


@compiled(inline="always")
def _class_of(activity, fine, coarse):
    """Return the class of an activity in fixed point."""
    if activity < 1 << 16:
        return np.int64(fine[activity >> 4])
    return np.int64(coarse[activity >> 12])


@compiled(inline="always")
def _squeeze(index):
    """Map an index to 512 q / (1 + |q|): what its sign and size say of a neighbour's sign."""
    whole = abs(np.int64(index))
    size = whole if whole < 1 << 16 else 1 << 16
    part = (size << 9) // (size + 1)
    return -part if index < 0 else part


@compiled(inline="always")
def _look_around(indices, row, column, lag, inputs):
    """Gather the neighbours that a sign is predicted from."""
    inputs[0] = _squeeze(indices[row, column - 1]) if column else 0
    inputs[1] = _squeeze(indices[row, column - 2]) if column > 1 else 0
    inputs[2] = _squeeze(indices[row, column - lag]) if column >= lag else 0
    inputs[3] = _squeeze(indices[row, column - lag - 1]) if column > lag else 0
    inputs[4] = _squeeze(indices[row, column - 2 * lag]) if column >= 2 * lag else 0
    inputs[5] = _squeeze(indices[row - 1, column]) if row else 0
    inputs[6] = 256


@compiled(inline="always")
def _predict_sign(signs, inputs, logistic):
    """Return the probability, in units of 2^-16, of a negative sign: a logistic regression."""
    total = np.int64(0)
    for i in range(SIGN_INPUTS):
        total += signs[i] * inputs[i]
    place = (total >> np.int64(SIGN_FRACTION)) + logistic.size // 2
    return logistic[min(max(place, 0), logistic.size - 1)]


@compiled(inline="always")
def _learn_sign(signs, inputs, probability, bit, rates):
    """Follow the gradient of the sign's code length, the less the more signs were seen."""
    seen = signs[SIGN_INPUTS]
    error = ((bit << np.int64(16)) - probability) * rates[seen]
    for i in range(SIGN_INPUTS):
        signs[i] += (error * inputs[i] + 32768) >> np.int64(16)
    if seen < rates.size - 1:
        signs[SIGN_INPUTS] = seen + 1


@compiled(error_model="numpy")
def code_indices(
    decoding,
    indices,
    data,
    lag,
    transitions,
    by_column,
    magnitudes,
    signs,
    tables,
    classes,
    interval,
    counters,
    column_average,
    states,
    last,
    most,
):
    """Encode a run of indices into ``data``, or decode it from there; both leave the same models.

    Args:
        decoding: Whether to decode.
        indices: int32, shape (rows, columns), |q| < 2^31; read or written.
        data: uint8; written or read. Past its end the decoder reads zeros.
        lag: Columns to the left of a sign's further neighbours, from 1.
        transitions: Next state of the trellis by state and parity, int64, shape (states, 2); the
            lowest bit of a state chooses the quantiser.
        by_column: Whether every column has a path of its own, from its first row to its last;
            otherwise one path runs along all rows.
        magnitudes: Models, int32, shape (2, quantisers * CLASSES, NODES); altered.
        signs: Weights of the sign's regression, then the count of signs, int64; altered.
        tables: Class tables, reciprocals, logistic function and learning rates.
        classes: uint8, shape (rows, columns), filled with every index's class; or (1, 0).
        interval: low, high and code of the arithmetic coder, uint64; altered.
        counters: int64, see `AT` and those that follow; altered. The run begins where they say.
        column_average: Average magnitude of each column, int64, shape (columns,); altered.
        states: State of each path, int64, shape (columns,) or (1,); altered.
        last: Where the run ends, from 1 to rows * columns.
        most: Byte beyond which no further index is begun: the encoder has no room for one, the
            decoder has used up what it may.
    """
    fine, coarse, reciprocals, logistic, rates = tables
    inputs = np.zeros(SIGN_INPUTS, np.int64)
    columns = indices.shape[1]
    low, high, code = interval[0], interval[1], interval[2]
    at, position, mean = counters[AT], counters[POSITION], counters[MEAN]
    short, long, left = counters[SHORT], counters[LONG], counters[LEFT]
    seen, expected = counters[SEEN], counters[EXPECTED]
    keep = classes.size > 0
    room = True
    while room and at < last:
        row = at // columns
        first = at - row * columns
        if first == 0:
            short = mean
            long = mean
            seen = 2 * mean
            expected = 2 * mean
            left = mean
        # A column's average starts as three observations of the mean, and forgets after 32.
        step = reciprocals[min(row + 4, 32)]
        end = min(columns, first + last - at)
        for column in range(first, end):
            if position > most:
                room, end = False, column
                break
            average = column_average[column]
            excess = min((seen << 8) // expected, 1 << 20)
            activity = (
                7 * ((average * excess) >> 8) + 2 * average + 2 * long + 5 * ((left + short) >> 1)
            ) >> 4
            number = _class_of(min(activity, _MOST_ACTIVE), fine, coarse)
            if keep:
                classes[row, column] = number
            path = column if by_column else 0
            state = states[path]
            model = number + (state & 1) * CLASSES

            value = np.int64(0)
            size = np.int64(0)
            length = np.int64(0)
            if not decoding:
                value = np.int64(indices[row, column])
                size = abs(value)
                while size >> length:
                    length += 1
            # Length, in unary.
            place = np.int64(0)
            while place < LONGEST:
                node = min(place, LENGTH_NODES - 1)
                probability = np.int64(magnitudes[0, model, node]) >> _DOWN
                bit, low, high, code, position = _code_bit(
                    decoding, np.int64(place < length), probability, low, high, code, data, position
                )
                _learn(magnitudes, model, node, bit, reciprocals)
                if bit == 0:
                    break
                place += 1
            length = place
            # Bits below the leading one.
            prefix = np.int64(1) if length else np.int64(0)
            for low_place in range(length - 2, -1, -1):
                if length <= LONGEST_TREE:
                    node = LENGTH_NODES + (1 << (length - 1)) - length + prefix - 1
                elif prefix < 4:
                    shared = length if length < LARGEST_LENGTH else LARGEST_LENGTH
                    node = LARGE_NODES + 3 * (shared - LONGEST_TREE - 1) + prefix - 1
                else:
                    node = -1
                probability = _HALF
                if node >= 0:
                    probability = np.int64(magnitudes[0, model, node]) >> _DOWN
                bit, low, high, code, position = _code_bit(
                    decoding, (size >> low_place) & 1, probability, low, high, code, data, position
                )
                if node >= 0:
                    _learn(magnitudes, model, node, bit, reciprocals)
                prefix = 2 * prefix + bit
            size = prefix
            # Sign.
            if size:
                _look_around(indices, row, column, lag, inputs)
                probability = _predict_sign(signs, inputs, logistic)
                bit, low, high, code, position = _code_bit(
                    decoding, np.int64(value < 0), probability, low, high, code, data, position
                )
                _learn_sign(signs, inputs, probability, bit, rates)
                if decoding:
                    value = -size if bit else size
            if decoding:
                indices[row, column] = value
            states[path] = transitions[state, size & 1]

            # Averages that later indices will see.
            left = (size if size < LARGEST_ACTIVITY else LARGEST_ACTIVITY) << FRACTION
            short += (3 * (left - short)) >> 3
            long += (left - long) >> 7
            column_average[column] = average + (((left - average) * step) >> 16)
            seen += left
            expected += average
            if expected >= 1 << 40 or seen >= 1 << 40:
                seen >>= 1
                expected = (expected >> 1) + 1
        at += end - first
        if end == columns:
            mean = max(mean + ((long - mean) >> 2), 1)
    interval[0], interval[1], interval[2] = low, high, code
    counters[AT], counters[POSITION], counters[MEAN] = at, position, mean
    counters[SHORT], counters[LONG], counters[LEFT] = short, long, left
    counters[SEEN], counters[EXPECTED] = seen, expected
