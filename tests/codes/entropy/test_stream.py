"""Weights to self-contained streams and back; the step for a rate or a distortion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softcell.codes.entropy.quantise import quantise
from softcell.codes.entropy.stream import decode, encode
from softcell.codes.entropy.trellis import STATES, Trellis
from softcell.errors import FormatError, InputError


def gaussian(shape: tuple[int, int], seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def sdr(weights: np.ndarray, decoded: np.ndarray) -> float:
    error = decoded.astype(np.float64) - weights
    return float(10 * np.log10((weights.astype(np.float64) ** 2).mean() / (error**2).mean()))


@pytest.mark.parametrize("states", STATES)
@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("trade_off", [0, 0.1])
def test_the_decoder_needs_the_stream_and_the_shape_alone(states, by_row, trade_off):
    weights = gaussian((30, 50))
    steps = np.exp2(np.arange(30) / 8 - 4) if by_row else 0.25  # steps that are stored exactly
    arguments = {"trade_off": trade_off, "trellis": Trellis(states)}
    stream = encode(weights, steps, **arguments)
    expected = quantise(weights, steps, **arguments)
    decoded = decode(stream, (30, 50))
    np.testing.assert_array_equal(decoded, expected.weights(), strict=True)
    assert len(stream) < len(expected.stream) + (30 if by_row else 7)
    assert encode(weights, steps, **arguments) == stream


def test_rounding_errs_by_half_a_step_at_most():
    weights = 30 * gaussian((40, 40))
    decoded = decode(encode(weights, 0.5, trade_off=0), (40, 40))
    assert np.abs(decoded - weights).max() <= 0.25 * (1 + 3 / 256)


def test_steps_of_rows_are_kept_to_an_eighth_of_an_octave():
    rng = np.random.default_rng(2)
    steps = np.exp(2 * rng.standard_normal(200))
    weights = (rng.uniform(-20, 20, (200, 60)) * steps[:, None]).astype(np.float32)
    error = decode(encode(weights, steps, trade_off=0), (200, 60)) - weights
    spread = np.sqrt((error**2).mean(axis=1)) / steps * np.sqrt(12)
    assert spread.min() > 0.75
    assert spread.max() < 1.3
    assert spread.mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("shape", [(0, 7), (7, 0), (0, 0), (1, 1)])
def test_empty_and_single_weights(shape):
    weights = np.full(shape, -2.5, np.float32)
    for steps in (0.5, np.full(shape[0], 0.5)):
        if np.size(steps):
            decoded = decode(encode(weights, steps, trade_off=0), shape)
            np.testing.assert_array_equal(decoded, weights)


def test_extreme_weights_come_back():
    weights = np.array([[1e30, -1e30, 0, 3e22]], np.float32)
    decoded = decode(encode(weights, 1e22, trade_off=0), (1, 4))
    np.testing.assert_allclose(decoded, weights, atol=0.51e22)
    tiny = np.array([[1e-29, -3e-29]], np.float32)
    np.testing.assert_allclose(decode(encode(tiny, 1e-29, trade_off=0), (1, 2)), tiny, atol=6e-30)


@pytest.mark.parametrize(
    ("bits", "least"), [(0.6, 2.45), (1.2, 5.6), (2.4, 12.85), (3.6, 20.0), (4.8, 27.19)]
)
def test_a_gaussian_reaches_what_entropy_coded_quantisation_can(step_for_bits, bits, least):
    weights = gaussian((200, 300))
    step = step_for_bits(weights, bits)
    stream = encode(weights, step)
    assert 0.97 * bits < 8 * len(stream) / weights.size <= bits
    assert least < sdr(weights, decode(stream, weights.shape)) < 6.0206 * bits


def test_a_laplacian_reaches_what_entropy_coded_quantisation_can(step_for_bits):
    values = np.random.default_rng(1).laplace(size=(200, 300)) / np.sqrt(2)
    weights = values.astype(np.float32)
    stream = encode(weights, step_for_bits(weights, 2.4))
    assert 8 * len(stream) <= 2.4 * weights.size
    assert sdr(weights, decode(stream, weights.shape)) > 13.55


STREAMS = [
    (encode(gaussian((12, 20)), 0.4, trellis=Trellis(states), trade_off=0.1), (12, 20))
    for states in (1, 8)
] + [(encode(gaussian((12, 20)), np.linspace(0.2, 0.9, 12)), (12, 20))]


@pytest.mark.parametrize(("stream", "shape"), STREAMS)
def test_every_truncation_is_refused(stream, shape):
    for length in range(len(stream)):
        with pytest.raises(FormatError):
            decode(stream[:length], shape)
    with pytest.raises(FormatError):
        decode(stream + b"\0", shape)


@pytest.mark.parametrize(("stream", "shape"), STREAMS)
def test_damage_is_refused_or_gives_other_weights(stream, shape):
    for place in range(len(stream)):
        for bit in range(8):
            damaged = bytearray(stream)
            damaged[place] ^= 1 << bit
            try:
                assert decode(bytes(damaged), shape).shape == shape
            except FormatError as error:
                assert "\n" not in str(error)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=120), st.integers(0, 12), st.integers(0, 12))
def test_any_bytes_decode_or_are_refused(data, rows, columns):
    try:
        assert decode(data, (rows, columns)).shape == (rows, columns)
    except FormatError as error:
        assert "\n" not in str(error)


def test_a_stream_written_before_still_decodes():
    """A change here breaks every image written before: it needs a new format."""
    plain = bytes.fromhex("20003f160207e291dd43d9223e")
    expected = [[0.0, -1.0, 2.0, 0.0, 0.5, -1.0], [7.5, -0.5, 0.5, 1.5, -3.0, 0.0]]
    assert decode(plain, (2, 6)).tolist() == expected
    by_row_in_a_trellis = bytes.fromhex("2a003f170201d9140206bfcc97a14f42")
    expected[1][4] = -2.5
    assert decode(by_row_in_a_trellis, (2, 6)).tolist() == expected


@pytest.mark.parametrize("steps", [0.0, -1.0, np.nan, np.inf, 1e-31, 1e31, [1.0, 2.0, 3.0], []])
def test_steps_that_cannot_be_stored_are_refused(steps):
    with pytest.raises(InputError, match="step"):
        encode(gaussian((2, 3)), steps)


def test_steps_too_far_apart_are_refused():
    with pytest.raises(InputError, match="octaves"):
        encode(gaussian((2, 3)), [1e-29, 1e29])
