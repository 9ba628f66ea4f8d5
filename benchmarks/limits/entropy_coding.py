"""Entropy-coded quantisation, from real bytes: distortion at a rate, and bits at a step.

    python benchmarks/limits/entropy_coding.py [--samples 1000000] [--json FILE]

First the signal-to-distortion ratio of unit-variance sources at 0.6 to 4.8 bits per weight, for
rounding, rate-distortion-optimised choice (RDO), and trellises of 8 and 32 states, beside the
Gaussian limit of 6.02 dB per bit (for the Laplacian a lower bound of its limit). For each scheme
except rounding the best of a few prices of a bit is taken. Then the bits per weight of networks'
tensors, rounded at steps relative to their deviations: first-order entropy, which static models
cannot beat, the same with each tensor's table of 16 bits a symbol, and the adaptive coder, all side
information counted; and weights per CPU-second. The networks are read from the
folder that SOFTCELL_DATA names, and left out without it.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from softcell.codes.entropy.index_coding import decode_indices, encode_indices
from softcell.codes.entropy.stream import decode, encode
from softcell.codes.entropy.trellis import Trellis
from softcell.weights import parse_weights

RATES = (0.6, 1.2, 2.4, 3.6, 4.8)
SCHEMES = {
    "rounding": (1, (0.0,)),
    "RDO": (1, (0.1, 0.14, 0.2)),
    "trellis 8": (8, (0.06, 0.08, 0.24)),
    "trellis 32": (32, (0.06, 0.08, 0.24)),
}
NETWORKS = ("cifar10_resnet20", "cifar10_resnet56", "imagenet_mobilenet_v1_025")
STEPS = (0.35, 0.5, 1.0, 1.5)


Row = dict[str, Any]


def sources(samples: int) -> dict[str, np.ndarray]:
    """Draw the unit-variance sources, as matrices of 1,000 columns."""
    rng = np.random.default_rng(1)
    shape = (-(-samples // 1000), 1000)
    return {
        "gaussian": rng.standard_normal(shape).astype(np.float32),
        "laplacian": (rng.laplace(size=shape) / np.sqrt(2)).astype(np.float32),
    }


def step_for_bits(weights: np.ndarray, bits: float, **how: Any) -> float:
    """Return about the smallest step at which the stream takes no more bits per weight."""
    low, high = np.log2(weights.std()) + np.array([-bits - 2, 6.0])
    while high - low > 1 / 128:
        middle = (low + high) / 2
        much = 8 * len(encode(weights, 2.0**middle, **how)) > bits * weights.size
        low, high = (middle, high) if much else (low, middle)
    return float(2.0**high)


def best_point(
    weights: np.ndarray, bits: float, states: int, prices: tuple[float, ...]
) -> dict[str, Any]:
    """Encode and decode at the rate, at the price of bits that distorts least.

    The step is sought on a tenth of the weights, then adjusted on all of them.
    """
    best: dict[str, Any] = {}
    for price in prices:

        def taken(step: float, part: np.ndarray, price: float = price) -> tuple[bytes, float]:
            stream = encode(part, step, trade_off=price, trellis=Trellis(states))
            return stream, 8 * len(stream) / part.size

        low, step = 2.0**-6, 2.0**4
        for _ in range(11):
            middle = float(np.sqrt(low * step))
            fits = taken(middle, weights[::10])[1] <= bits
            low, step = (low, middle) if fits else (middle, step)
        while (point := taken(step, weights))[1] > bits:
            step *= 1 + 1 / 128
        begin = time.process_time()
        decoded = decode(point[0], weights.shape)
        seconds = time.process_time() - begin
        power = (weights.astype(np.float64) ** 2).mean()
        sdr = 10 * np.log10(power / ((decoded.astype(np.float64) - weights) ** 2).mean())
        if not best or sdr > best["sdr_db"]:
            best = {"bits_per_weight": point[1], "sdr_db": float(sdr), "step": step}
            best |= {"trade_off": price, "decoded_per_second": weights.size / seconds}
    return best


def network_rows(path: Path) -> list[dict[str, Any]]:
    """Code every tensor of at least two dimensions, rounded."""
    rows = []
    with parse_weights(path) as weights:
        tensors = [weights.read(name) for name in weights.names]
    matrices = [t.reshape(t.shape[0], -1) for t in tensors if t.ndim > 1]
    count = sum(m.size for m in matrices)
    for relative in STEPS:
        entropy = table = adaptive = encoding = decoding = 0.0
        for matrix in matrices:
            indices = np.rint(matrix / (relative * matrix.std())).astype(np.int32)
            _, counts = np.unique(indices, return_counts=True)
            entropy -= float((counts * np.log2(counts / indices.size)).sum())
            table += 16 * (int(indices.max()) - int(indices.min()) + 1)
            begin = time.process_time()
            stream = encode_indices(indices)
            middle = time.process_time()
            if not np.array_equal(decode_indices(stream, indices.shape), indices):
                raise SystemExit("indices were lost")
            encoding += middle - begin
            decoding += time.process_time() - middle
            adaptive += 8 * len(stream)
        row = {"network": path.stem, "step_over_sigma": relative, "entropy": entropy / count}
        row |= {"static": (entropy + table) / count, "adaptive": adaptive / count}
        speeds = {"encoded_per_second": count / encoding, "decoded_per_second": count / decoding}
        rows.append(row | speeds)
    return rows


def main() -> None:
    """Measure, print, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    encode_indices(np.ones((2, 2), np.int32))  # compile before anything is timed
    rows: list[dict[str, Any]] = []
    folder = os.environ.get("SOFTCELL_DATA")
    for network in NETWORKS if folder else ():
        for row in network_rows(Path(str(folder)) / f"{network}.safetensors"):
            rows.append(row)
            print({k: v if isinstance(v, str) else float(f"{v:.4g}") for k, v in row.items()})
    for source, weights in sources(options.samples).items():
        for bits in RATES:
            cells = []
            for scheme, (states, prices) in SCHEMES.items():
                point = best_point(weights, bits, states, prices)
                rows.append({"source": source, "scheme": scheme, "rate": bits, **point})
                cells.append(f"{scheme} {point['sdr_db']:.2f}")
            limit = 20 * np.log10(2) * bits
            print(f"{source}, {bits} b/w: {', '.join(cells)}; {limit:.2f} dB", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
