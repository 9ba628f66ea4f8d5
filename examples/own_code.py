"""A code of one's own: a uniform 4-bit quantiser whose indices lie raw in four-level cells.

Importing this module registers the code; then it is a scheme like any other:

    import own_code
    softcell.compare(state_dict, evaluate, schemes=["nibble", "int8"])

and on the command line, in the folder of this file:

    softcell --import own_code write model.safetensors --scheme nibble -o model.cells
    softcell --import own_code read model.cells -o restored.safetensors
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.setting import Setting
from softcell.codes.code import RUN_CELLS, Block, Design, Part, StoredTensor
from softcell.codes.families import FAMILIES, Family
from softcell.codes.schemes import SCHEMES, Scheme
from softcell.errors import FormatError

BITS = 4


@dataclass(frozen=True)
class NibbleCode:
    """Weights as whole numbers of a step, from -8 to 7, two bits in a cell of four levels.

    Args:
        step: Distance of reconstruction values, float32; 0 where all weights are 0.
    """

    step: float

    def require_rows(self, rows: int) -> None:
        """One step serves any number of rows."""

    def encode(self, rows: NDArray[np.float32], design: Design) -> Iterator[Block]:
        """Yield the step, for the error-free store, and the levels of all cells."""
        yield Block(Part.SIDE, np.array([self.step], "<f4").view(np.uint8))
        index = np.rint(rows / np.float32(self.step or 1)) + 8
        nibbles = np.clip(index, 0, 15).astype(np.uint8).reshape(-1, 1)
        bits = np.unpackbits(nibbles, axis=1)[:, -BITS:]
        cells = bits.size // design.store.bits_per_symbol
        yield Block(Part.LEVELS, design.store.level_indices(np.packbits(bits), cells))

    @classmethod
    def decode(cls, stored: StoredTensor) -> NDArray[np.float32]:
        """Return the weights: each reading is taken for the most likely of the levels."""
        if len(stored.data) != 4:
            raise FormatError(f"it holds {len(stored.data)} bytes, not a step")
        step = stored.data.view("<f4")[0]
        store, weights = stored.design.store, stored.rows * stored.columns
        stored.require_cells(weights * BITS // store.bits_per_symbol)
        bits = np.empty(weights * BITS, np.uint8)

        def detect(start: int) -> None:
            stop = min(start + RUN_CELLS, stored.cells)
            found = store.detect(stored.law.average, stored.read(start, stop))
            bits[start * store.bits_per_symbol : stop * store.bits_per_symbol] = found

        stored.each(detect, range(0, stored.cells, RUN_CELLS))
        index = bits.reshape(-1, BITS) @ (1 << np.arange(BITS)[::-1])
        coded: NDArray[np.float32] = ((index - 8) * step).astype(np.float32)
        return coded.reshape(stored.rows, stored.columns)


def plan_nibbles(setting: Setting) -> dict[str, NibbleCode]:
    """Return the code of every matrix: its largest weight is the largest number."""
    return {
        matrix.info.name: NibbleCode(float(np.float32(matrix.magnitudes.values.max() / 7)))
        for matrix in setting.matrices
    }


FAMILIES["nibble"] = Family(NibbleCode, plan_nibbles)
SCHEMES["nibble"] = Scheme(
    "nibble", "nibble", takes_cells=False, takes_feedback=False, decoder="table"
)
