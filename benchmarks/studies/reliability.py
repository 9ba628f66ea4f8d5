"""Break chips in every way, decode them, and count what was wrong and not told.

    python benchmarks/studies/reliability.py [--chips 3]

A network of drawn weights is written by every scheme; chips of it are simulated, their readings
changed and given to `softcell.restore`, as a user gives measured ones. It writes
benchmarks/results/reliability.json and, of benchmarks/pages/reliability.md, docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

import softcell
from softcell.atomic_file import AtomicFile
from softcell.channel import channel_of
from softcell.durations import parse_age
from softcell.errors import InfeasibleError, SoftcellError
from softcell.image.cell_image import CellImage
from softcell.image.readings import SimulatedChip
from softcell.report.columns import markdown_columns
from softcell.streams import Stream

HERE = Path(__file__).parents[1]
RESULTS, PAGE = HERE / "results" / "reliability.json", HERE / "pages" / "reliability.md"
DOCS = HERE.parent / "docs" / "reliability.md"

SCHEMES = {
    **{"int8": None, "entropy-coded": 2.0, "strong-digital": 2.0, "fixed-length": 3.0},
    **{"hybrid": 3.0, "coarse-to-fine": 3.0, "joint-map": 2.0, "packed": 2.0, "combined": 3.0},
}
"""Schemes and their cells per weight."""

DEVICES = {"pcm-partial-reset": "0", "pcm-mushroom": "30d"}
"""Devices, each with the age that it is planned for and read at."""

WORSE = 1.26
"""Mean squared error of a tensor in cells of its own, over that of a chip without a fault, from
which on it is wrong: 1 dB."""

FAR = 5.0
"""Error of such a weight over the root mean squared one, from which on it is lost."""

BURST = 2048
"""Neighbouring cells that a burst hits."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Chip:
    """Readings of one region before a fault."""

    readings: Values
    levels: NDArray[np.uint8]
    mean: Values
    deviation: Values
    draw: Stream


Fault = Callable[[Chip], Values]


def stuck(share: float) -> Fault:
    """Cells that read as the lowest level or the highest, half of them each."""

    def change(chip: Chip) -> Values:
        drawn = chip.draw.uniform(len(chip.readings))
        low, high = drawn < share / 2, (drawn >= share / 2) & (drawn < share)
        return np.select([low, high], [chip.mean[0], chip.mean[-1]], chip.readings)

    return change


def dead(share: float) -> Fault:
    """Cells that give no reading."""

    def change(chip: Chip) -> Values:
        return np.where(chip.draw.uniform(len(chip.readings)) < share, np.nan, chip.readings)

    return change


def noisier(chip: Chip) -> Values:
    """Readings that spread twice as much as the device's."""
    more = np.sqrt(3) * chip.deviation[chip.levels]
    changed: Values = chip.readings + more * chip.draw.normal(len(chip.readings))
    return changed


def burst(chip: Chip) -> Values:
    """A run of neighbouring cells that all read as the lowest level, in the middle of a region."""
    changed, start = chip.readings.copy(), len(chip.readings) // 2
    changed[start : start + BURST] = chip.mean[0]
    return changed


def none(chip: Chip) -> Values:
    return chip.readings


FAULTS: Mapping[str, Fault] = {
    "none": none,
    **{f"stuck {share:g} %, unknown": stuck(share / 100) for share in (0.01, 0.1, 1, 5)},
    **{f"dead {share:g} %": dead(share / 100) for share in (0.1, 1)},
    "spread doubled": noisier,
    f"burst of {BURST} cells": burst,
}

PLANNED = (0.01, 0.1, 1, 5)
"""Shares of stuck cells, in percent, that the image is written for."""


@dataclass(frozen=True)
class Outcome:
    """What became of one chip."""

    scheme: str
    device: str
    fault: str
    right: bool
    reported: bool
    salvaged: float


def network() -> dict[str, NDArray[np.float32]]:
    """Return drawn weights: Laplacian matrices, one of them large, and a vector."""
    shapes = {"fc1.weight": (400, 400), "fc2.weight": (100, 400), "fc2.bias": (100,)}
    drawn = {}
    for name, shape in shapes.items():
        u = Stream.of(0, name).uniform(int(np.prod(shape))).reshape(shape) - np.float32(0.5)
        drawn[name] = (-np.sign(u) * np.log1p(-2 * np.abs(u)) / 20).astype(np.float32)
    return drawn


