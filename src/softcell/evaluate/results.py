"""What was measured, in one schema for every scheme."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from softcell.atomic_file import AtomicFile
from softcell.errors import FormatError, InputError
from softcell.own_bytes import text_bytes
from softcell.records import parse_json, read, values_of

SCHEMA = "softcell.results/1"


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


@dataclass(frozen=True)
class Result:
    """Accuracy of one scheme over independently written chips, and what it cost.

    Args:
        task: Name of the task.
        model: Name of the network.
        device: Specification of the device.
        age_seconds: Age at which the chips were read.
        scheme: Name of the scheme.
        target_cells_per_weight: Cells per weight that were asked for; None for conventional.
        cells_per_weight: All cells over all weights.
        side_cells_per_weight: Those among them that hold side information.
        accuracy_mean: Mean over the chips, from 0 to 1 for our tasks.
        accuracy_ci95: 95 % interval of the mean (Student's t).
        float_accuracy: Accuracy of the network as given, on the same images.
        seeds: Number of chips.
        images: Number of test images; 0 where the user's own function evaluates.
        sdr_db: Signal-to-distortion ratio over all weights in dB, errors averaged over chips. The
            rounding of the weights' own format counts as an error, so that it is finite.
        limit_cells_per_weight: Least cells per weight at the sensitivity-weighted distortion
            reached, R(D) / C.
        capacity_bits: Capacity of a cell at that age.
        code_words: Code words of the digital store, over all chips.
        failed_code_words: Those that could not be corrected.
        first_seed: The chips' seeds count from here.
        accuracies: Accuracy of each chip.
        version: Version of softcell.
        decoder: "table" if weights are decoded by a look-up of their cells' readings, "full" if
            by error correction or entropy decoding; "" in results of before it was recorded.
        feedback: Whether the network went through the feedback loop.
        loop: How it was written column by column: "open", "open, corrected" for the drift of
            activations, "closed" with that correction, "closed, uncorrected"; "" if it was not.
        read_noise_share: Share of reading in the variance of a fresh cell, from 0 to 1.
        verify_reads: Verifying reads of each cell that was programmed in the loop.
        programmed_cells: Cells of a chip that were programmed column by column, one pulse each.
        trained: NAME@DIGEST of the trained network that was stored, the digest telling it from
            others of its name; "" if the task's own network was.
    """

    task: str
    model: str
    device: str
    age_seconds: float
    scheme: str
    target_cells_per_weight: float | None
    cells_per_weight: float
    side_cells_per_weight: float
    accuracy_mean: float
    accuracy_ci95: tuple[float, float]
    float_accuracy: float
    seeds: int
    images: int
    sdr_db: float
    limit_cells_per_weight: float
    capacity_bits: float
    code_words: int = 0
    failed_code_words: int = 0
    first_seed: int = 0
    accuracies: tuple[float, ...] = field(default=(), repr=False)
    version: str = ""
    decoder: str = ""
    feedback: bool = False
    loop: str = ""
    read_noise_share: float = 0.0
    verify_reads: int = 0
    programmed_cells: int = 0
    trained: str = ""

    def __post_init__(self) -> None:
        for name, kind in _TEXT_OR_NUMBER.items():
            value = getattr(self, name)
            if kind is str and not isinstance(value, str):
                raise InputError(f"a result's {name} is text, got {value!r}")
            if kind is float and not _finite(value):
                raise InputError(f"a result's {name} is a finite number, got {value!r}")
        target = self.target_cells_per_weight
        if target is not None and not _finite(target):
            raise InputError(f"a result's target_cells_per_weight is a number, got {target!r}")
        for name in ("accuracy_ci95", "accuracies"):
            if not all(_finite(value) for value in getattr(self, name)):
                raise InputError(f"a result's {name} are finite numbers, got {getattr(self, name)}")

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells one measurement from another, apart from its outcome."""
        return (
            *(self.task, self.model, self.device, self.age_seconds, self.scheme),
            *(self.target_cells_per_weight, self.seeds, self.first_seed, self.images),
            *(self.version, self.loop, self.verify_reads),
            *((self.trained,) if self.trained else ()),
        )


_TEXT_OR_NUMBER = {
    each.name: str if each.type == "str" else float
    for each in fields(Result)
    if each.type in ("str", "int", "float")
}


def write_results(path: Path | str, results: Sequence[Result]) -> None:
    """Write results as JSON, whole or not at all.

    Raises:
        InputError: The file cannot be written.
    """
    text = json.dumps({"schema": SCHEMA, "results": [values_of(r) for r in results]}, indent=1)
    file = AtomicFile(path)
    try:
        file.write(text.encode())
        file.commit()
    finally:
        file.discard()


def read_results(path: Path | str) -> list[Result]:
    """Read results written by `write_results`.

    Raises:
        InputError: There is no such file.
        FormatError: The file is of another schema.
    """
    path = Path(path)
    try:
        values = parse_json(text_bytes(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: not a readable JSON file ({error})") from None
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        raise FormatError(f"{path}: expected the schema {SCHEMA}")
    try:
        rows = values.get("results")
        return list(read(tuple[Result, ...], rows, "results", optional=True, rest=True))
    except FormatError as error:
        raise FormatError(f"{path}: a result is not as the schema has it ({error})") from None
