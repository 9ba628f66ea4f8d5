"""A compressor of one's own beside our schemes: its bytes, stored error-free in cells."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.allocate import Plan, TensorPlan
from softcell.channel import law_of
from softcell.codes.families import RAW
from softcell.codes.schemes import SCHEMES
from softcell.codes.store.design import store_for
from softcell.devices import Device
from softcell.durations import Ages
from softcell.errors import DecodingError, InputError
from softcell.evaluate.experiment import Experiment
from softcell.evaluate.measure import Tally
from softcell.evaluate.results import Result
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.image.restore import Restoration
from softcell.image.write import write_image
from softcell.progress import Progress
from softcell.weights import StateDictWeights, TensorInfo

Compress = Callable[[Any], tuple[bytes, Mapping[str, Any]]]
"""Takes tensors by name; returns all bytes that a decoder needs, and the tensors that it makes of
them."""

CONVENTIONAL, STRONG = "conventional", "strong"

STORES: Mapping[str, str] = {CONVENTIONAL: "hard", STRONG: "soft"}
"""Ways to store bytes without error: as conventional storage does, and as strong digital does."""

_STREAM = "stream"


@dataclass(frozen=True)
class StoredBytes:
    """What so many error-free bytes cost.

    Args:
        conventional: Cells with hard decisions and a BCH code, parity included.
        strong: Cells with soft decisions and an LDPC code, parity included.
        conventional_bits_per_cell: Information bits in a cell of a long stream.
        strong_bits_per_cell: The same with soft decisions.
    """

    conventional: int
    strong: int
    conventional_bits_per_cell: float
    strong_bits_per_cell: float


def stored_bytes(nbytes: int, device: Device, ages: Ages) -> StoredBytes:
    """Return the cells that bytes take so that they come back without error.

    Args:
        nbytes: Number of bytes, from 0.
        device: The device.
        ages: Age up to which the cells must be readable, or the ages that they are read at.

    Raises:
        InputError: A number of bytes below 0.
        InfeasibleError: The device cannot hold error-free bits at these ages.
    """
    if nbytes < 0:
        raise InputError(f"expected a number of bytes from 0, got {nbytes}")
    law = law_of(device, ages)
    hard, soft = (store_for(STORES[way], law) for way in (CONVENTIONAL, STRONG))
    return StoredBytes(
        hard.cells(nbytes), soft.cells(nbytes), hard.bits_per_cell, soft.bits_per_cell
    )


def measure_compressed(
    experiment: Experiment,
    name: str,
    data: bytes,
    restored: Mapping[str, NDArray[Any]],
    *,
    way: str,
    seeds: int = 10,
    first_seed: int = 0,
    progress: Progress | None = None,
) -> Result:
    """Store a compressor's bytes on several chips, read them back and evaluate what they stand for.

    Args:
        experiment: The network that was compressed.
        name: Name of the compressor.
        data: All that a decoder needs. They all count, and none of them as side information, which
            only the compressor could tell.
        restored: The tensors that its decoder makes of them.
        way: "conventional" or "strong".
        seeds: Number of chips, each written and read independently.
        first_seed: Seed of the first chip; the others count on.
        progress: Called after each chip.

    Raises:
        InputError: There are no bytes or no seeds, or the tensors are others than the network's.
        InfeasibleError: The device cannot hold error-free bits.
        DecodingError: A chip did not give the bytes back.
    """
    if not data or seeds < 1:
        raise InputError(f"expected bytes and at least 1 seed, got {len(data)} and {seeds}")
    experiment.require_tensors({n: v.shape for n, v in restored.items()}, f"what {name} restores")
    stream = np.frombuffer(data, np.uint8)
    device, ages = experiment.device, Ages(experiment.age_seconds, experiment.age_seconds)
    store = store_for(STORES[way], law_of(device, ages))
    info = TensorInfo(_STREAM, stream.shape, "U8")
    # The scheme of the store; there is no number format, for the tensor is bytes.
    scheme = next(s.name for s in SCHEMES.values() if s.digital and s.store == STORES[way])
    plan = Plan(scheme, device, ages, store, (TensorPlan(info, RAW),))
    tally = Tally(experiment)
    weights = sum(values.size for values in experiment.state.values())
    with tempfile.TemporaryDirectory(prefix="softcell-") as folder:
        path = Path(folder) / "image.cells"
        write_image(StateDictWeights({_STREAM: stream}), plan, path)
        with CellImage(path) as image:
            for number in range(seeds):
                seed = first_seed + number
                chip = SimulatedChip(image, seed=seed, age_seconds=experiment.age_seconds)
                restoration = Restoration(image, chip)
                if not np.array_equal(restoration.tensor(0), stream):
                    raise DecodingError(
                        f"chip {seed} did not give the {len(data)} bytes of {name} back: "
                        f"{restoration.report.failed} code words failed"
                    )
                tally.add(seed, restored, restoration.report, cells=image.header.cells / weights)
                if progress:
                    progress(f"{name}, {way}", number + 1, seeds)
    return tally.result(
        device, scheme=f"{name}, {way}", decoder="full", target_cells_per_weight=None
    )
