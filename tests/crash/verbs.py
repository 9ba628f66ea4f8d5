"""Verbs that write, each with what it writes: what the crash harness strikes at."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

NETWORK = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 12), nn.ReLU(), nn.Linear(12, 3)).eval()

def evaluate(state):
    network = make()
    network.load_state_dict({k: torch.as_tensor(v) for k, v in state.items()})
    inputs = torch.randn(64, 10, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        same = network(inputs).argmax(1) == make()(inputs).argmax(1)
    return float(same.float().mean())
"""
LOOP = ("--feedback", "calibration.safetensors", "--scheme", "naive", "--cells-per-weight", "1")
OWN = ("--module", "crash_network:make", "--inputs", "inputs.safetensors")


@dataclass(frozen=True)
class Verb:
    """A command that writes.

    Args:
        name: What it is called.
        old: Arguments that write the old files; `new` those that replace them.
        new: Likewise.
        outputs: The files that it writes; several appear together.
        stays: What may stay beside them when it is broken off, until it is run again.
        chip: Whether a lab script is on standard input and output.
        slow: Whether it takes more than a second.
        exact: Whether it writes the same bytes every time.
    """

    name: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    outputs: tuple[str, ...]
    stays: tuple[str, ...] = ()
    chip: bool = False
    slow: bool = False
    exact: bool = True

    def run(self, arguments: tuple[str, ...], programmed: Path | None = None) -> int:
        """Run it in this process and folder, and return the exit status."""
        from softcell.cli import main

        if arguments[0] != "program":
            return main(list(arguments))
        if "--exchange" in arguments:
            from softcell.image import exchange

            exchange._POLL_SECONDS = 0.002
            _make_folder()
            threading.Thread(target=answer_files, args=(programmed,), daemon=True).start()
        else:
            sys.stdin = sys.stdout = Lab(programmed)  # type: ignore[assignment]
        return main(list(arguments))


def note(path: Path, text: str, *, opened=open) -> None:
    """Add to a file of the harness: no event, since `opened` is from before there were any."""
    with opened(path, "a", encoding="utf-8") as file:
        file.write(text)


def _make_folder(*, mkdir=os.mkdir) -> None:
    with contextlib.suppress(FileExistsError):
        mkdir("exchange")


