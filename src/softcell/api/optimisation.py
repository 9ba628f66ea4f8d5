"""The plan of fewest cells for a network, by a function or inputs of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from softcell.api.given import arrays_of, kept_tensors
from softcell.curvature import Calibration
from softcell.devices import Device, device_from
from softcell.durations import parse_ages
from softcell.progress import Progress
from softcell.weights import NetworkWeights, parse_weights

if TYPE_CHECKING:
    from torch import Tensor, nn

    from softcell.search import Outcome, Trial


def optimise(
    network: NetworkWeights,
    *,
    evaluate: Callable[[Any], float] | None = None,
    module: nn.Module | None = None,
    inputs: Tensor | None = None,
    calibration: Calibration | None = None,
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None,
    device: Device | str = "pcm-partial-reset",
    max_drop: float | None = None,
    max_divergence: float | None = None,
    max_cells: float | None = None,
    decoder: str = "any",
    age: str | float = 0.0,
    verify: bool = True,
    keep: Collection[str] = (),
    seeds: int = 3,
    told: Callable[[Trial, Trial | None], None] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Find the plan of fewest cells that keeps to a goal.

    Args:
        network: A safetensors file, or tensors by name.
        evaluate: Accuracy of tensors by name, from 0 to 1, as for `compare`; without it the
            outputs' divergence is what counts.
        module: The network as a torch module, its weights loaded; with it the network goes through
            the feedback loop.
        inputs: Inputs of the module, first axis inputs, without labels: half are learnt from, a
            quarter serves the search, a quarter confirms the plan.
        calibration: Curvature of its layers; by default it is made with module and inputs.
        sensitivity: Diagonal Fisher information, where there is neither.
        device: A device, or its specification.
        max_drop: Accuracy that may be lost, such as 0.005 for half a point.
        max_divergence: Divergence of the outputs in nats that may be.
        max_cells: Cells per weight that there are.
        decoder: "any", or "table" for look-up alone.
        age: Age, or span of ages, at which the cells are read.
        verify: Whether cells may be read while they are written.
        keep: Names of tensors to store as they are.
        seeds: Chips on which the plan is confirmed.
        told: Called after every trial with it and the best so far (None while none is good enough).
        progress: Called with (what, done, total).

    Returns:
        The plan, and how it was found; its `write` makes a cell image.

    Raises:
        SoftcellError: The goal cannot be reached, or whatever is wrong with the network.

    Example:
        >>> import torch
        >>> module = torch.nn.Sequential(torch.nn.Linear(32, 128), torch.nn.ReLU())
        >>> found = optimise(
        ...     module.state_dict(), module=module, inputs=torch.randn(64, 32), max_cells=2
        ... )
        >>> found.confirmed.cells_per_weight <= 2
        True
    """
    from softcell.search import Goal, Search
    from softcell.search.subjects import own_subject

    network = kept_tensors(network)
    _, convert = arrays_of(network)
    if evaluate is not None:
        module = deepcopy(module)  # it may be the one that `evaluate` loads stored weights into
    subject = own_subject(
        partial(parse_weights, network),
        evaluate=None if evaluate is None else lambda state: evaluate(convert(state)),
        module=module,
        inputs=inputs,
        calibration=calibration,
        sensitivity=sensitivity,
        keep=frozenset(keep),
    )
    search = Search(
        subject,
        device_from(device),
        Goal(max_drop, max_divergence, max_cells, decoder, parse_ages(age, told=True), verify),
        seeds=seeds,
        told=told,
        progress=progress,
    )
    return search.run()
