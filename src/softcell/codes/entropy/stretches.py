"""Long index streams in stretches that decode by themselves, so that a lost byte loses no more.

Layout: the number of stretches, a byte; where one path through a trellis runs along all rows, the
state in which each stretch but the first begins, a byte each; the lengths of all but the last, 4
bytes each, little-endian; the index streams.

A stretch holds rows of the matrix, or columns where each column has a path of its own. It costs the
coder what it has to learn anew: 20 to 70 bytes, the more the finer the steps.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from softcell.codes.entropy.index_coding import encode_indices
from softcell.codes.entropy.trellis import Trellis
from softcell.codes.row_counts import ByteReader
from softcell.errors import FormatError

STRETCH_BYTES = 1 << 15
"""Bytes of a stretch: 30 to 60 code words; it costs 0.1 to 0.2 percent."""

_MOST = 255


@dataclass(frozen=True)
class Stretch:
    """A part of a matrix whose indices are one stream.

    Args:
        place: Its rows and columns.
        start: State in which paths through the trellis begin.
        data: Its index stream.
        offset: Where that begins among all bytes.
    """

    place: tuple[slice, slice]
    start: int
    data: bytes = field(repr=False)
    offset: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.place
        return rows.stop - rows.start, columns.stop - columns.start


def encode_stretches(indices: NDArray[np.int32], trellis: Trellis, whole: bytes) -> bytes | None:
    """Code the indices of a large matrix in stretches.

    Args:
        indices: Shape (rows, columns).
        trellis: The trellis that they follow.
        whole: What they are in one stream.

    Returns:
        The stretches, or None where one stream will do.
    """
    number = min(len(whole) // STRETCH_BYTES, _MOST, indices.shape[trellis.by_column])
    if number < 2:
        return None
    states, streams, state = [], [], 0
    for place in _places(indices.shape, number, trellis.by_column):
        part = np.ascontiguousarray(indices[place])
        states.append(state)
        streams.append(encode_indices(part, trellis=trellis, start=state))
        if _has_states(trellis):
            state = trellis.state_after(part, state)
    head = bytes([number])
    if _has_states(trellis):
        head += bytes(states[1:])
    lengths = struct.pack(f"<{number - 1}I", *map(len, streams[:-1]))
    return b"".join([head, lengths, *streams])


def stretches(
    data: bytes, offset: int, shape: tuple[int, int], trellis: Trellis
) -> Iterator[Stretch]:
    """Yield the stretches of a matrix.

    Args:
        data: What `encode_stretches` gives.
        offset: Where it begins among all bytes.
        shape: Rows and columns of the matrix.
        trellis: The trellis that its indices follow.

    Raises:
        FormatError: The bytes are too short, or are no stretches of such a matrix.
    """
    reader = ByteReader(data, "weights stream")
    number = reader.take(1, "number of stretches")[0]
    if not 2 <= number <= shape[trellis.by_column]:
        raise FormatError(f"weights stream is in {number} stretches: it is damaged")
    starts = bytes(number)
    if _has_states(trellis):
        starts = b"\0" + reader.take(number - 1, "states")
        if max(starts) >= trellis.states:
            raise FormatError("weights stream has states that its trellis has not: it is damaged")
    lengths = struct.unpack(f"<{number - 1}I", reader.take(4 * (number - 1), "lengths"))
    at = offset + len(data) - len(reader.ahead())
    for place, start, length in zip(
        _places(shape, number, trellis.by_column), starts, (*lengths, None), strict=True
    ):
        stream = reader.take(len(reader.ahead()) if length is None else length, "indices")
        yield Stretch(place, start, stream, at)
        at += len(stream)


def _has_states(trellis: Trellis) -> bool:
    return trellis.states > 1 and not trellis.by_column


def _places(shape: tuple[int, ...], number: int, by_column: bool) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of each stretch."""
    ends = [shape[by_column] * each // number for each in range(number + 1)]
    for first, last in pairwise(ends):
        cut, rest = slice(first, last), slice(0, shape[not by_column])
        yield (rest, cut) if by_column else (cut, rest)
