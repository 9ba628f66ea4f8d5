"""Quantising a column at a time, with a trellis down each column."""

import numpy as np
import pytest

from softcell.codes.entropy.column_quantise import ColumnQuantiser, Contexts, indices_of
from softcell.codes.entropy.index_coding import decode_indices, encode_indices
from softcell.codes.entropy.stream import decode, encode, encode_quantised, stored_steps
from softcell.codes.entropy.trellis import STATES, Trellis
from softcell.errors import FormatError, InputError
from softcell.streams import Stream


def gaussian(rows, columns, seed=0):
    return Stream.of(seed, "w").normal(rows * columns).reshape(rows, columns)


def quantised(weights, steps, states, trade_off=0.0, scale=None):
    trellis = Trellis(states, by_column=True)
    nearest = np.rint(weights / steps[:, None]).astype(np.int32)
    contexts = Contexts.of(nearest, Trellis())
    contexts = contexts.for_both_quantisers() if states > 1 else contexts
    scale = np.ones(weights.shape) if scale is None else scale
    quantiser = ColumnQuantiser(steps, scale, trellis, trade_off, contexts)
    seen = [quantiser.store(k, weights[:, k]) for k in range(weights.shape[1])]
    return np.stack(seen, axis=1), quantiser.indices, trellis


@pytest.mark.parametrize("states", STATES)
def test_what_was_quantised_comes_back_to_the_bit(states):
    weights = gaussian(40, 30)
    steps = stored_steps(np.geomspace(0.1, 3, 40).astype(np.float32))
    seen, indices, trellis = quantised(weights, steps, states)
    assert np.array_equal(indices_of(seen, steps, trellis), indices)
    data = encode_quantised(seen, steps, trellis=trellis)
    assert np.array_equal(decode(data, weights.shape), seen)
    stream = encode_indices(indices, trellis=trellis)
    assert np.array_equal(decode_indices(stream, weights.shape, trellis=trellis), indices)


def test_every_column_is_a_path_of_its_own():
    steps = np.full(40, 0.5, np.float32)
    weights = gaussian(40, 12)
    together = quantised(weights, steps, 8)[0]
    alone = quantised(weights[:, 5:6], steps, 8)[0]
    assert np.array_equal(together[:, 5:6], alone)


def test_one_state_rounds():
    steps = np.array([0.5, 2.0, 0.1], np.float32)
    given = np.array([[-0.7], [3.1], [0.26]], np.float32)
    assert quantised(given, steps, 1)[0].ravel() == pytest.approx([-0.5, 4.0, 0.3])


def test_a_trellis_errs_less_at_as_many_bits():
    # Ungerboeck's trellis of 8 states gains about 1 dB over rounding at high rates.
    weights = gaussian(64, 400)
    lost = {}
    for states, step in ((1, 0.5), (8, 0.85)):
        steps = stored_steps(np.full(64, step, np.float32))
        seen, indices, trellis = quantised(weights, steps, states, 0.02)
        bits = 8 * len(encode_indices(indices, trellis=trellis)) / weights.size
        lost[states] = 10 * np.log10(np.mean((seen - weights) ** 2)) + 6.02 * bits
    assert lost[1] - lost[8] > 0.6


def test_a_dearer_bit_makes_fewer_of_them():
    weights, steps = gaussian(50, 60), np.ones(50, np.float32)
    sizes = [
        len(encode_quantised(seen, steps, trellis=trellis))
        for seen, _, trellis in (quantised(weights, steps, 8, price) for price in (0, 0.1, 0.3))
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < 0.9 * sizes[0]


def test_rows_that_count_more_err_less():
    weights, steps = gaussian(64, 200), np.ones(64, np.float32)
    scale = np.ones(weights.shape)
    scale[::2] = 30.0
    seen = quantised(weights, steps, 8, scale=scale)[0]
    error = ((seen - weights) ** 2).mean(axis=1)
    assert error[::2].mean() < 0.7 * error[1::2].mean()


def test_weights_off_the_grid_are_refused():
    steps = np.ones(4, np.float32)
    with pytest.raises(InputError, match="feedback loop"):
        encode_quantised(np.full((4, 2), 0.3, np.float32), steps)
    with pytest.raises(InputError, match="column by column"):
        encode(np.ones((4, 2), np.float32), 1.0, trellis=Trellis(4, by_column=True))


def test_a_stream_of_an_unknown_format_is_refused():
    seen, _, trellis = quantised(gaussian(8, 8), np.ones(8, np.float32), 8)
    data = bytearray(encode_quantised(seen, np.ones(8, np.float32), trellis=trellis))
    data[0] = (data[0] & 31) | (5 << 5)
    with pytest.raises(FormatError, match="another version"):
        decode(bytes(data), (8, 8))


@pytest.mark.parametrize("states", [1, 8])
def test_pruned_weights_stay_zero(states):
    trellis = Trellis(states, by_column=True)
    weights, steps = gaussian(64, 50), np.full(64, 0.3, np.float32)
    gone = Stream.of(9, "mask").uniform(weights.size).reshape(weights.shape) < 0.4
    contexts = Contexts.of(np.zeros(weights.shape, np.int32), Trellis())
    contexts = contexts.for_both_quantisers() if states > 1 else contexts
    quantiser = ColumnQuantiser(steps, np.ones(weights.shape), trellis, 0.02, contexts, gone)
    seen = np.stack([quantiser.store(k, weights[:, k]) for k in range(50)], axis=1)
    assert (seen[gone] == 0).all()
    assert (seen[~gone] == 0).mean() < 0.4
