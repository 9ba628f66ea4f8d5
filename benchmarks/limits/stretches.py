"""What it costs to cut index streams into stretches that decode by themselves, in percent of bytes.

    python benchmarks/limits/stretches.py [FILE.safetensors ...] [--json FILE]

A million Gaussian weights in a trellis of eight states at several steps, and every matrix of 20,000
weights and more of the given networks, rounded at a step of 0.8 deviations and cut into 2, 4 and 8
stretches of rows and of columns.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.codes.entropy import stretches
from softcell.codes.entropy.index_coding import encode_indices
from softcell.codes.entropy.stream import encode
from softcell.codes.entropy.trellis import Trellis
from softcell.streams import Stream
from softcell.weights import parse_weights

LENGTHS = (1 << 14, 1 << 15, 1 << 16)
STEPS = (0.15, 0.3, 0.6, 1.2)
PARTS = (2, 4, 8)


def gaussian() -> list[dict[str, Any]]:
    """Return bits a weight, and the cost of stretches of several lengths."""
    weights = Stream.of(0, "w").normal(1_000_000).reshape(1000, 1000)
    rows = []
    for step in STEPS:
        sizes = []
        for length in (1 << 40, *LENGTHS):
            stretches.STRETCH_BYTES = length
            sizes.append(len(encode(weights, step, trellis=Trellis(8))))
        costs = [100 * (size / sizes[0] - 1) for size in sizes[1:]]
        rows.append({"bits": 8 * sizes[0] / weights.size, "percent": costs})
    return rows


def cut(indices: NDArray[np.int32], axis: int) -> list[float]:
    """Return what it costs to cut a matrix of indices along an axis."""
    whole = len(encode_indices(indices))
    found = []
    for number in PARTS:
        parts = np.array_split(indices, number, axis=axis)
        size = sum(len(encode_indices(np.ascontiguousarray(part))) for part in parts)
        found.append(100 * (size / whole - 1))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found: dict[str, Any] = {"gaussian": gaussian()}
    print(f"stretches of {', '.join(map(str, LENGTHS))} bytes")
    for row in found["gaussian"]:
        print(f"{row['bits']:.2f} bits a weight:", *(f"{each:.2f} %" for each in row["percent"]))
    for path in args.networks:
        print(f"{path.name}: cut into {', '.join(map(str, PARTS))}, rows | columns")
        with parse_weights(path) as weights:
            for name in weights.names:
                info = weights.info(name)
                if len(info.shape) < 2 or info.size < 20_000:
                    continue
                matrix = weights.read(name).astype(np.float32).reshape(info.rows, -1)
                indices = np.rint(matrix / (0.8 * matrix.std())).astype(np.int32)
                rows, columns = cut(indices, 0), cut(indices, 1)
                found[f"{path.stem}/{name}"] = {"rows": rows, "columns": columns}
                print(name, *(f"{each:.2f}" for each in rows), "|", *(f"{c:.2f}" for c in columns))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
