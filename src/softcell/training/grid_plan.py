"""The plan of a network whose matrices lie on a grid already, as training leaves them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from softcell.allocate.plan import Plan, TensorPlan, law_for
from softcell.allocate.survey import survey
from softcell.codes.entropy.code import EntropyCode
from softcell.codes.schemes import STRONGEST, parse_scheme
from softcell.codes.store.design import store_for
from softcell.devices import Device
from softcell.durations import Ages
from softcell.errors import InputError
from softcell.weights import StateDictWeights
from softcell.weights.finite import as_rows


def plan_of_grid(
    state: Mapping[str, NDArray[np.float32]],
    steps: Mapping[str, NDArray[np.floating]],
    device: Device,
    ages: Ages,
    *,
    states: int = 1,
    vector_bits: int = 12,
) -> Plan:
    """Plan the strong digital storage of a network that is quantised already.

    Every matrix is entropy-coded as it is, so that the cells give the very matrix back; vectors
    are stored in 12 or 16 bits a number, or in 4 bytes where all their numbers are alike. The
    plan's target is the cells per weight that it takes. Such a network is written without the
    feedback loop.

    Args:
        state: The network's tensors, float32; matrices have two and more dimensions.
        steps: Steps of every matrix, one or one for each row, as
            `codes.entropy.stream.stored_steps` gives them. Each weight is a whole number
            of its row's.
        device: The device.
        ages: Age up to which the cells must be readable, or a span of ages.
        states: States of the trellis whose paths the columns of the matrices are, as the feedback
            loop makes them; 1 for any weights that are on their steps.
        vector_bits: Bits of a number in vectors, 12 or 16.

    Raises:
        InputError: A matrix has no steps, its weights are not on them, or an argument is out of
            range.
        InfeasibleError: The device cannot hold error-free bits at these ages.

    Example:
        >>> from softcell.devices import parse_device
        >>> state = {"w": np.array([[0.5, -1.0], [0.0, 0.5]], np.float32)}
        >>> plan = plan_of_grid(
        ...     state, {"w": np.float32([0.5])}, parse_device("pcm-partial-reset"), Ages(0.0, 0.0)
        ... )
        >>> plan.tensors[0].code
        EntropyCode(step=0.5, states=1, trade_off=0.0, by_column=True)
    """
    scheme = parse_scheme(STRONGEST)
    store = store_for(scheme.store, law_for(scheme, device, ages))
    tensors, count = [], 0
    for each in survey(StateDictWeights(state), scheme, vector_bits=vector_bits):
        if not each.coded:
            tensors.append(TensorPlan(each.info, each.kind))
            count += each.stored_bytes
            continue
        name = each.info.name
        if name not in steps:
            raise InputError(f"matrix {name!r} has no steps; give those that it was quantised with")
        code = EntropyCode(
            _one_or_all(steps[name], each.rows), states, trade_off=0.0, by_column=True
        )
        tensors.append(TensorPlan(each.info, scheme.kind, code))
        try:
            count += len(code.stream(as_rows(state[name])))
        except InputError as error:
            raise InputError(f"matrix {name!r} is not on its steps: {error}") from None
    cells = store.cells(count) / sum(tensor.info.size for tensor in tensors)
    return Plan(scheme.name, device, ages, store, tuple(tensors), cells)


def _one_or_all(steps: NDArray[np.floating], rows: int) -> float | NDArray[np.float32]:
    """Return the step of all rows where they have the same, otherwise that of each."""
    given = np.asarray(steps, np.float32).reshape(-1)
    if given.size not in (1, rows):
        raise InputError(f"expected one step, or one for each of {rows} rows, got {given.size}")
    return float(given[0]) if (given == given[0]).all() else given
