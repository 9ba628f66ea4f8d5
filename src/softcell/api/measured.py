"""What storage keeps of a network, by a function or inputs of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from softcell.codes.schemes import SCHEMES
from softcell.curvature import Calibration
from softcell.devices import Device, device_from
from softcell.durations import parse_age, parse_ages
from softcell.evaluate.compressed import (
    STORES,
    Compress,
    StoredBytes,
    measure_compressed,
    stored_bytes,
)
from softcell.evaluate.experiment import Experiment
from softcell.evaluate.results import Result
from softcell.evaluate.trials import DEFAULT_CELLS, OPEN, ways_through
from softcell.evaluate.trials import compare as compare_schemes
from softcell.image.closed_loop import Correct
from softcell.progress import Progress
from softcell.weights import NetworkWeights, parse_weights
from softcell.weights.like import tensors_like

if TYPE_CHECKING:
    from torch import Tensor, nn

    from softcell.search import Outcome, Trial


def compare(
    network: NetworkWeights,
    evaluate: Callable[[Any], float],
    *,
    device: Device | str = "pcm-partial-reset",
    schemes: Sequence[str | Compress] | None = None,
    cells_per_weight: Sequence[float] = DEFAULT_CELLS,
    age: str | float = 0.0,
    seeds: int = 10,
    first_seed: int = 0,
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None,
    calibration: Calibration | None = None,
    correct: Correct | None = None,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Store a network by every scheme on several chips, and yield what each costs and keeps.

    Args:
        network: A safetensors file, or tensors by name.
        evaluate: Gives the accuracy (or any figure of merit) of tensors by name. Given torch
            tensors in `network`, it receives torch tensors of the same types. It may load them
            into the module that `network` came from.
        device: A device, or its specification.
        schemes: Schemes to compare; by default all. A function is a compressor of your own: it
            takes tensors by name, as `evaluate` does, and returns all bytes that a decoder needs
            and the tensors that it makes of them. It has two rows, its bytes stored error-free as
            conventional and as strong digital storage do, and read back.
        cells_per_weight: Numbers of cells for the analog ones.
        age: Age at which chips are read, and for which they are planned.
        seeds: Number of chips for each scheme.
        first_seed: Seed of the first chip.
        sensitivity: Diagonal Fisher information by tensor.
        calibration: With it, schemes that can be written column by column have a row for the open
            loop, the open loop with drift correction and the closed loop.
        correct: Drift correction, as for `write`, with a module that `evaluate` leaves as it is.
        progress: Called with (what, done, total).
    """
    network = _kept(network)
    state, convert = _arrays(network)
    experiment = Experiment(
        state=state,
        evaluate=lambda restored: evaluate(convert(restored)),
        device=device_from(device),
        age_seconds=parse_age(age),
        sensitivity=sensitivity,
        source=partial(parse_weights, network),
        calibration=calibration,
        correct=correct,
    )
    ways = (OPEN,) if calibration is None else ways_through(corrected=correct is not None)
    chips: dict[str, Any] = {"seeds": seeds, "first_seed": first_seed, "progress": progress}

    def rows() -> Iterator[Result]:
        for scheme in SCHEMES if schemes is None else schemes:
            if isinstance(scheme, str):
                options = {"cells_per_weight": cells_per_weight, "procedures": ways, **chips}
                yield from compare_schemes(experiment, schemes=[scheme], **options)
                continue
            given = {name: np.array(values) for name, values in experiment.state.items()}
            data, restored = scheme(convert(given))
            tensors, name = _arrays(restored)[0], getattr(scheme, "__name__", "compressor")
            for way in STORES:
                yield measure_compressed(experiment, name, data, tensors, way=way, **chips)

    return rows()  # what is wrong with the arguments is told before the first row is asked for


def error_free_cells(
    nbytes: int, *, device: Device | str = "pcm-partial-reset", age: str | float = 0.0
) -> StoredBytes:
    """Return the cells that bytes take so that they come back without error.

    Args:
        nbytes: Number of bytes, from 0.
        device: A device, or its specification.
        age: Age up to which the cells must be readable, or a span of ages such as "1d..10y".

    Raises:
        SoftcellError: The device cannot hold error-free bits at this age.

    Example:
        >>> cells = error_free_cells(100_000, age="1d")
        >>> cells.strong < cells.conventional < 100_000 * 8 / 1.9
        True
    """
    return stored_bytes(nbytes, device_from(device), parse_ages(age, told=True))


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

    network = _kept(network)
    _, convert = _arrays(network)
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


def _kept(network: NetworkWeights) -> NetworkWeights:
    """Return a network that stays as it is when `evaluate` overwrites the tensors that were given.

    A state dict is not a copy of a module's tensors: it shares their memory.
    """
    if not isinstance(network, Mapping):
        return network
    return deepcopy({n: v.detach() if hasattr(v, "detach") else v for n, v in network.items()})


def _arrays(network: NetworkWeights) -> tuple[dict[str, NDArray[Any]], Callable[[Any], Any]]:
    """Return tensors as arrays, and what turns restored arrays into the network's own kind."""
    with parse_weights(network) as weights:
        state = {name: weights.read(name) for name in weights.names}
    if not isinstance(network, Mapping) or not any(hasattr(v, "detach") for v in network.values()):
        return state, dict
    return state, partial(tensors_like, like=network)