def answer_files(
    programmed: Path | None, *, opened=open, rename=os.rename, exists=os.path.exists
) -> None:
    """Answer batches in the folder `exchange`, those that are not answered yet, for ever."""
    lab = Lab(programmed)
    for number in itertools.count():
        batch, answer = f"exchange/batch-{number:06}.csv", f"exchange/readings-{number:06}.csv"
        while not exists(batch):
            time.sleep(0.002)
        if exists(answer):
            continue
        with opened(batch, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        said = {
            "batch": number,
            "region": rows[0]["region"],
            "places": [int(row["cell"]) for row in rows],
            "level_indices": [int(row["level_index"]) for row in rows],
            "verify": rows[0]["verify"] == "1",
        }
        lab.write(json.dumps(said))
        values = json.loads(lab.readline())["readings"]
        with opened("exchange/part", "w", encoding="utf-8") as file:
            file.write("\n".join(["reading", *map(repr, values)]))
        rename("exchange/part", answer)


class Lab(io.TextIOBase):
    """A simulated chip behind standard input and output; it notes which batches it programmed."""

    def __init__(self, programmed: Path | None) -> None:
        from softcell.devices import parse_device
        from softcell.feedback.memory import SimulatedMemory

        self._device = parse_device("pcm-partial-reset")
        self._memory = SimulatedMemory(self._device, 7)
        self._programmed = programmed
        self._answer = ""

    def write(self, text: str) -> int:
        """Take a line of `softcell program`."""
        said = json.loads(text)
        if "batch" in said:
            places, levels = np.array(said["places"]), np.array(said["level_indices"], np.uint8)
            readings = self._memory.program(said["region"], places, levels)
            values = self._device.reading_axis.to_unit(readings).tolist() if said["verify"] else []
            self._answer = json.dumps({"readings": values}) + "\n"
            if self._programmed is not None:
                note(self._programmed, f"{said['batch']}\n")
        return len(text)

    def readline(self, size: int = -1, /) -> str:
        """Give the readings of the last batch."""
        return self._answer


def _verbs() -> tuple[Verb, ...]:
    made = ("model.safetensors", "-o")
    image = ("write", *made, "model.cells", "--scheme")
    chip = ("--chip", "chip.safetensors", "--seed")
    program = ("program", "model.safetensors", *LOOP, "--chip-name", "die7", "-o", "real.cells")
    results = ("--json", "results.json", "--network", "model.safetensors")
    own = ("--evaluate", "crash_network:evaluate")
    train = (
        *("train", "model.safetensors", *OWN, "--epochs", "1", "--resume"),
        *("-o", "trained.safetensors", "--target-cells"),
    )
    return (
        Verb("write", (*image, "int8"), (*image, "naive"), ("model.cells",)),
        Verb(
            "write --chip",
            (*image, "int8", *chip, "1"),
            (*image, "naive", *chip, "2"),
            ("model.cells", "chip.safetensors"),
        ),
        Verb(
            "write --feedback --chip",
            ("write", *made, "loop.cells", *LOOP, "--chip", "loop.safetensors", "--seed", "1"),
            ("write", *made, "loop.cells", *LOOP, "--chip", "loop.safetensors", "--seed", "2"),
            ("loop.cells", "loop.safetensors"),
        ),
        Verb(
            "program",
            ("write", *made, "real.cells", "--scheme", "int8"),
            program,
            ("real.cells",),
            stays=("real.cells.exchange",),
            chip=True,
        ),
        Verb(
            "program --exchange",
            ("write", *made, "real.cells", "--scheme", "int8"),
            (*program, "--exchange", "exchange"),
            ("real.cells",),
            stays=("real.cells.exchange", "exchange"),
            chip=True,
        ),
        Verb(
            "read",
            ("read", "kept.cells", "--seed", "1", "-o", "restored.safetensors"),
            ("read", "kept.cells", "--seed", "2", "-o", "restored.safetensors"),
            ("restored.safetensors",),
        ),
        Verb(
            "decode",
            ("read", "kept.cells", "--seed", "1", "-o", "decoded.safetensors"),
            ("decode", "kept.cells", "--readings", "readings.npy", "-o", "decoded.safetensors"),
            ("decoded.safetensors",),
        ),
        Verb(
            "export",
            ("export", "other.cells", "-o", "levels.npy"),
            ("export", "kept.cells", "-o", "levels.npy"),
            ("levels.npy",),
        ),
        Verb(
            "fit",
            ("fit", "cells.csv", "-o", "cell.toml", "--source", "here"),
            ("fit", "cells.csv", "-o", "cell.toml", "--source", "there"),
            ("cell.toml",),
        ),
        Verb(
            "prune",
            ("prune", "model.safetensors", "--fraction", "0.2", "-o", "pruned.safetensors"),
            ("prune", "model.safetensors", "--fraction", "0.5", "-o", "pruned.safetensors"),
            ("pruned.safetensors",),
        ),
        Verb(
            "quantise",
            ("quantise", "model.safetensors", "--bits", "4", "-o", "shared.safetensors"),
            ("quantise", "model.safetensors", "--bits", "2", "-o", "shared.safetensors"),
            ("shared.safetensors",),
        ),
        Verb(
            "calibrate",
            ("prune", "model.safetensors", "--fraction", "0.2", "-o", "found.safetensors"),
            ("calibrate", *OWN, "-o", "found.safetensors"),
            ("found.safetensors",),
        ),
        Verb(
            "compare",
            ("compare", *results, *own, "--schemes", "int8", "--seeds", "1"),
            ("compare", *results, *own, "--schemes", "float16", "--seeds", "1"),
            ("results.json",),
            slow=True,
        ),
        Verb(
            "optimise",
            ("optimise", *made, "plan.json", *OWN, "--max-cells", "12", "--seeds", "1"),
            ("optimise", *made, "plan.json", *OWN, "--max-cells", "9", "--seeds", "1"),
            ("plan.json",),
            slow=True,
            exact=False,
        ),
        Verb(
            "train",
            (*train, "12"),
            (*train, "9"),
            ("trained.safetensors", "trained.json"),
            stays=("trained.checkpoint.safetensors", "trained.checkpoint.log"),
            slow=True,
            exact=False,
        ),
    )


VERBS = _verbs()


def prepare(folder: Path) -> None:
    """Make what the verbs read."""
    from safetensors.numpy import save_file

    from softcell.cli import main

    (folder / "crash_network.py").write_text(NETWORK)
    sys.path.insert(0, str(folder))
    import crash_network
    import torch

    save_file(
        {name: tensor.numpy() for name, tensor in crash_network.make().state_dict().items()},
        folder / "model.safetensors",
    )
    inputs = torch.randn(48, 10, generator=torch.Generator().manual_seed(1)).numpy()
    save_file({"x": inputs}, folder / "inputs.safetensors")
    random = np.random.default_rng(0)
    volts = np.repeat([1.0, 2.0, 3.0], 40)
    ohms = 10 ** (3 + volts + 0.05 * random.normal(size=len(volts)))
    lines = [f"{volt},{ohm}" for volt, ohm in zip(volts, ohms)]
    (folder / "cells.csv").write_text("\n".join(["pulse_voltage_V,resistance_ohm", *lines]))
    model = str(folder / "model.safetensors")
    for name, scheme in (("kept", "naive"), ("other", "int8")):
        status = main(["write", model, "-o", str(folder / f"{name}.cells"), "--scheme", scheme])
        assert status == 0
    _readings(folder / "kept.cells", folder / "readings.npy")
    found = str(folder / "calibration.safetensors")
    own = ("--module", "crash_network:make", "--inputs", str(folder / "inputs.safetensors"))
    assert main(["calibrate", *own, "-o", found]) == 0


def _readings(image: Path, path: Path) -> None:
    """Write what a simulated chip reads as a lab would."""
    from softcell.image.cell_image import CellImage
    from softcell.image.readings import SimulatedChip

    with CellImage(image) as opened:
        chip = SimulatedChip(opened, seed=3)
        read = [chip.read(region, 0, region.cells) for region in opened.regions()]
        axis = opened.header.device.reading_axis
    np.save(path, axis.to_unit(np.concatenate(read)))
