"""Error-free storage of bytes in cells, by hard or by soft decisions."""

from __future__ import annotations

from softcell.codes.store.hard_store import DigitalStore
from softcell.codes.store.soft_store import SoftStore

Store = DigitalStore | SoftStore
"""Error-free storage of bytes in cells, by hard or by soft decisions."""
