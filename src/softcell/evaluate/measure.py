"""What an image gives back, chip after chip: accuracy, distortion and distance to the limit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.allocate import Plan
from softcell.channel import channel_of
from softcell.codes.schemes import parse_scheme
from softcell.devices import Device, read_noise_share
from softcell.errors import InputError
from softcell.evaluate.bounds import least_cells_per_weight
from softcell.evaluate.experiment import Experiment
from softcell.evaluate.results import Result
from softcell.evaluate.statistics import mean_and_ci95
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.store_reader import ReadReport
from softcell.network import Network, chips
from softcell.progress import Progress
from softcell.version import VERSION

GIVEN = "given"
"""Scheme of weights that are evaluated as they are, in no cells."""


def measure_image(
    experiment: Experiment,
    path: Path | str,
    *,
    target: float | None = None,
    seeds: int = 10,
    first_seed: int = 0,
    label: str = "chips",
    progress: Progress | None = None,
) -> Result:
    """Write an image to several chips and evaluate what they give back.

    Args:
        experiment: The network that the image was made of, how to evaluate it, and the age at
            which chips are read.
        path: The image. It says for which device it is.
        target: Cells per weight that were asked for, for the record.
        seeds: Number of chips, each written and read independently.
        first_seed: Seed of the first chip; the others count on.
        label: What is told to `progress`.
        progress: Called after each chip.

    Raises:
        InputError: There is no seed, or the image holds other tensors than the network.
        FormatError: The image is damaged.
        DecodingError: Side information was lost.
    """
    written = [(Path(path), first_seed + number) for number in range(seeds)]
    return measure_chips(experiment, written, target=target, label=label, progress=progress)


def measure_chips(
    experiment: Experiment,
    written: Iterable[tuple[Path, int]],
    *,
    target: float | None = None,
    label: str = "chips",
    progress: Progress | None = None,
    **settings: Any,
) -> Result:
    """Evaluate what chips give back, each written with an image of its own or all with one.

    Args:
        experiment: As for `measure_image`.
        written: Image and seed of each chip, the seeds counting on; all of one scheme. They
            are taken one at a time, so that images may come into being as they are asked for.
        target: Cells per weight that were asked for, for the record.
        label: What is told to `progress`.
        progress: Called after each chip.
        settings: Further fields of the result.

    Raises:
        InputError: There is no chip, or an image holds other tensors than the network.
        FormatError: An image is damaged.
        DecodingError: Side information was lost.
    """
    tally, header = Tally(experiment), None
    for path, seed in written:
        with CellImage(path) as image:
            header = image.header
            experiment.require_tensors({t.info.name: t.info.shape for t in header.tensors}, path)
            chip = SimulatedChip(image, seed=seed, age_seconds=experiment.age_seconds)
            restoration = Restoration(image, chip)
            restored = dict(restoration.tensors())
        tally.add(
            seed,
            restored,
            restoration.report,
            cells=header.cells_per_weight,
            side=header.side_cells_per_weight,
        )
        if progress:
            progress(label, tally.chips, tally.chips)
    if header is None:
        raise InputError("expected at least 1 seed, got 0")
    return tally.result(
        header.device,
        scheme=header.scheme,
        decoder=parse_scheme(header.scheme).decoder,
        target_cells_per_weight=target,
        programmed_cells=header.analog_cells if settings.get("verify_reads") else 0,
        **settings,
    )


class Tally:
    """What chips gave back of a network so far, one after the other.

    Args:
        experiment: The network, how to evaluate it, and the age at which chips are read.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._errors = np.zeros(2)
        self._seeds: list[int] = []
        self._accuracies: list[float] = []
        self._reports: list[ReadReport] = []
        self._cells: list[tuple[float, float]] = []

    @property
    def chips(self) -> int:
        """Number of chips so far."""
        return len(self._seeds)

    def add(
        self,
        seed: int,
        restored: Mapping[str, NDArray[Any]],
        report: ReadReport,
        *,
        cells: float,
        side: float = 0.0,
    ) -> None:
        """Take up what a chip gave back.

        Args:
            seed: The chip's seed.
            restored: The tensors.
            report: How its code words fared.
            cells: Cells per weight that it took.
            side: Those among them that hold side information.
        """
        self._errors += _errors(self._experiment, restored)
        self._accuracies.append(self._experiment.accuracy(restored))
        self._seeds.append(seed)
        self._reports.append(report)
        self._cells.append((cells, side))

    def result(self, device: Device, *, scheme: str, decoder: str, **settings: Any) -> Result:
        """Return the result of all chips.

        Args:
            device: Their device.
            scheme: Name of the scheme.
            decoder: What decodes a weight.
            settings: Further fields of the result.
        """
        experiment = self._experiment
        mean, interval = mean_and_ci95(self._accuracies)
        total, weighted = self._errors / self.chips
        bound, _ = experiment.bound()
        capacity = channel_of(device, experiment.age_seconds).capacity.bits
        weights = sum(values.size for values in experiment.state.values())
        cells, side = np.mean(self._cells, axis=0)
        return Result(
            task=experiment.task,
            model=experiment.model,
            device=device.name,
            age_seconds=experiment.age_seconds,
            scheme=scheme,
            cells_per_weight=float(cells),
            side_cells_per_weight=float(side),
            accuracy_mean=mean,
            accuracy_ci95=interval,
            float_accuracy=experiment.float_accuracy,
            seeds=self.chips,
            images=experiment.images,
            sdr_db=_sdr_db(experiment, total),
            limit_cells_per_weight=least_cells_per_weight(bound, weighted, capacity, weights),
            capacity_bits=capacity,
            code_words=sum(r.frames for r in self._reports),
            failed_code_words=sum(r.failed for r in self._reports),
            first_seed=self._seeds[0],
            accuracies=tuple(self._accuracies),
            version=VERSION,
            decoder=decoder,
            read_noise_share=read_noise_share(device),
            **settings,
        )


