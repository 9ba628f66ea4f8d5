"""The error-free store for the ages that cells are read at, by its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from softcell.channel import AgedChannel, Channel, Law, constellation, decisions
from softcell.codes.store.hard_store import DigitalStore, design_store
from softcell.codes.store.protection import choose_bch
from softcell.codes.store.soft_store import SoftStore, design_soft_store
from softcell.codes.store.store import Store
from softcell.errors import InfeasibleError

STORES: Mapping[str, type[Store]] = {"hard": DigitalStore, "soft": SoftStore}
"""Stores by their kind: of hard decisions, of soft ones."""

_DESIGNS: Mapping[str, Callable[[Channel], Store]] = {
    "hard": design_store,
    "soft": design_soft_store,
}


def kind_of(store: Store) -> str:
    """Return the kind of a store."""
    return next(kind for kind, of in STORES.items() if isinstance(store, of))


def store_for(kind: str, law: Law) -> Store:
    """Return the error-free store of a kind, for the age at which it is hardest to read.

    A decoder that is told the age decides by its law: of the stores for both ends of a span, the
    one that holds less is taken. One that is not told decides by the average law, and the code is
    chosen for the age at which such decisions err most.

    Raises:
        InfeasibleError: The device cannot hold error-free bits at these ages.
    """
    design = _DESIGNS[kind]
    if not isinstance(law, AgedChannel):
        return design(law)
    if law.told:
        ends = [design(law.channels[0]), design(law.channels[-1])]
        return min(ends, key=lambda store: store.bits_per_cell)
    return _ageless_store(law)


def _ageless_store(law: AgedChannel) -> DigitalStore:
    """Return the store of two or four levels that holds most if readings tell nothing of the age.

    Raises:
        InfeasibleError: The device cannot hold error-free bits so.
    """
    best: DigitalStore | None = None
    for count in (4, 2):
        chosen = constellation(law.average, count).indices
        labels = np.arange(count) ^ (np.arange(count) >> 1)
        read = labels[decisions(law.average.matrix[chosen])]
        wrong = np.bitwise_count((labels[:, None] ^ read[None, :]).astype(np.uint8))
        bits = count.bit_length() - 1
        rates = (law.matrices[:, chosen] * wrong).sum(axis=(1, 2)) / (count * bits)
        worst = float(rates.max())
        try:
            code = choose_bch(worst)
        except InfeasibleError:
            continue
        indices = tuple(int(i) for i in chosen)
        store = DigitalStore(indices, code.k, code.t, worst, code.m)
        if best is None or store.bits_per_cell > best.bits_per_cell:
            best = store
    if best is None:
        raise InfeasibleError(
            "this device cannot hold error-free bits for a decoder that is not told the age; tell "
            "it, or choose a shorter span"
        )
    return best
