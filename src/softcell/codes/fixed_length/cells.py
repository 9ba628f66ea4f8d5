"""Fixed-length indices on cells: quantise and write bits, read bits and take their mean."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel
from softcell.codes.fixed_length.code import FixedLengthCode
from softcell.codes.store.ldpc import STEP
from softcell.codes.store.modulation import Modulation, label_bits
from softcell.compiled import compiled

_KNOWN = 127


def encode_weights(
    weights: NDArray[np.float32], code: FixedLengthCode, channel: Channel
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Quantise weights; return the protected bits and the levels of the cells.

    Args:
        weights: Finite, shape (rows, columns).
        code: The tensor's code.
        channel: The law at the age that the code is designed for.

    Returns:
        Protected bits, one a byte, shape (protected_bits,), and level indices, shape (cells,).
    """
    columns = weights.shape[1]
    raw = code.raw_bits(columns)
    stream = np.empty(raw + code.protected_bits(columns), np.uint8)
    _spread_indices(np.ascontiguousarray(weights, np.float32), *code.row_tables(columns), stream)
    modulation = code.modulation(channel)
    levels = modulation.level_indices(modulation.to_cells(stream[None, :raw]).reshape(-1))
    return stream[raw:], levels


def decode_weights(
    protected: NDArray[np.uint8],
    ratios: NDArray[np.int8],
    code: FixedLengthCode,
    columns: int,
    modulation: Modulation,
) -> NDArray[np.float32]:
    """Return the mean of each weight given what its bits were read as, bit by bit.

    E[weight] = (sum_s 2^s P(bit s = 1 | reading) + 1/2 - 2^(bits - 1)) * step

    Args:
        protected: Protected bits, one a byte, shape (protected_bits,).
        ratios: What the modulation's `detect` gives for the cells' readings.
        code: The tensor's code.
        columns: Weights in a row.
        modulation: Levels and labels that the cells were written with.

    Returns:
        Weights, shape (rows, columns).
    """
    raw = code.raw_bits(columns)
    stream = np.empty(raw + len(protected), np.int8)
    stream[:raw] = modulation.from_cells(ratios[None], raw)[0]
    stream[raw:] = np.int8(_KNOWN) * (1 - 2 * protected.view(np.int8))
    out = np.empty((len(code.rows), columns), np.float32)
    _gather_means(stream, _probabilities(), *code.row_tables(columns), out)
    return out


def bit_variances(channel: Channel, modulation: Modulation) -> NDArray[np.float64]:
    """Return the mean variance of each label bit given the reading, from the most reliable on.

    E[Var(bit | reading)] = sum_y P(0, y) P(1, y) / P(y): a raw bit of significance s adds 4^s
    times that, in squared steps, to a weight's distortion.

    Example:
        >>> from softcell.channel import channel_of
        >>> from softcell.codes.store.modulation import design_modulation
        >>> from softcell.devices import parse_device
        >>> channel = channel_of(parse_device("pcm-partial-reset"))
        >>> bit_variances(channel, design_modulation(channel, 8)).round(3).tolist()
        [0.003, 0.017, 0.07]
    """
    rows = channel.matrix[list(modulation.indices)] / len(modulation.indices)
    bits = label_bits(modulation.labels)
    one, zero = (np.stack([rows[bit == x].sum(axis=0) for bit in bits.T]) for x in (1, 0))
    variances: NDArray[np.float64] = (one * zero / np.maximum(one + zero, 1e-300)).sum(axis=1)
    return variances[list(modulation.planes)]


@lru_cache(maxsize=1)
def _probabilities() -> NDArray[np.float32]:
    """Return P(bit = 1) by the ratio's int8 read as a uint8; a protected bit is certain."""
    from scipy.special import expit

    ratios = np.arange(256).astype(np.uint8).view(np.int8).astype(np.float64)
    likely = np.where(np.abs(ratios) == _KNOWN, ratios < 0, expit(-STEP * ratios))
    return likely.astype(np.float32)


@compiled()
def _spread_indices(weights, bits, steps, places, stream):
    """Quantise row by row and write the bits of the indices to where they belong."""
    columns = weights.shape[1]
    index = np.empty(columns, np.uint8)
    for row in range(weights.shape[0]):
        inverse = np.float32(1 / steps[row]) if steps[row] > 0 else np.float32(0)
        half, top = np.float32(1 << (bits[row] - 1)), np.float32((1 << bits[row]) - 1)
        for j in range(columns):
            position = np.floor(weights[row, j] * inverse + half)
            index[j] = np.uint8(min(max(position, np.float32(0)), top))
        for s in range(bits[row]):
            at = places[row, s]
            for j in range(columns):
                stream[at + j] = (index[j] >> s) & 1


@compiled()
def _gather_means(stream, probabilities, bits, steps, places, out):
    """Sum up the bits of each index, each times how likely it is 1."""
    columns = out.shape[1]
    for row in range(out.shape[0]):
        out[row, :] = np.float32(0.5) - np.float32(1 << (bits[row] - 1))
        for s in range(bits[row]):
            at, worth = places[row, s], np.float32(1 << s)
            for j in range(columns):
                out[row, j] += worth * probabilities[np.uint8(stream[at + j])]
        for j in range(columns):
            out[row, j] *= steps[row]
