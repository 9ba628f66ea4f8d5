"""Cells per CPU-second of write, age and read, beside a peer and beside plain Gaussian sampling.

    python benchmarks/speed/cells.py [--weights 10000000] [--rounds 5] [--json FILE]

Ten million weights on `pcm-mushroom` at two cells per weight, one thread, ten years of age. Every
round measures ours, the samplers and the peer one after another; the ratios are those of the same
round. The peer (aihwkit's PCM-like model) needs its own environment, once:
`benchmarks/peers/make_peer_environment.sh`; without it that column is left out.
"""

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from softcell.devices import parse_device
from softcell.streams import Stream

HERE = Path(__file__).parents[1]
PEER = HERE.parent / ".venv-peer/bin/python"
AGE = 315576000.0
BLOCK = 1 << 16


def ours(cells: int) -> float:
    """Write, age and read the cells in blocks, as the decoder of an image does."""
    device = parse_device("pcm-mushroom")
    levels = np.linspace(0, 1, BLOCK, dtype=np.float32)
    begin = time.process_time()
    for start in range(0, cells, BLOCK):
        part = levels[: min(BLOCK, cells - start)]
        written = device.write(part, stream=Stream.of(1, "write").at(start))
        device.read(device.age(written, AGE), stream=Stream.of(1, "read").at(start))
    return time.process_time() - begin


def torch_normal(count: int) -> float:
    """Sample as many normal numbers with torch, into the same memory again and again."""
    out = torch.empty(BLOCK)
    begin = time.process_time()
    for _ in range(-(-count // BLOCK)):
        out.normal_()
    return time.process_time() - begin


def stream_normal(count: int) -> float:
    """Sample as many normal numbers from our counter-based stream."""
    stream = Stream.of(1, "plain")
    begin = time.process_time()
    for start in range(0, count, BLOCK):
        stream.at(start).normal(BLOCK)
    return time.process_time() - begin


def peer(weights: int) -> float | None:
    if not PEER.exists():
        return None
    script = str(HERE / "peers/run_aihwkit.py")
    done = subprocess.run(
        [str(PEER), script, str(weights), str(AGE)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cells = 2 * args.weights
    normals = 3 * cells  # programming noise, drift exponent, read noise
    ours(BLOCK), stream_normal(BLOCK), torch_normal(BLOCK)
    rounds = []
    for _ in range(args.rounds):
        row: dict[str, Any] = {"ours_s": ours(cells), "stream_normal_s": stream_normal(normals)}
        row |= {"torch_normal_s": torch_normal(normals), "peer_s": peer(args.weights)}
        rounds.append(row)
        print(f"round {len(rounds)}: {row}")

    def over(key: str) -> Any:
        if rounds[0][key] is None:
            return None
        return statistics.median(row[key] / row["ours_s"] for row in rounds)

    summary = {
        "weights": args.weights,
        "cells": cells,
        "cells_per_cpu_second": cells / statistics.median(r["ours_s"] for r in rounds),
        "time_over_torch_normal": 1 / over("torch_normal_s"),
        "time_over_stream_normal": 1 / over("stream_normal_s"),
        "speed_over_aihwkit": over("peer_s"),
    }
    for name, value in summary.items():
        print(f"{name}: {'not measured' if value is None else f'{value:.4g}'}")
    if args.json:
        args.json.write_text(json.dumps(summary | {"rounds": rounds}, indent=1))


if __name__ == "__main__":
    main()
