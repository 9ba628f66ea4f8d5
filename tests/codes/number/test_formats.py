"""Conventional payloads: bit-exact float32, float16 as IEEE has it, int8 to half a step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from softcell.codes.number.formats import FORMATS, keeps_precision
from softcell.errors import InputError
from softcell.streams import Stream

SHAPES = [(), (1,), (7,), (1, 1), (3, 5), (1, 9), (9, 1), (4, 3, 2, 2)]


def weights_of(shape, scale=1.0, seed=0):
    size = int(np.prod(shape, dtype=int))
    return (Stream.of(seed, "w").normal(size) * np.float32(scale)).reshape(shape)


def there_and_back(name, weights):
    each = FORMATS[name]
    data = each.encode(weights)
    assert data.dtype == np.uint8
    assert len(data) == each.size(weights.shape)
    return each.decode(data, weights.shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_float32_is_bit_exact(shape):
    weights = weights_of(shape)
    restored = there_and_back("float32", weights)
    assert restored.tobytes() == weights.tobytes()
    assert restored.shape == shape


def test_float32_keeps_odd_numbers():
    odd = np.array([-0.0, 0.0, 1e-45, -1e-45, 3.4e38, 1.1754944e-38], np.float32)
    assert there_and_back("float32", odd).tobytes() == odd.tobytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_float16_rounds_as_torch_does(shape):
    weights = weights_of(shape, scale=0.05)
    expected = torch.from_numpy(weights).half().float().numpy()
    assert (there_and_back("float16", weights) == expected).all()


def test_float16_refuses_what_it_cannot_hold():
    for value in (65_520.0, -1e30):
        with pytest.raises(InputError, match="beyond float16"):
            FORMATS["float16"].encode(np.array([0.5, value], np.float32))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-37, 1e-42, 1e30, 5e37])
def test_int8_error_is_at_most_half_a_step(shape, scale):
    weights = weights_of(shape, scale)
    data = FORMATS["int8"].encode(weights)
    rows = shape[0] if len(shape) > 1 else 1
    index = data[2 * rows :].view(np.int8).reshape(rows, -1)
    step = (data[: 2 * rows].view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    assert index.min() >= -127
    restored = there_and_back("int8", weights).astype(np.float64).reshape(rows, -1)
    error = np.abs(restored - weights.reshape(rows, -1))
    assert (error <= step.astype(np.float64)[:, None] * (0.5 + 1e-6)).all()
    if scale > 1e-35:
        # The largest weight of a row uses the range: the step is at most 1/128 too wide.
        largest = np.abs(weights.reshape(rows, -1)).max(axis=1)
        assert (step <= largest / 127 * (1 + 2**-7) * (1 + 1e-6)).all()
        assert (np.abs(index).max(axis=1) >= 126).all()


def test_int8_is_symmetric_and_signed():
    weights = np.array([[-1.0, -0.5, 0.0, 0.5, 1.0]], np.float32)
    restored = there_and_back("int8", weights)
    np.testing.assert_allclose(restored, weights, atol=0.006)
    assert (restored == -restored[:, ::-1]).all()


def test_int8_scales_each_output_channel_by_itself():
    weights = np.array([[1e-6, -5e-7], [1e6, 2e5]], np.float32)
    np.testing.assert_allclose(there_and_back("int8", weights), weights, rtol=0.02)


def test_int8_rows_of_zeros_stay_zero():
    weights = np.zeros((3, 4), np.float32)
    weights[1] = [1, 2, 3, 4]
    restored = there_and_back("int8", weights)
    assert (restored[[0, 2]] == 0).all()
    assert restored[1, 3] == pytest.approx(4, rel=0.01)


def test_int8_works_in_blocks(monkeypatch):
    weights = weights_of((5, 301))
    whole = FORMATS["int8"].encode(weights)
    for block in (7, 301, 700):
        monkeypatch.setattr("softcell.codes.number.formats._BLOCK", block)
        assert (FORMATS["int8"].encode(weights) == whole).all()


def test_scales_are_counted_as_side_information():
    assert FORMATS["int8"].side((64, 3, 3, 3)) == 128
    assert FORMATS["int8"].side((64,)) == 2
    assert FORMATS["float32"].side((64, 3)) == FORMATS["float16"].side((64, 3)) == 0


@settings(deadline=None)
@given(data=st.binary(min_size=8, max_size=8))
def test_bytes_of_failed_code_words_decode_without_warnings(data):
    received = np.frombuffer(data, np.uint8)
    assert FORMATS["int8"].decode(received, (2, 2)).shape == (2, 2)
    assert FORMATS["float16"].decode(received, (2, 2)).shape == (2, 2)
    assert FORMATS["float32"].decode(received, (2,)).shape == (2,)


def test_keeps_precision():
    ones = np.ones(3, np.float32)
    assert keeps_precision(ones)
    assert keeps_precision(np.zeros(3, np.float32))
    assert keeps_precision(np.array([0.0, 6.2e-5, 65_504.0], np.float32))
    assert not keeps_precision(np.array([1.0, 6.0e-5], np.float32))  # subnormal in float16
    assert not keeps_precision(np.array([1.0, -65_505.0], np.float32))


def test_float16_refuses_a_tensor_that_would_vanish():
    tiny = np.full((4, 4), 1e-9, np.float32)
    with pytest.raises(InputError, match="16 of 16 weights are below float16's smallest"):
        FORMATS["float16"].encode(tiny)
    mostly = np.append(tiny.reshape(-1), np.float32(1.0))
    kept = FORMATS["float16"].decode(FORMATS["float16"].encode(mostly), mostly.shape)
    assert kept[-1] == 1
