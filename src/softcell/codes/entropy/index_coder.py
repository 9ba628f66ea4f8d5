"""The index coder at work: runs of indices, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from softcell.codes.entropy.index_kernels import (
    AT,
    COUNTERS,
    MARGIN,
    MEAN,
    POSITION,
    code_indices,
)
from softcell.codes.entropy.index_models import (
    class_tables,
    code_mean,
    initial_models,
    logistic,
    reciprocals,
    sign_rates,
)
from softcell.codes.entropy.trellis import Trellis
from softcell.errors import FormatError

STATE_BYTES = 8
"""Bytes in the coder's interval, which the decoder is ahead by."""

# Indices that are coded in one call, a tenth of a second: no more than that keeps an interrupt out.
_RUN = 1 << 20

Models = tuple[NDArray[np.int32], NDArray[np.int64]]
"""Models of magnitudes and of signs, as `initial_models` makes them."""


class IndexCoder:
    """The coder of a matrix of indices, and what it carries from one run of them to the next.

    Args:
        indices: int32, shape (rows, columns), C-contiguous; read, or written by decoding.
        mean: Class of the mean magnitude.
        lag: Distance of a sign's further neighbours.
        trellis: The trellis that the indices follow.
        classes: uint8, filled with the class of every index; or shape (1, 0).
        start: State in which paths through the trellis begin.

    Attributes:
        indices: The indices.
        models: The models as they are after what was coded.
    """

    def __init__(
        self,
        indices: NDArray[np.int32],
        mean: int,
        lag: int,
        trellis: Trellis,
        classes: NDArray[np.uint8],
        start: int,
    ) -> None:
        self.indices, self._lag, self._classes = indices, lag, classes
        self._transitions, self._by_column = trellis.transitions, trellis.by_column
        self.models = initial_models(trellis.quantisers)
        self._tables = (*class_tables(), reciprocals(), logistic(), sign_rates())
        self._interval = np.array([0, (1 << 64) - 1, 0], np.uint64)
        self._counters = np.zeros(COUNTERS, np.int64)
        self._counters[MEAN] = code_mean(mean)
        columns = indices.shape[1]
        self._column_average = np.full(columns, code_mean(mean), np.int64)
        self._states = np.full(columns if trellis.by_column else 1, start, np.int64)

    def encoded(self) -> Iterator[bytes]:
        """Encode the indices and yield the bytes that they take."""
        data = np.empty(_RUN + MARGIN, np.uint8)
        while self._counters[AT] < self.indices.size:
            self._run(False, data, data.size - MARGIN)
            yield data[: self._counters[POSITION]].tobytes()
            self._counters[POSITION] = 0
        if low := int(self._interval[0]):
            yield bytes([(low >> 56) + 1])

    def decode(self, data: NDArray[np.uint8]) -> None:
        """Decode all indices from their bytes.

        Raises:
            FormatError: They do not end with the indices.
        """
        self._decode(data, data.size)
        taken = int(self._counters[POSITION]) - STATE_BYTES
        taken += int(self._interval[0] != 0)
        if taken != data.size:
            raise FormatError(
                f"index stream of {data.size} bytes ends at byte {taken} for shape "
                f"{self.indices.shape}: it is damaged, or its shape is another"
            )

    def decode_beginning(self, data: NDArray[np.uint8], whole: int) -> int:
        """Decode from bytes of which the first are whole; return how many rows hang on them."""
        self._decode(data, whole - STATE_BYTES)
        done, columns = int(self._counters[AT]), int(self.indices.shape[1])
        if self._counters[POSITION] > whole:
            done -= 1  # the last index looked at more
        return max(done, 0) // columns

    def _decode(self, data: NDArray[np.uint8], most: int) -> None:
        """Decode until more than so many bytes are taken, not counting those looked ahead at."""
        self._interval[2] = int.from_bytes(data[:STATE_BYTES].tobytes().ljust(8, b"\0"), "big")
        self._counters[POSITION] = STATE_BYTES
        most += STATE_BYTES
        while self._counters[AT] < self.indices.size and self._counters[POSITION] <= most:
            self._run(True, data, most)

    def _run(self, decoding: bool, data: NDArray[np.uint8], most: int) -> None:
        code_indices(
            decoding,
            self.indices,
            data,
            self._lag,
            self._transitions,
            self._by_column,
            *self.models,
            self._tables,
            self._classes,
            self._interval,
            self._counters,
            self._column_average,
            self._states,
            min(int(self._counters[AT]) + _RUN, self.indices.size),
            most,
        )