def measure_plan(
    experiment: Experiment,
    network: Network,
    plan: Plan,
    *,
    seeds: int = 10,
    first_seed: int = 0,
    label: str = "chips",
    progress: Progress | None = None,
    **settings: Any,
) -> Result:
    """Write a planned network to several chips and evaluate what they give back.

    Args:
        experiment: As for `measure_image`.
        network: The network, as it is written.
        plan: Its plan.
        seeds: Number of chips, each written and read independently.
        first_seed: Seed of the first chip; the others count on.
        label: What is told to `progress`.
        progress: Called after each chip with (what, done, chips in all).
        settings: Further fields of the result.

    Raises:
        InputError: There is no seed, or the plan is for another network.
        DecodingError: Side information was lost.
    """
    if seeds < 1:
        raise InputError(f"expected at least 1 seed, got {seeds}")

    def counted(what: str, done: int, _: int) -> None:
        if progress:
            progress(what, done, seeds)

    procedure = plan.procedure
    with tempfile.TemporaryDirectory(prefix="softcell-") as folder:
        every = range(first_seed, first_seed + seeds)
        return measure_chips(
            experiment,
            chips(network, plan, Path(folder) / "image.cells", every),
            target=plan.target,
            label=label,
            progress=counted,
            feedback=procedure.loop and procedure.feedback,
            loop=procedure.name,
            verify_reads=procedure.verify_reads if plan.by_chip else 0,
            **settings,
        )


def measure_given(experiment: Experiment, state: Mapping[str, NDArray[Any]]) -> Result:
    """Evaluate weights as they are, beside the network that they are meant to be.

    Args:
        experiment: The network, and how to evaluate it.
        state: The weights, such as `softcell read` restored them.

    Returns:
        A result of the scheme "given" on the device "none", which takes no cells. There is one
        set of weights and no chance in it, so that the interval is the accuracy itself, twice.

    Raises:
        InputError: They are other tensors than the network's, or hold NaN or infinite weights.
    """
    experiment.require_tensors({n: v.shape for n, v in state.items()}, "these weights")
    for name, values in state.items():
        if not np.isfinite(values).all():
            raise InputError(f"tensor {name!r} holds NaN or infinite weights; repair it first")
    accuracy = experiment.accuracy(state)
    return Result(
        task=experiment.task,
        model=experiment.model,
        device="none",
        age_seconds=0.0,
        scheme=GIVEN,
        target_cells_per_weight=None,
        cells_per_weight=0.0,
        side_cells_per_weight=0.0,
        accuracy_mean=accuracy,
        accuracy_ci95=(accuracy, accuracy),
        float_accuracy=experiment.float_accuracy,
        seeds=1,
        images=experiment.images,
        sdr_db=_sdr_db(experiment, float(_errors(experiment, state)[0])),
        limit_cells_per_weight=0.0,
        capacity_bits=0.0,
        accuracies=(accuracy,),
        version=VERSION,
    )


def _matrices(experiment: Experiment) -> dict[str, NDArray[Any]]:
    _, weight = experiment.bound()
    return {name: experiment.state[name] for name in weight}


def _sdr_db(experiment: Experiment, squared_error: float) -> float:
    """Return the signal-to-distortion ratio over all matrices in dB."""
    signal = sum(
        float(np.sum(np.square(v, dtype=np.float64))) for v in _matrices(experiment).values()
    )
    return float(10 * np.log10(max(signal, 1e-300) / max(squared_error, 1e-300)))


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
