"""How fast the feedback loop is, and what memory it takes.

    python benchmarks/speed/loop.py [--columns 1024 4096] [--json FILE]

A layer of as many rows as columns, with a covariance of full rank, is factored and goes through
the loop: rounded (digital), and written to packed cells, verified and decoded (analog). Times are
CPU seconds on one thread; the peak of memory is that of a process of its own for each layer.
"""

import argparse
import json
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from softcell.channel import channel_of
from softcell.codes.packed.code import SINGLE, PackedCode, PackedCodec, scale_index
from softcell.codes.store.hard_store import design_store
from softcell.devices import parse_device
from softcell.feedback.factor import factorise
from softcell.feedback.loop import StoreColumn, feedback_loop
from softcell.feedback.memory import SimulatedMemory, into

DEVICE = parse_device("pcm-partial-reset")
STEP = np.float32(0.5)


def rounded(_: int, targets: np.ndarray) -> np.ndarray:
    return STEP * np.rint(targets / STEP)


def packed(rows: int) -> StoreColumn:
    """Return what writes a column to one cell for each weight, verifies and decodes it."""
    law = channel_of(DEVICE)
    code = PackedCode(np.full(rows, SINGLE, np.uint8), scale_index(np.full(rows, 3.0)))
    codec = PackedCodec(code, law, design_store(law))
    return into(SimulatedMemory(DEVICE, 0), f"cells/{rows}", codec, law)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure(columns: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    # Everything is compiled and designed before the clock starts.
    for store in (rounded, packed(8)):
        feedback_loop(rng.normal(size=(8, 8)).astype("f4"), factorise(np.eye(8)[None]), store)
    before = peak()
    weights = rng.normal(size=(columns, columns)).astype(np.float32)
    inputs = rng.normal(size=(columns, columns)).astype(np.float32)
    covariance = (inputs @ inputs.T / columns)[None]
    del inputs
    found = {"columns": columns, "million_weights": columns**2 / 1e6}
    clock = time.process_time()
    factor = factorise(covariance)
    found["factor_s"] = time.process_time() - clock
    for name, store in {"rounded_s": rounded, "packed_s": packed(columns)}.items():
        clock = time.process_time()
        feedback_loop(weights, factor, store)
        found[name] = time.process_time() - clock
    return {k: round(v, 3) for k, v in (found | {"peak_gb": peak() - before}).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--columns", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    rows = []
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as own_process:
        for row in own_process.map(measure, args.columns):
            rows.append(row)
            print(row, flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
