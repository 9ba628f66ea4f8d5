"""CPU seconds and memory of writing large networks, and networks of many small tensors.

    python benchmarks/speed/writing.py [--scheme NAME ...] [--cells 1.0] [--case NAME ...]
        [--json FILE]

Every case is written by `softcell write` in a process of its own, so that its start, imports and
the plan count; user and system time are those of the process. Networks are random: normal weights
whose rows and columns differ in size.

- large: 16 matrices of 32 million weights each, 2 GB
- middle: one of 16.8 million, 64 MB
- tiny: 2,500 matrices of 64 x 64
- tiniest: 2,500 matrices of 16 x 16
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from softcell.weights import TensorInfo, WeightsWriter

CASES = {
    "large": (16, 8192, 4096),
    "middle": (1, 4096, 4096),
    "tiny": (2500, 64, 64),
    "tiniest": (2500, 16, 16),
}


def make(path: Path, tensors: int, rows: int, columns: int) -> None:
    """Write a random network, one tensor at a time."""
    rng = np.random.default_rng(1)
    infos = [TensorInfo(f"layer{n}.weight", (rows, columns), "F32") for n in range(tensors)]
    with WeightsWriter(path, infos) as writer:
        for info in infos:
            weights = rng.standard_normal((rows, columns), dtype=np.float32)
            weights *= 0.02 * np.exp(0.3 * rng.standard_normal((rows, 1), dtype=np.float32))
            weights *= np.exp(0.3 * rng.standard_normal((1, columns), dtype=np.float32))
            writer.write(info.name, weights)


def write(network: Path, scheme: str, cells: float) -> dict[str, Any]:
    """Write an image in a process of its own; return what it took."""
    program = "import sys; from softcell.cli.app import main; sys.exit(main())"
    output = network.with_suffix(".cells")
    command = ["write", str(network), "-o", str(output), "--scheme", scheme, "--json"]
    command += ["--cells-per-weight", str(cells)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", program, *command], capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cells_per_weight": json.loads(done.stdout)["cells_per_weight"],
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_gb": after.ru_maxrss / 1e6,  # of the largest process so far
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scheme", nargs="+", default=["strong-digital"], metavar="NAME")
    parser.add_argument("--cells", type=float, default=1.0)
    parser.add_argument("--case", nargs="+", default=list(CASES)[::-1], choices=CASES)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    table = Table("network", "scheme", "cells/weight", "CPU s", "peak GB")
    rows = []
    for case in args.case:
        with tempfile.TemporaryDirectory() as folder:
            network = Path(folder) / f"{case}.safetensors"
            make(network, *CASES[case])
            for scheme in args.scheme:
                row = {"network": case, "scheme": scheme, **write(network, scheme, args.cells)}
                rows.append(row)
                table.add_row(
                    case,
                    scheme,
                    f"{row['cells_per_weight']:.3f}",
                    f"{row['cpu_seconds']:.1f}",
                    f"{row['peak_gb']:.2f}",
                )
    Console(width=100).print(table)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
