"""What storage keeps of a network by every scheme, by a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from softcell.api.given import arrays_of, kept_tensors
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

if TYPE_CHECKING:
    pass


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
    network = kept_tensors(network)
    state, convert = arrays_of(network)
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
            tensors, name = arrays_of(restored)[0], getattr(scheme, "__name__", "compressor")
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
