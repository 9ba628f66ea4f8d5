"""A cell image on a chip, simulated or real, back to a network."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from softcell.durations import parse_age
from softcell.errors import DecodingWarning, InputError
from softcell.image.cell_image import CellImage
from softcell.image.chip import StoredChip
from softcell.image.diagnosis import Diagnosis
from softcell.image.header import ImageHeader
from softcell.image.readings import CombinedReadings, MeasuredReadings, Readings, SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.store_reader import ReadReport
from softcell.progress import Progress
from softcell.weights import WeightsWriter, parse_weights
from softcell.weights.like import tensors_like


@dataclass(frozen=True)
class RestoreReport(ReadReport):
    """How decoding went.

    Args:
        diagnosis: What is unlike the readings that were expected; None if nobody looked, because a
            simulated chip was read without a failure.
        why: Why code words failed, or why weights are wrong without; None where they are right.
    """

    diagnosis: Diagnosis | None = None
    why: str | None = None

    @property
    def wrong(self) -> bool:
        """Whether weights are wrong."""
        return self.why is not None


def read(
    path: Path | str,
    *,
    seed: int = 0,
    age: str | float = 0.0,
    age_unknown: bool = False,
    chip: Path | str | None = None,
    reads: int = 1,
    salvage: bool = False,
    threads: int | None = None,
    like: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write an image to a simulated chip, let it age, read it and decode the network.

    Args:
        path: A cell image.
        seed: Which chip.
        age: Time between writing and reading, such as "10y".
        age_unknown: Decode without being told the age; for images that were written for a span.
        chip: File of a chip that the image was written to, in place of that of `seed`.
        reads: How often the chip is read; several readings are combined.
        salvage: Where code words failed, return what is left. Lost weights take the mean of what is
            left of their row.
        threads: Threads to use; the result does not depend on it.
        like: Tensors as which the result shall come, such as `module.state_dict()`: torch tensors
            of the same types and devices.

    Returns:
        Arrays by name: floating-point ones as float32, others in their own type; or as `like`.

    Raises:
        SoftcellError: A file is damaged, the image is for another chip, code words failed on which
            a whole tensor hangs, or `like` is another network.

    Warns:
        DecodingWarning: Code words could not be corrected, and weights are wrong.
    """
    with CellImage(path) as image, ExitStack() as opened:
        source = _readings(image, opened, seed=seed, age=age, chip=chip, reads=reads)
        restoration = Restoration(
            image, source, threads=threads, age_unknown=age_unknown, salvage=salvage
        )
        found = dict(restoration.tensors())
        report = restoration.report
        if report.failed:
            warnings.warn(
                f"{report.failed} of {report.frames} code words could not be corrected: weights "
                f"are wrong; {restoration.why(restoration.diagnosis())}",
                DecodingWarning,
                stacklevel=2,
            )
    return found if like is None else tensors_like(found, like)


def restore(
    path: Path | str,
    output: Path | str,
    *,
    seed: int = 0,
    age: str | float = 0.0,
    age_unknown: bool = False,
    chip: Path | str | None = None,
    readings: Path | str | Sequence[Path | str] | None = None,
    reads: int = 1,
    salvage: bool = False,
    fill_from: Path | str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> RestoreReport:
    """Decode an image to a safetensors file, tensor by tensor.

    Args:
        path: A cell image.
        output: Safetensors file to write, with the tensors' original types.
        seed: Which simulated chip.
        age: Age of the cells when they are read, such as "10y".
        age_unknown: Decode without being told the age; for images that were written for a span.
        chip: File of a chip that the image was written to, in place of that of `seed`.
        readings: Measured readings of a real chip instead of a simulated one, as
            `MeasuredReadings` takes them; several are combined.
        reads: How often a simulated chip is read; several readings are combined.
        salvage: Where code words failed, restore what is left. Lost weights take the mean of what
            is left of their row.
        fill_from: Safetensors file of a network of the same tensors, whose weights take the place
            of lost ones.
        threads: Threads to use; the result does not depend on it.
        progress: Called with (what, done, total).

    Returns:
        How it went.
    """
    if fill_from is not None and not salvage:
        raise InputError("weights from elsewhere are for those that are lost; ask to salvage")
    with CellImage(path) as image, ExitStack() as opened:
        source = _readings(
            image, opened, seed=seed, age=age, chip=chip, measured=readings, reads=reads
        )
        restoration = Restoration(
            image,
            source,
            threads=threads,
            age_unknown=age_unknown,
            salvage=salvage,
            replacement=_replacement(image.header, opened, fill_from),
        )
        header = image.header
        with WeightsWriter(output, [t.info for t in header.tensors], header.texts) as writer:
            for name, values in restoration.tensors(progress):
                writer.write(name, values)
                del values  # or the next tensor would be decoded beside it
            writer.finish()
        return _report(restoration, measured=readings is not None, analog=header.analog_cells > 0)


def _readings(
    image: CellImage,
    opened: ExitStack,
    *,
    seed: int,
    age: str | float,
    chip: Path | str | None,
    measured: Path | str | Sequence[Path | str] | None = None,
    reads: int = 1,
) -> Readings:
    """Return the readings of a simulated chip, of one in a file, or of a real one."""
    seconds = parse_age(age)
    if reads < 1 or (reads > 1 and measured is not None):
        raise InputError(
            f"expected at least 1 read of a simulated chip, got {reads}; of a real chip, give the "
            "readings themselves"
        )
    if chip is not None and measured is not None:
        raise InputError("measured readings are of a real chip; leave out the simulated one")
    parts: list[Readings]
    if measured is not None:
        paths = [measured] if isinstance(measured, (str, Path)) else measured
        parts = [MeasuredReadings(image, each, age_seconds=seconds) for each in paths]
    elif chip is not None:
        parts = [
            opened.enter_context(StoredChip(image, chip, age_seconds=seconds, read=number))
            for number in range(reads)
        ]
    else:
        parts = [
            SimulatedChip(image, seed=seed, age_seconds=seconds, read=number)
            for number in range(reads)
        ]
    return parts[0] if len(parts) == 1 else CombinedReadings(parts)


def _report(restoration: Restoration, *, measured: bool, analog: bool) -> RestoreReport:
    """Return how decoding went, and why."""
    report = restoration.report
    if not (measured or report.failed):
        return RestoreReport(report.frames, report.failed, report.corrected, report.lost)
    found = restoration.diagnosis()
    # What the store has is right to the byte, whatever the readings look like.
    wrong = report.failed or (found.mismatched and analog)
    why = restoration.why(found) if wrong else None
    return RestoreReport(report.frames, report.failed, report.corrected, report.lost, found, why)


def _replacement(
    header: ImageHeader, opened: ExitStack, path: Path | str | None
) -> Callable[[str], NDArray[Any]] | None:
    """Return what gives the tensors of a file, if there is one, for the place of lost weights.

    Raises:
        InputError: It is another network's.
    """
    if path is None:
        return None
    weights = opened.enter_context(parse_weights(path))
    for tensor in header.tensors:
        name, shape = tensor.info.name, tensor.info.shape
        if name not in weights.names or weights.info(name).shape != shape:
            raise InputError(f"{path} has no tensor {name!r} of shape {shape}; fill from another")
    return weights.read
