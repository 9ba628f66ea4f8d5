"""Peak memory of writing and reading a network much larger than memory should be.

    python benchmarks/speed/memory.py [--tensors 20] [--megabytes 100] [--scheme combined]
        [--folder DIR]

Makes a safetensors file of float32 tensors (2 GB by default), writes it to a cell image and reads
it back, each in a process of its own, and prints the peak resident memory of each. Needs about
three times the file in the folder. Exits 1 when the peak is above 1 GB.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import softcell
from softcell.weights import TensorInfo, WeightsWriter

LIMIT_GB = 1.0
COLUMNS = 4096


def make(path: Path, tensors: int, megabytes: int) -> None:
    rows = megabytes * 1_000_000 // 4 // COLUMNS
    infos = [TensorInfo(f"layer{i}.weight", (rows, COLUMNS), "F32") for i in range(tensors)]
    rng = np.random.default_rng(0)
    with WeightsWriter(path, infos) as writer:
        for info in infos:
            writer.write(info.name, rng.standard_normal(info.shape, dtype=np.float32) * 0.02)
        writer.finish()


def write(source: Path, target: Path, scheme: str, cells: float | None) -> dict[str, float]:
    header = softcell.write(source, target, scheme=scheme, cells_per_weight=cells)
    return {"cells_per_weight": header.cells_per_weight}


def read(source: Path, target: Path) -> dict[str, float]:
    return {"failed_code_words": softcell.restore(source, target, seed=1).failed}


def measured(work: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    begin = time.perf_counter()
    found = work(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak_bytes": peak, "seconds": time.perf_counter() - begin, **found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tensors", type=int, default=20)
    parser.add_argument("--megabytes", type=int, default=100, help="of each tensor")
    parser.add_argument("--scheme", default="combined")
    parser.add_argument("--cells-per-weight", type=float, default=2.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    cells = None if args.scheme in ("float32", "float16", "int8") else args.cells_per_weight
    rows = {}
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(dir=args.folder) as folder,
        ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as own_process,
    ):
        source, image = Path(folder) / "model.safetensors", Path(folder) / "model.cells"
        # A process counts what the one that started it had as its own.
        own_process.submit(make, source, args.tensors, args.megabytes).result()
        print(f"{source.stat().st_size / 1e9:.2f} GB in {args.tensors} tensors, {args.scheme}")
        back = Path(folder) / "restored.safetensors"
        for work, *arguments in ((write, source, image, args.scheme, cells), (read, image, back)):
            name = work.__name__
            row = rows[name] = own_process.submit(measured, work, *arguments).result()
            print(f"{name}: peak {row['peak_bytes'] / 1e9:.2f} GB, {row['seconds']:.0f} s, {row}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    return int(any(row["peak_bytes"] > LIMIT_GB * 1e9 for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
