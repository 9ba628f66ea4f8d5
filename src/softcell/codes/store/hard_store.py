"""Error-free digital storage on noisy cells: levels, Gray labels, BCH code words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel, constellation, decisions, gray_label
from softcell.codes.store.bch import BCH
from softcell.codes.store.protection import choose_bch
from softcell.errors import InfeasibleError, InputError

UBER = 1e-15
"""Uncorrectable bit error rate that counts as error-free."""

FRAMES = 512
"""Code words handled at a time: whole bytes and whole cells, and about 2 MB of bits."""


@dataclass(frozen=True)
class DigitalStore:
    """How bytes become cells: code words of a BCH code, one after another, on Gray-labelled levels.

    Args:
        indices: Levels used, as indices from 0 to 255, ordered by their mean reading; 2 or 4.
        k: Information bits of a code word.
        t: Bit errors that a code word survives.
        raw_bit_error_rate: Bit error rate of a cell that the code was chosen for.
        m: Degree of the code's field; 0 for the smallest.

    Example:
        >>> from softcell.channel import channel_of
        >>> from softcell.devices import parse_device
        >>> store = design_store(channel_of(parse_device("pcm-partial-reset")))
        >>> store.t, round(store.bits_per_cell, 3)
        (6, 1.963)
    """

    indices: tuple[int, ...]
    k: int
    t: int
    raw_bit_error_rate: float
    m: int = 0

    def __post_init__(self) -> None:
        if len(self.indices) not in (2, 4) or not all(
            isinstance(i, int) and 0 <= i <= 255 for i in self.indices
        ):
            raise InputError(f"a digital store uses 2 or 4 levels of 256, got {self.indices}")
        if len(set(self.indices)) != len(self.indices):
            raise InputError(f"a digital store uses different levels, got {self.indices}")
        if self.k < 8 or self.k % 8:
            raise InputError(f"information bits of a code word come in bytes, got k = {self.k}")

    @cached_property
    def code(self) -> BCH:
        """The BCH code of a full code word."""
        return BCH(k=self.k, t=self.t, m=self.m)

    @property
    def bits_per_symbol(self) -> int:
        """Raw bits in one cell: 1 or 2."""
        return len(self.indices).bit_length() - 1

    @property
    def bits_per_cell(self) -> float:
        """Information bits in one cell, parity paid."""
        return self.bits_per_symbol * self.k / self.code.n

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Gray label of each level in the order of `indices`, shape (levels,)."""
        labels: NDArray[np.uint8] = gray_label(np.arange(len(self.indices), dtype=np.uint8))
        return labels

    @property
    def frame_bytes(self) -> int:
        """Information bytes of a full code word."""
        return self.k // 8

    def frames(self, data_bytes: int) -> int:
        """Return the number of code words for so many bytes."""
        return -(-data_bytes // self.frame_bytes)

    def coded_bits(self, data_bytes: int) -> int:
        """Return the bits that are written for so many bytes of information."""
        return 8 * data_bytes + self.frames(data_bytes) * self.code.parity

    def cells(self, data_bytes: int) -> int:
        """Return the cells for so many bytes of information; the last code word is shortened."""
        return -(-self.coded_bits(data_bytes) // self.bits_per_symbol)

    @property
    def description(self) -> str:
        """The code in a few words."""
        return (
            f"BCH n = {self.code.n}, k = {self.code.k}, t = {self.code.t} for a raw bit error "
            f"rate of {self.raw_bit_error_rate:.2g}"
        )

    def encode(self, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the coded bits of a run of whole code words, packed to bytes.

        Args:
            data: Information, shape (bytes,). Only the last run of a store may end in a
                shortened code word; any other holds a multiple of 8 whole ones.
        """
        whole = len(data) // self.frame_bytes
        body = np.unpackbits(data[: whole * self.frame_bytes]).reshape(whole, self.k)
        parts = [self.code.encode(body).reshape(-1)]
        rest = data[whole * self.frame_bytes :]
        if len(rest):
            parts.append(self.code.encode(np.unpackbits(rest)[None]).reshape(-1))
        return np.packbits(np.concatenate(parts))

    def level_indices(self, packed: NDArray[np.uint8], cells: int) -> NDArray[np.uint8]:
        """Return the level of each cell that holds the packed bits, shape (cells,)."""
        bits = np.unpackbits(packed, count=cells * self.bits_per_symbol)
        symbols = bits[0::2] * np.uint8(2) + bits[1::2] if self.bits_per_symbol == 2 else bits
        by_label = np.empty(len(self.indices), np.uint8)
        by_label[self.labels] = self.indices
        return by_label[symbols]

    def detect(self, channel: Channel, readings: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the most likely bits of each reading, shape (readings * bits_per_symbol,).

        A reading that is missing (NaN) is taken for the first of the levels.
        """
        best = np.append(decisions(channel.matrix[list(self.indices)]), 0)
        label: NDArray[np.uint8] = self.labels[best][channel.bins(readings)]
        if self.bits_per_symbol == 1:
            return label
        bits = np.empty(2 * len(label), np.uint8)
        bits[0::2] = label >> 1
        bits[1::2] = label & 1
        return bits

    def decode(self, bits: NDArray[np.uint8], data_bytes: int) -> DecodedRun:
        """Return the information of a run of code words that holds `data_bytes` bytes."""
        whole, rest = divmod(data_bytes, self.frame_bytes)
        length = whole * self.code.n
        body = self.code.decode(np.ascontiguousarray(bits[:length]).reshape(whole, self.code.n))
        data, failed = np.packbits(body.bits, axis=None), body.failed
        corrected = int(body.corrected[~failed].sum())
        if rest:
            tail = bits[length : length + 8 * rest + self.code.parity]
            last = self.code.decode(np.ascontiguousarray(tail)[None])
            data = np.concatenate([data, np.packbits(last.bits)])
            failed = np.concatenate([failed, last.failed])
            corrected += int(last.corrected[~last.failed].sum())
        return DecodedRun(data, failed, corrected)


@dataclass(frozen=True)
class DecodedRun:
    """Information read from a run of code words.

    Args:
        data: Information, shape (bytes,); as received where a code word failed.
        failed: Code words that could not be corrected, shape (frames,).
        corrected: Bit errors corrected in the others.
    """

    data: NDArray[np.uint8]
    failed: NDArray[np.bool_]
    corrected: int


def raw_bit_error_rate(channel: Channel, indices: NDArray[np.int64]) -> float:
    """Return the bit error rate of Gray-labelled equiprobable levels under likeliest decisions."""
    matrix = channel.matrix[indices]
    labels = gray_label(np.arange(len(indices), dtype=np.uint8))
    best = labels[decisions(matrix)]
    wrong = np.bitwise_count(labels[:, None] ^ best[None, :])
    bits = max(len(indices).bit_length() - 1, 1)
    return float((matrix * wrong).sum() / (len(indices) * bits))


def design_store(channel: Channel, *, uber: float = UBER) -> DigitalStore:
    """Choose levels and code strength for error-free storage.

    Four levels of least symbol error rate, or two where those carry more information once the
    code has been paid for.

    Args:
        channel: The law of the cell at the age at which it must still be read.
        uber: Uncorrectable bit error rate to stay below.

    Raises:
        InfeasibleError: The cell is too noisy for any code of the family.
    """
    best: DigitalStore | None = None
    reason = ""
    for count in (4, 2):
        chosen = constellation(channel, count).indices
        rate = raw_bit_error_rate(channel, chosen)
        try:
            code = choose_bch(rate, uber=uber)
        except InfeasibleError as error:
            reason = str(error)
            continue
        store = DigitalStore(tuple(int(i) for i in chosen), code.k, code.t, rate, code.m)
        if best is None or store.bits_per_cell > best.bits_per_cell:
            best = store
    if best is None:
        raise InfeasibleError(f"this device cannot hold error-free bits at this age: {reason}")
    return best
