"""Digital storage near capacity: soft decisions, an LDPC code, an outer BCH code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from softcell.channel import Channel
from softcell.codes.store.bch import BCH
from softcell.codes.store.hard_store import UBER, DecodedRun
from softcell.codes.store.ldpc import LDPC
from softcell.codes.store.ldpc_matrix import SYSTEMATIC
from softcell.codes.store.modulation import (
    LEVEL_COUNTS,
    Modulation,
    bit_information,
    design_modulation,
)
from softcell.codes.store.waterfall import Waterfall, waterfall_table
from softcell.errors import InfeasibleError, InputError

OUTER_FIELD = 14
"""Degree of the outer code's field: room for 16383 bits, more than an LDPC frame carries."""

OUTER_ERRORS = 12
"""Wrong information bits of a frame that the outer code corrects."""

MOST_ITERATIONS = 200
"""Passes of the LDPC decoder over a frame that does not settle: more would take minutes."""


@dataclass(frozen=True)
class SoftStore:
    """How bytes become cells: a BCH code word in every LDPC frame, on labelled levels.

    A frame is the information and the parity of the outer BCH code, then the parity of the LDPC
    code, spread over the label bits of its own cells. Reading takes log-likelihood ratios from
    the channel's law, decodes by min-sum, and lets the outer code correct what is left or report
    the frame. It can be used wherever a `DigitalStore` can.

    Args:
        indices: Levels used, indices from 0 to 255, ordered by their mean reading; 2, 4, 8 or 16.
        labels: Label of each level.
        planes: Label bits from the most to the least reliable.
        lifting: Lifting size of the LDPC code.
        parity: Parity bits of the LDPC code in a frame.
        t: Wrong bits of a frame that the outer code corrects after the LDPC code.
        iterations: Most passes of the LDPC decoder.
        information: Mean information of a label bit that the code was chosen for, in bits.

    Raises:
        InputError: The parts do not make a store.

    Example:
        >>> from softcell.channel import channel_of
        >>> from softcell.devices import parse_device
        >>> channel = channel_of(parse_device("pcm-partial-reset"))
        >>> store = design_soft_store(channel)
        >>> data = np.arange(256, dtype=np.uint8)
        >>> written = store.level_indices(store.encode(data), store.cells(len(data)))
        >>> readings = channel.mean[written].astype(np.float32)
        >>> run = store.decode(store.detect(channel, readings), len(data))
        >>> bool((run.data == data).all()), run.failed.tolist()
        (True, [False])
    """

    indices: tuple[int, ...]
    labels: tuple[int, ...]
    planes: tuple[int, ...]
    lifting: int
    parity: int
    t: int = OUTER_ERRORS
    iterations: int = 50
    information: float = 1.0

    def __post_init__(self) -> None:
        Modulation(self.indices, self.labels, self.planes)
        if not 1 <= self.iterations <= MOST_ITERATIONS:
            raise InputError(
                f"a soft store decodes in 1 to {MOST_ITERATIONS} passes, got {self.iterations}"
            )
        if not 0 < self.information <= 1:
            raise InputError(f"a label bit carries up to 1 bit, got {self.information}")
        if self.t < 1:
            raise InputError(f"the outer code corrects at least 1 bit, got t = {self.t}")
        if self.frame_bytes < 1:
            raise InputError(
                f"frames of {self.inner.k} bits leave no room beside an outer code of "
                f"t = {self.t}; take a larger lifting size or less t"
            )

    @cached_property
    def modulation(self) -> Modulation:
        """Levels, labels and the order of the label bits."""
        return Modulation(self.indices, self.labels, self.planes)

    @cached_property
    def inner(self) -> LDPC:
        """The LDPC code of a full frame."""
        return LDPC(lifting=self.lifting, parity=self.parity)

    @cached_property
    def outer(self) -> BCH:
        """The BCH code of a full frame's information."""
        return BCH(k=8 * self.frame_bytes, t=self.t, m=OUTER_FIELD)

    @property
    def bits_per_symbol(self) -> int:
        """Label bits in one cell."""
        return self.modulation.bits_per_symbol

    @cached_property
    def frame_bytes(self) -> int:
        """Information bytes of a full frame."""
        return (self.inner.k - OUTER_FIELD * self.t) // 8

    @property
    def frame_cells(self) -> int:
        """Cells of a full frame."""
        return self._frame_cells(self.frame_bytes)

    @property
    def bits_per_cell(self) -> float:
        """Information bits in one cell, both codes' parity paid."""
        return 8 * self.frame_bytes / self.frame_cells

    def frames(self, data_bytes: int) -> int:
        """Return the number of frames for so many bytes."""
        return -(-data_bytes // self.frame_bytes)

    def cells(self, data_bytes: int) -> int:
        """Return the cells for so many bytes of information; the last frame is shortened."""
        whole, rest = divmod(data_bytes, self.frame_bytes)
        return whole * self.frame_cells + (self._frame_cells(rest) if rest else 0)

    def coded_bits(self, data_bytes: int) -> int:
        """Return the label bits that are written for so many bytes of information."""
        return self.cells(data_bytes) * self.bits_per_symbol

    @property
    def description(self) -> str:
        """The codes in a few words."""
        return (
            f"LDPC k = {self.inner.k} at rate {self.inner.rate:.3f}, at most {self.iterations} "
            f"passes, then BCH t = {self.t}, for {self.information:.3f} bits in a label bit"
        )

    def encode(self, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the label bits of a run of frames, cell after cell, packed to bytes.

        Args:
            data: Information, shape (bytes,). Only the last run of a store may end in a shortened
                frame; any other holds a multiple of 8 whole ones.
        """
        whole = len(data) // self.frame_bytes
        parts = []
        for part in (
            data[: whole * self.frame_bytes].reshape(whole, self.frame_bytes),
            data[whole * self.frame_bytes :][None],
        ):
            if part.size:
                stored = self.inner.encode(self.outer.encode(np.unpackbits(part, axis=1)))
                parts.append(self.modulation.to_cells(stored).reshape(-1))
        return np.packbits(np.concatenate(parts)) if parts else np.empty(0, np.uint8)

    def level_indices(self, packed: NDArray[np.uint8], cells: int) -> NDArray[np.uint8]:
        """Return the level of each cell that holds the packed bits, shape (cells,)."""
        return self.modulation.level_indices(
            np.unpackbits(packed, count=cells * self.bits_per_symbol)
        )

    def detect(self, channel: Channel, readings: NDArray[np.float32]) -> NDArray[np.int8]:
        """Return the log-likelihood ratios of each reading, shape (readings * bits_per_symbol,).

        Args:
            channel: The law of the cell at the age of the readings.
            readings: Readings, shape (cells,).
        """
        return self.modulation.detect(channel, readings)

    def decode(self, ratios: NDArray[np.int8], data_bytes: int) -> DecodedRun:
        """Return the information of a run of frames that holds `data_bytes` bytes.

        A frame has failed if the outer code finds more errors than it corrects. Whether the LDPC
        decoder came to an end does not matter: where it did not, often nothing but parity is
        wrong.

        Args:
            ratios: What `detect` gives, of all cells of the run.
            data_bytes: Bytes of information in the run.
        """
        whole, rest = divmod(data_bytes, self.frame_bytes)
        split = whole * self.frame_cells * self.bits_per_symbol
        runs = [
            self._decode_frames(part, frames, size)
            for part, frames, size in (
                (ratios[:split], whole, self.frame_bytes),
                (ratios[split:], 1, rest),
            )
            if frames and size
        ]
        if not runs:
            return DecodedRun(np.empty(0, np.uint8), np.empty(0, np.bool_), 0)
        return DecodedRun(
            np.concatenate([run.data for run in runs]),
            np.concatenate([run.failed for run in runs]),
            sum(run.corrected for run in runs),
        )

    def _decode_frames(self, ratios: NDArray[np.int8], frames: int, size: int) -> DecodedRun:
        """Decode frames of `size` bytes each; a failed one keeps what the LDPC decoder believed."""
        information = 8 * size + self.outer.parity
        width = self._frame_cells(size) * self.bits_per_symbol
        if len(ratios) < frames * width:
            raise InputError(
                f"{frames} frames of {size} bytes take {frames * width} ratios, got {len(ratios)}"
            )
        by_cell = ratios[: frames * width].reshape(frames, width)
        stored = self.modulation.from_cells(by_cell, self.inner.stored_bits(information))
        inner = self.inner.decode(stored, information=information, iterations=self.iterations)
        outer = self.outer.decode(inner.bits)
        corrected = inner.corrected + outer.corrected
        return DecodedRun(
            np.packbits(outer.bits, axis=1).reshape(-1),
            outer.failed,
            int(corrected[~outer.failed].sum()),
        )

    def _frame_cells(self, size: int) -> int:
        """Cells of a frame of so many bytes."""
        return self.modulation.cells(self.inner.stored_bits(8 * size + self.outer.parity))


def design_soft_store(channel: Channel, *, uber: float = UBER, iterations: int = 50) -> SoftStore:
    """Choose levels, labels and code rate for error-free storage by soft decisions.

    For 2, 4, 8 and 16 levels, as far as the cell's capacity exceeds half of them, the information
    of the label bits is looked up in a table of simulated frame error rates, extrapolated to

        P(frame lost) = Q((i - threshold) / width) <= uber * information bits of a frame;

    the number of levels with the most net bits per cell is taken. A frame is lost if more than
    the outer code's t bits are wrong after min-sum. The law leaves out an error floor: that a
    frame holds enough of the small patterns that the outer code is there for.

    Args:
        channel: The law of the cell at the age at which it must still be read.
        uber: Uncorrectable bit error rate to stay below.
        iterations: Most passes of the decoder, one of the table's.

    Raises:
        InputError: The table has no such number of passes.
        InfeasibleError: The cell is too noisy for any code of the table.
    """
    table = waterfall_table(iterations)
    best: SoftStore | None = None
    for count in LEVEL_COUNTS:
        if count > 2 and channel.capacity.bits <= np.log2(count / 2):
            continue
        store = soft_store_of(channel, design_modulation(channel, count), table, uber=uber)
        if store is not None and (best is None or store.bits_per_cell > best.bits_per_cell):
            best = store
    if best is None:
        raise InfeasibleError(
            "this device cannot hold bits at this age: even two levels carry less information "
            "than the strongest LDPC code needs; use a shorter storage time or a quieter device"
        )
    return best


def soft_store_of(
    channel: Channel, modulation: Modulation, table: Waterfall, *, uber: float = UBER
) -> SoftStore | None:
    """Return the store of highest rate on these levels, or none where no rate suffices."""
    rows = channel.matrix[list(modulation.indices)]
    worths = bit_information(rows, modulation.labels)
    information = min(float(worths.mean()), 1.0)
    bits = SYSTEMATIC * table.lifting - OUTER_FIELD * OUTER_ERRORS
    parity = table.smallest_parity(information, uber * bits, float(worths.std()))
    if parity is None:
        return None
    return SoftStore(
        modulation.indices,
        modulation.labels,
        modulation.planes,
        table.lifting,
        parity,
        OUTER_ERRORS,
        table.iterations,
        information,
    )
