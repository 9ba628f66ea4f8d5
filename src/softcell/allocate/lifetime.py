"""Laws and stores for the ages that cells are read at."""

from __future__ import annotations

import numpy as np

from softcell.channel import AgedChannel, Law, constellation, decisions, law_of
from softcell.codes.schemes import Scheme
from softcell.codes.store.hard_store import DigitalStore, design_store
from softcell.codes.store.protection import choose_bch
from softcell.codes.store.soft_store import design_soft_store
from softcell.codes.store.store import Store
from softcell.devices import Device
from softcell.durations import Ages
from softcell.errors import InfeasibleError, InputError


def law_for(scheme: Scheme, device: Device, ages: Ages) -> Law:
    """Return the law that a scheme is designed for.

    Args:
        scheme: The scheme.
        device: The device.
        ages: An age, which every scheme takes, or a span of them. Digital schemes take a span for
            their store; codes that decode by look-up are designed for it, and need not be told
            the age.

    Raises:
        InputError: The scheme does not take such ages.
    """
    digital = scheme.number_format is not None or scheme.entropy_coded
    if not ages.single and not (scheme.look_up or digital):
        raise InputError(
            f"scheme {scheme.name!r} is designed for one age, not for {ages}; give the highest, or "
            "use coarse-to-fine, hybrid or joint-map"
        )
    if not ages.told and not scheme.look_up:
        raise InputError(
            f"the decoder of scheme {scheme.name!r} must be told the age; those of coarse-to-fine, "
            "hybrid and joint-map can do without"
        )
    return law_of(device, ages)


def store_for(scheme: Scheme, law: Law) -> Store:
    """Return the error-free store of a scheme, for the age at which it is hardest to read.

    A decoder that is told the age decides by its law: of the stores for both ends of a span, the
    one that holds less is taken. One that is not told decides by the average law, and the code is
    chosen for the age at which such decisions err most.

    Raises:
        InfeasibleError: The device cannot hold error-free bits at these ages.
    """
    design = design_soft_store if scheme.soft else design_store
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