def outcomes(scheme: str, device: str, chips: int) -> Iterator[Outcome]:
    """Write one image for each plan, break its chips and yield what became of them."""
    age = DEVICES[device]
    ways = [(device, fault, change, age) for fault, change in FAULTS.items()]
    if age != "0":
        ways.append((device, "told 0s, is 30d", none, "0"))
        ways.append((device, "told 30d, is 0s", none, "30d"))
    for share in PLANNED:
        half = f"low={share / 200:g},high={share / 200:g}"
        ways.append((f"{device}+stuck:{half}", f"stuck {share:g} %, planned", none, age))
    with tempfile.TemporaryDirectory(prefix="softcell-") as folder:
        written: dict[str, Path] = {}
        for number, (kind, fault, change, told) in enumerate(ways):
            if kind not in written:
                path = Path(folder) / f"{number}.cells"
                cells = SCHEMES[scheme]
                try:
                    softcell.write(
                        network(),
                        path,
                        device=kind,
                        scheme=scheme,
                        age=age,
                        cells_per_weight=cells,
                    )
                except InfeasibleError:
                    continue
                written[kind] = path
            real = "0" if fault.endswith("is 0s") else age
            for seed in range(chips):
                yield outcome(
                    Outcome(scheme, device, fault, False, False, 0.0),
                    written[kind],
                    seed,
                    change,
                    real=real,
                    told=told,
                )


def outcome(
    unknown: Outcome, path: Path, seed: int, change: Fault, *, real: str, told: str
) -> Outcome:
    """Read a chip, change what it gave, decode it and compare."""
    readings, output = path.with_suffix(".npy"), path.with_suffix(".safetensors")
    with CellImage(path) as image:
        device, analog = image.header.device, {t.info.name: t.cells for t in image.header.tensors}
        law = channel_of(device, parse_age(real))
        chip = SimulatedChip(image, seed=seed, age_seconds=parse_age(real))
        values = [
            change(
                Chip(
                    chip.read(region, 0, region.cells).astype(np.float64),
                    image.levels(region, 0, region.cells),
                    law.mean,
                    law.deviation,
                    Stream.of(seed, f"fault/{region.label}"),
                )
            )
            for region in image.regions()
        ]
    np.save(readings, device.reading_axis.to_unit(np.concatenate(values)))
    wanted, sound = network(), softcell.read(path, seed=seed, age=real)
    try:
        report = softcell.restore(path, output, readings=readings, age=told, salvage=True)
    except SoftcellError:
        return replace(unknown, reported=True)
    found = load_file(output)
    right, left, total = True, 0, 0
    for name, values_of in found.items():
        if analog[name]:
            error, usual = found[name] - wanted[name], sound[name] - wanted[name]
            power = float(np.square(usual).mean())
            right &= float(np.square(error).mean()) <= WORSE * power
            left += int((np.abs(error) <= np.maximum(FAR * power**0.5, np.abs(usual))).sum())
        else:
            right &= bool((values_of == sound[name]).all())
            left += int((values_of == sound[name]).sum())
        total += values_of.size
    seen = report.diagnosis
    reported = report.wrong or (
        seen is not None and (seen.cause is not None or seen.implausible > 0)
    )
    return replace(unknown, right=right, reported=reported, salvaged=left / total)


def table(found: list[dict[str, Any]], device: str) -> str:
    """Return the table of a device: a row for each fault, a column for each scheme."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for each in found:
        if each["device"] == device:
            groups[each["fault"], each["scheme"]].append(each)
    columns: dict[str, list[str]] = defaultdict(list)
    for fault in dict.fromkeys(fault for fault, _ in groups):
        columns["fault"].append(fault)
        for scheme in SCHEMES:
            columns[scheme].append(cell(groups[fault, scheme]))
        chips = [each for (at, _), group in groups.items() if at == fault for each in group]
        silent = sum(not each["right"] and not each["reported"] for each in chips)
        columns["wrong, unreported"].append(f"{silent} of {len(chips)}")
    return markdown_columns(columns, left=1)


def cell(chips: list[dict[str, Any]]) -> str:
    """Return what became of the chips of one scheme with one fault."""
    if not chips:
        return "-"
    wrong = [each for each in chips if not each["right"]]
    if not wrong:
        return "right"
    left = f"{100 * np.mean([each['salvaged'] for each in wrong]):.1f} %"
    return left if len(wrong) == len(chips) else f"{len(wrong)} of {len(chips)}: {left}"


def write(path: Path, text: str) -> None:
    file = AtomicFile(path)
    file.write(text.encode())
    file.commit()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chips", type=int, default=3, help="chips of each kind")
    chips = parser.parse_args().chips
    found = []
    for device in DEVICES:
        for scheme in SCHEMES:
            for each in outcomes(scheme, device, chips):
                found.append(vars(each))
            print(device, scheme, flush=True)
    write(RESULTS, json.dumps({"softcell": softcell.__version__, "chips": found}, indent=1) + "\n")
    text = PAGE.read_text(encoding="utf-8")
    for device in DEVICES:
        text = text.replace(f"<<{device}>>", table(found, device))
    write(DOCS, text)


if __name__ == "__main__":
    main()
