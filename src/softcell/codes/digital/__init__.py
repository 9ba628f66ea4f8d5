"""Digital storage on noisy cells: number formats, BCH codes, the error-free store."""

from softcell.codes.digital.bch import BCH
from softcell.codes.digital.conventional import FORMATS, NumberFormat
from softcell.codes.digital.protection import choose_bch, uncorrectable_bit_error_rate
from softcell.codes.digital.soft_store import SoftStore, design_soft_store
from softcell.codes.digital.store import (
    FRAMES,
    UBER,
    DecodedRun,
    DigitalStore,
    design_store,
    raw_bit_error_rate,
)

Store = DigitalStore | SoftStore
"""Error-free storage of bytes in cells, by hard or by soft decisions."""

__all__ = [
    "BCH",
    "FORMATS",
    "FRAMES",
    "UBER",
    "DecodedRun",
    "DigitalStore",
    "NumberFormat",
    "SoftStore",
    "Store",
    "choose_bch",
    "design_soft_store",
    "design_store",
    "raw_bit_error_rate",
    "uncorrectable_bit_error_rate",
]
