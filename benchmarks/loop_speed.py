"""How fast the feedback loop is, and what memory it takes.

    python benchmarks/loop_speed.py [--columns 1024 4096] [--json FILE]

A layer of as many rows as columns, with a covariance of full rank, is factored and goes through
the loop: rounded (digital), and written to packed cells, verified and decoded (analog). Times are
CPU seconds on one thread; the peak of memory is that of a process of its own for each layer.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def measure(columns: int) -> dict[str, float]:
    from softcell.allocate.feedback_layer import rounding

    from softcell.channel import channel_of
    from softcell.codes.packed.code import SINGLE, PackedCode, PackedCodec, scale_index
    from softcell.codes.store.hard_store import design_store
    from softcell.devices import parse_device
    from softcell.feedback.factor import factorise
    from softcell.feedback.loop import feedback_loop
    from softcell.feedback.memory import SimulatedMemory, into

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6

    device = parse_device("pcm-partial-reset")
    law = channel_of(device)
    rng = np.random.default_rng(0)
    small = rng.normal(size=(8, 8)).astype(np.float32)
    step = np.full(8, 0.5, np.float32)
    code = PackedCode(np.full(8, SINGLE, np.uint8), scale_index(np.full(8, 3.0)))
    codec = PackedCodec(code, law, design_store(law))
    memory = SimulatedMemory(device, 0)
    # Everything is compiled and designed before the clock starts.
    feedback_loop(small, factorise(np.eye(8)[None]), rounding(step))
    feedback_loop(small, factorise(np.eye(8)[None]), into(memory, "warm", codec, law))
    before = peak()
    weights = rng.normal(size=(columns, columns)).astype(np.float32)
    inputs = rng.normal(size=(columns, columns)).astype(np.float32)
    covariance = (inputs @ inputs.T / columns)[None]
    del inputs
    found = {"columns": columns, "million_weights": columns**2 / 1e6}
    clock = time.process_time()
    factor = factorise(covariance)
    found["factor_s"] = time.process_time() - clock
    rows = np.full(columns, 0.5, np.float32)
    code = PackedCode(np.full(columns, SINGLE, np.uint8), scale_index(3 * np.ones(columns)))
    codec = PackedCodec(code, law, design_store(law))
    stores = {"rounded_s": rounding(rows), "packed_s": into(memory, "cells/w", codec, law)}
    for name, store in stores.items():
        clock = time.process_time()
        feedback_loop(weights, factor, store)
        found[name] = time.process_time() - clock
    return {k: round(v, 3) for k, v in (found | {"peak_gb": peak() - before}).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--columns", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(measure(args.columns[0])))
        return
    rows = []
    for columns in args.columns:
        command = [sys.executable, __file__, "--worker", "--columns", str(columns)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
        print(rows[-1], flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
