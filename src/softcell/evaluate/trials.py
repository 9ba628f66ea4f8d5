"""Trials: a network written to chips, read back and evaluated, scheme by scheme."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.allocate import (
    SCHEMES,
    Progress,
    loss_weights,
    make_plan,
    parse_scheme,
)
from softcell.devices import Device
from softcell.errors import InputError
from softcell.evaluate.bounds import ModelBound, tensor_source
from softcell.evaluate.measure import measure_image
from softcell.evaluate.results import Result
from softcell.image.write import write_image
from softcell.version import VERSION
from softcell.weights import StateDictWeights, Weights

Evaluate = Callable[[Mapping[str, NDArray[Any]]], float]
"""How good are these weights? More is better."""

DEFAULT_CELLS = (1.0, 2.0, 4.0)
"""Cells per weight at which schemes are compared."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """A network, how to evaluate it, and the cells to store it in.

    Args:
        state: The network's tensors by name.
        evaluate: Its accuracy for restored tensors.
        device: The device.
        age_seconds: Age at which chips are read, and for which they are planned.
        sensitivity: Diagonal Fisher information by tensor, or None.
        task: Name of the task, for the record.
        model: Name of the network, for the record.
        images: Number of test images, for the record.
        source: Opens the tensors in their own number formats; by default those of `state` are
            stored.
    """

    state: Mapping[str, NDArray[Any]]
    evaluate: Evaluate
    device: Device
    age_seconds: float = 0.0
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None
    task: str = "custom"
    model: str = "custom"
    images: int = 0
    source: Callable[[], Weights] | None = None
    _memory: dict[str, Any] = field(default_factory=dict, repr=False)

    def weights(self) -> Weights:
        """Open the tensors as they are to be stored."""
        return StateDictWeights(self.state) if self.source is None else self.source()

    def accuracy(self, state: Mapping[str, NDArray[Any]]) -> float:
        """Evaluate tensors; equal tensors are evaluated once.

        Raises:
            InputError: The evaluate function gave something other than a finite number.
        """
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(state):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(state[name]).tobytes())
        key = digest.hexdigest()
        if key not in self._memory:
            given = self.evaluate(state)
            try:
                value = float(given)
            except (TypeError, ValueError):
                value = np.nan
            if not np.isfinite(value):
                raise InputError(f"the evaluate function gave {given!r}; expected a finite number")
            self._memory[key] = value
        return self._memory[key]

    @property
    def float_accuracy(self) -> float:
        """Accuracy of the network as given."""
        # A copy: whatever the user's function does to its tensors, the network stays as it is.
        return self.accuracy({name: np.array(values) for name, values in self.state.items()})

    def bound(self) -> tuple[ModelBound, dict[str, float]]:
        """Return the least bits of the network's matrices, and the weight of their errors."""
        if "bound" not in self._memory:
            matrices = {
                name: values
                for name, values in self.state.items()
                if values.ndim > 1 and values.dtype.kind == "f" and values.size
            }
            if not matrices:
                raise InputError("the network has no tensor of two dimensions to compare on")
            known = self.sensitivity or {}
            weight = loss_weights(
                {name: float(np.var(v, dtype=np.float64)) for name, v in matrices.items()},
                {n: float(np.mean(known[n], dtype=np.float64)) for n in matrices if n in known},
            )
            sources = [
                tensor_source(v.astype(np.float32), weight[name]) for name, v in matrices.items()
            ]
            self._memory["bound"] = ModelBound(tuple(sources)), weight
        return self._memory["bound"]


def run_trials(
    experiment: Experiment,
    scheme: str,
    *,
    cells_per_weight: float | None = None,
    seeds: int = 10,
    first_seed: int = 0,
    progress: Progress | None = None,
) -> Result:
    """Store a network by one scheme on several chips and evaluate what they give back.

    Args:
        experiment: The network and its cells.
        scheme: Name of the scheme.
        cells_per_weight: For analog schemes, all cells over all weights.
        seeds: Number of chips, each written and read independently.
        first_seed: Seed of the first chip; the others count on.
        progress: Called after each chip.

    Raises:
        InputError: A setting or the network cannot be used.
        InfeasibleError: The device cannot hold error-free bits.
    """
    with tempfile.TemporaryDirectory(prefix="softcell-") as folder:
        path = Path(folder) / "image.cells"
        with experiment.weights() as weights:
            plan = make_plan(
                weights,
                experiment.device,
                scheme,
                cells_per_weight=cells_per_weight,
                age_seconds=experiment.age_seconds,
                sensitivity=experiment.sensitivity,
            )
            write_image(weights, plan, path)
        return measure_image(
            experiment,
            path,
            target=cells_per_weight,
            seeds=seeds,
            first_seed=first_seed,
            label=_label(scheme, cells_per_weight),
            progress=progress,
        )


def compare(
    experiment: Experiment,
    *,
    schemes: Sequence[str] = SCHEMES,
    cells_per_weight: Sequence[float] = DEFAULT_CELLS,
    seeds: int = 10,
    first_seed: int = 0,
    known: Sequence[Result] = (),
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Yield the result of every scheme, analog ones at several numbers of cells.

    Args:
        experiment: The network and its cells.
        schemes: Names of schemes.
        cells_per_weight: Numbers of cells for the analog ones.
        seeds: Number of chips for each.
        first_seed: Seed of the first chip, the same for every scheme.
        known: Results of an earlier run; those that match are not measured again.
        progress: Called after each chip.
    """
    done = {result.key: result for result in known}
    for scheme, cells in grid(schemes, cells_per_weight):
        key = (
            *(experiment.task, experiment.model, experiment.device.name, experiment.age_seconds),
            *(scheme, cells, seeds, first_seed, experiment.images, VERSION),
        )
        if key in done:
            yield done[key]
            continue
        yield run_trials(
            experiment,
            scheme,
            cells_per_weight=cells,
            seeds=seeds,
            first_seed=first_seed,
            progress=progress,
        )


def grid(
    schemes: Sequence[str], cells_per_weight: Sequence[float]
) -> list[tuple[str, float | None]]:
    """Return every scheme with every number of cells that it takes.

    Raises:
        InputError: A scheme is unknown, or there is none.
    """
    rows: list[tuple[str, float | None]] = []
    for scheme in schemes:
        if parse_scheme(scheme).number_format is None:
            rows += [(scheme, float(cells)) for cells in cells_per_weight]
        else:
            rows.append((scheme, None))
    if not rows:
        raise InputError("nothing to compare: name at least one scheme and number of cells")
    return rows


def _label(scheme: str, cells: float | None) -> str:
    return scheme if cells is None else f"{scheme} at {cells:g} cells"


__all__ = [
    "DEFAULT_CELLS",
    "Evaluate",
    "Experiment",
    "compare",
    "grid",
    "run_trials",
]
