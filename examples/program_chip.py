"""Program a chip column by column for `softcell program`, and read it afterwards.

The chip is simulated here. For yours, put calls of your instruments into `Chip`.

    python program_chip.py softcell program model.safetensors --feedback calibration.safetensors \\
        --chip-name bench-1 -o model.cells
    softcell decode model.cells --readings measured.npy -o restored.safetensors
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np

from softcell.devices import Cells, SimulatedCells, parse_device

SEED = 7


class Chip:
    """Cells that can be programmed once and read as often as you like."""

    def __init__(self, device: str) -> None:
        self.cells = SimulatedCells(parse_device(device), SEED)
        self.written: dict[str, list[tuple[np.ndarray, Cells]]] = {}

    def program(self, region: str, places: list[int], level_indices: list[int]) -> None:
        """Send one pulse to each cell. A batch has `levels` too, in volts or what the unit is."""
        at = np.array(places, np.int64)
        cells = self.cells.write(region, np.array(level_indices, np.uint8), at)
        self.written.setdefault(region, []).append((at, cells))

    def read_last(self, region: str, reads: int) -> list[float]:
        """Read the cells that were programmed last, in ohms or what the unit is."""
        places, cells = self.written[region][-1]
        total = np.zeros(len(places), np.float32)
        for number in range(reads):
            total += self.cells.verify(region, cells, places, number=number)
        unit: list[float] = self.cells.device.reading_axis.to_unit(total / reads).tolist()
        return unit

    def read_region(self, region: str, count: int) -> np.ndarray:
        """Read all cells of a region, in the order of their places."""
        readings = np.full(count, np.nan, np.float32)  # a cell that is not there is not read
        for places, cells in self.written[region]:
            readings[places] = self.cells.read(region, cells, places)
        return self.cells.device.reading_axis.to_unit(readings)


def main(command: list[str]) -> int:
    """Run `softcell program` and do what it says."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as softcell:
        assert softcell.stdin is not None
        assert softcell.stdout is not None
        lines = (json.loads(line) for line in softcell.stdout)
        facts = next(lines, None)
        batch: dict[str, Any] = {}
        if facts is not None:
            chip = Chip(facts["device"])
            for batch in lines:
                if "done" in batch:
                    break
                region = batch["region"]
                chip.program(region, batch["places"], batch["level_indices"])
                readings = chip.read_last(region, facts["reads"]) if batch["verify"] else []
                softcell.stdin.write(json.dumps({"readings": readings}) + "\n")
                softcell.stdin.flush()
    if softcell.returncode or "done" not in batch:
        return softcell.returncode or 1  # softcell has said on standard error what is wrong
    regions = [chip.read_region(each["region"], each["cells"]) for each in batch["regions"]]
    np.save("measured.npy", np.concatenate(regions))
    print(f"{batch['output']} is for {batch['chip']}; its readings are in measured.npy")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
