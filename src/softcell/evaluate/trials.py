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

from softcell.allocate import CONVENTIONAL, CUMULATIVE, Progress, make_plan, parse_scheme
from softcell.channel import channel_of
from softcell.devices import Device
from softcell.errors import InputError
from softcell.evaluate.bounds import ModelBound, least_cells_per_weight, tensor_source
from softcell.evaluate.results import Result
from softcell.evaluate.statistics import mean_and_ci95
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.image.restore import ReadReport, Restoration
from softcell.image.write import write_image
from softcell.version import VERSION
from softcell.weights import StateDictWeights

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

    Raises:
        InputError: The network has no tensor that could be stored.
    """

    state: Mapping[str, NDArray[Any]]
    evaluate: Evaluate
    device: Device
    age_seconds: float = 0.0
    sensitivity: Mapping[str, NDArray[np.floating]] | None = None
    task: str = "custom"
    model: str = "custom"
    images: int = 0
    _memory: dict[str, Any] = field(default_factory=dict, repr=False)

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
            value = float(self.evaluate(state))
            if not np.isfinite(value):
                raise InputError(f"the evaluate function gave {value}; expected a finite number")
            self._memory[key] = value
        return self._memory[key]

    @property
    def float_accuracy(self) -> float:
        """Accuracy of the network as given."""
        return self.accuracy(self.state)

    def bound(self) -> tuple[ModelBound, dict[str, float]]:
        """Return the least bits of the network's matrices, and the weight of their errors."""
        if "bound" not in self._memory:
            sources, weight = [], {}
            for name, values in self.state.items():
                if values.ndim < 2 or values.dtype.kind != "f" or values.size == 0:
                    continue
                weight[name] = self._error_weight(name, values)
                sources.append(tensor_source(values.astype(np.float32), weight[name]))
            if not sources:
                raise InputError("the network has no tensor of two dimensions to compare on")
            self._memory["bound"] = ModelBound(tuple(sources)), weight
        return self._memory["bound"]

    def _error_weight(self, name: str, values: NDArray[Any]) -> float:
        """Return the loss of a squared error in a tensor; relative errors without sensitivity."""
        if self.sensitivity is not None and name in self.sensitivity:
            return float(np.mean(self.sensitivity[name], dtype=np.float64))
        variance = float(np.var(values, dtype=np.float64))
        return 1 / variance if variance > 0 else 0.0


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
    if seeds < 1:
        raise InputError(f"expected at least 1 seed, got {seeds}")
    channel = channel_of(experiment.device, experiment.age_seconds)
    accuracies, reports = [], []
    errors = np.zeros(2)
    with tempfile.TemporaryDirectory(prefix="softcell-") as folder:
        path = Path(folder) / "image.cells"
        plan = make_plan(
            StateDictWeights(experiment.state),
            experiment.device,
            scheme,
            cells_per_weight=cells_per_weight,
            age_seconds=experiment.age_seconds,
            sensitivity=experiment.sensitivity,
        )
        header = write_image(StateDictWeights(experiment.state), plan, path)
        with CellImage(path) as image:
            for number in range(seeds):
                chip = SimulatedChip(
                    image, seed=first_seed + number, age_seconds=experiment.age_seconds
                )
                restoration = Restoration(image, chip)
                restored = dict(restoration.tensors())
                reports.append(restoration.report)
                errors += _errors(experiment, restored)
                accuracies.append(experiment.accuracy(restored))
                if progress:
                    progress(_label(scheme, cells_per_weight), number + 1, seeds)
    mean, interval = mean_and_ci95(accuracies)
    total, weighted = errors / seeds
    signal = sum(
        float(np.sum(np.square(v, dtype=np.float64))) for v in _matrices(experiment).values()
    )
    bound, _ = experiment.bound()
    failed = sum(r.failed for r in reports)
    return Result(
        task=experiment.task,
        model=experiment.model,
        device=experiment.device.name,
        age_seconds=experiment.age_seconds,
        scheme=scheme,
        target_cells_per_weight=cells_per_weight,
        cells_per_weight=header.cells_per_weight,
        side_cells_per_weight=header.side_cells_per_weight,
        accuracy_mean=mean,
        accuracy_ci95=interval,
        float_accuracy=experiment.float_accuracy,
        seeds=seeds,
        images=experiment.images,
        sdr_db=float(10 * np.log10(max(signal, 1e-300) / max(total, 1e-300))),
        limit_cells_per_weight=least_cells_per_weight(
            bound, weighted, channel.capacity.bits, header.weights
        ),
        capacity_bits=channel.capacity.bits,
        code_words=sum(r.frames for r in reports),
        failed_code_words=failed,
        first_seed=first_seed,
        accuracies=tuple(accuracies),
        version=VERSION,
    )


def compare(
    experiment: Experiment,
    *,
    schemes: Sequence[str] = (*CONVENTIONAL, *CUMULATIVE),
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


def _matrices(experiment: Experiment) -> dict[str, NDArray[Any]]:
    _, weight = experiment.bound()
    return {name: experiment.state[name] for name in weight}


def _errors(experiment: Experiment, restored: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Return squared errors of the matrices, plain and weighted, rounding of float32 included."""
    _, weight = experiment.bound()
    total = np.zeros(2)
    for name, values in _matrices(experiment).items():
        exact = np.asarray(values, np.float32)
        error = exact.astype(np.float64) - restored[name]
        square = float(np.sum(error * error))
        square += float(np.sum(np.spacing(np.abs(exact)).astype(np.float64) ** 2)) / 12
        total += square * np.array([1.0, weight[name]])
    return total


__all__ = [
    "DEFAULT_CELLS",
    "Evaluate",
    "Experiment",
    "ReadReport",
    "compare",
    "grid",
    "run_trials",
]
