"""Error-free storage of bytes in cells, by hard or by soft decisions."""

from __future__ import annotations

from softcell.codes.store.hard_store import DigitalStore
from softcell.codes.store.soft_store import SoftStore
from softcell.errors import InputError


def hard(store: Store) -> DigitalStore:
    """Return a store of hard decisions, whose levels robust cells have.

    Raises:
        InputError: It decides by soft ones.
    """
    if not isinstance(store, DigitalStore):
        raise InputError("robust cells need a store of hard decisions; plan with another scheme")
    return store


Store = DigitalStore | SoftStore
"""Error-free storage of bytes in cells, by hard or by soft decisions."""
