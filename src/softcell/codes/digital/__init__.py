"""Digital storage on noisy cells: number formats, indices, codes, the error-free store."""

from softcell.codes.digital.bch import BCH
from softcell.codes.digital.conventional import FORMATS, NumberFormat
from softcell.codes.digital.fixed_length import FixedLengthCode
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
from softcell.codes.digital.vector_formats import NUMBER_FORMATS

Store = DigitalStore | SoftStore
"""Error-free storage of bytes in cells, by hard or by soft decisions."""

__all__ = [
    "BCH",
    "FORMATS",
    "FRAMES",
    "NUMBER_FORMATS",
    "UBER",
    "DecodedRun",
    "DigitalStore",
    "FixedLengthCode",
    "NumberFormat",
    "SoftStore",
    "Store",
    "choose_bch",
    "design_soft_store",
    "design_store",
    "raw_bit_error_rate",
    "uncorrectable_bit_error_rate",
]
