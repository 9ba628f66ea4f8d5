"""Information bits per CPU-second of the LDPC decoder, beside a public C++ decoder.

    python benchmarks/speed/ldpc_decoding.py [--frames 2000] [--peer-frames 20] [--json FILE]

The same code (5G base graph 1, Z = 384, rate 0.80), the same cells (8 levels of
`pcm-partial-reset`), the same ratios and at most as many iterations, one thread each; every
round measures ours and the peer one after another. The peer is `ldpc` (MIT; C++), by its
min-sum in both schedules and by its sum-product. It needs the peers' environment, once:
`benchmarks/peers/make_peer_environment.sh`; without it those rows are left out.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import save_npz

from softcell.channel import channel_of
from softcell.codes.store.ldpc import LDPC, STEP
from softcell.codes.store.modulation import design_modulation
from softcell.devices import parse_device

HERE = Path(__file__).parents[1]
PEER = HERE.parent / ".venv-peer/bin/python"
METHODS = ("minimum_sum serial", "minimum_sum parallel", "product_sum parallel")


def received(code: LDPC, frames: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Write and read random frames: information bits and ratios of the stored bits."""
    channel = channel_of(parse_device("pcm-partial-reset"))
    modulation = design_modulation(channel, 8)
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (frames, code.k), np.uint8)
    levels = modulation.level_indices(modulation.to_cells(code.encode(bits)).reshape(-1))
    uniform, bins = rng.random(len(levels)), np.empty(len(levels), np.int64)
    for level in modulation.indices:
        here = levels == level
        bins[here] = np.searchsorted(channel.matrix[level].cumsum()[:-1], uniform[here], "right")
    ratios = modulation.detect(channel, channel.readings[bins].astype(np.float32))
    return bits, np.ascontiguousarray(modulation.from_cells(ratios.reshape(frames, -1), code.n))


def ours(code: LDPC, ratios: np.ndarray, bits: np.ndarray, iterations: int) -> dict[str, float]:
    begin = time.process_time()
    decoded = code.decode(ratios, iterations=iterations, threads=1)
    seconds = time.process_time() - begin
    right = float((decoded.bits == bits).all(axis=1).mean())
    return {"mbit_per_s": bits.size / seconds / 1e6, "right": right}


def peer(code: LDPC, ratios: np.ndarray, bits: np.ndarray, iterations: int) -> dict[str, Any]:
    if not PEER.exists():
        return {}
    full = np.zeros((len(ratios), code.graph.width * code.lifting))
    full[:, 2 * code.lifting : code.k + code.parity] = STEP * ratios
    with tempfile.TemporaryDirectory() as folder:
        save_npz(f"{folder}/checks.npz", code.graph.matrix().tocsr())
        np.savez(f"{folder}/frames.npz", ratios=full, bits=bits)
        command = [str(PEER), str(HERE / "peers/run_ldpc.py"), folder, str(iterations), *METHODS]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"peer: {done.stderr.strip().splitlines()[-1]}")
        return {}
    return {
        method: {"mbit_per_s": bits.size / seconds / 1e6, "right": right}
        for method, (seconds, right) in json.loads(done.stdout).items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--peer-frames", type=int, default=20)
    parser.add_argument("--parity", type=int, default=2880)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    code = LDPC(384, args.parity)
    bits, ratios = received(code, args.frames)
    code.decode(ratios[:32])
    begin = time.process_time()
    code.encode(bits, threads=1)
    encoding = bits.size / (time.process_time() - begin) / 1e6
    print(f"rate {code.rate:.3f}, n = {code.n}; encoding {encoding:.0f} Mbit/s")
    rounds, few = [], slice(args.peer_frames)
    for _ in range(args.rounds):
        row = {"softcell": ours(code, ratios, bits, args.iterations)}
        row |= peer(code, ratios[few], bits[few], args.iterations)
        for name, figures in row.items():
            print(f"  {name:22s} {figures['mbit_per_s']:8.3f} Mbit/s, right {figures['right']:.3f}")
        rounds.append(row)
    ratios_to_peer = {}
    for method in list(rounds[0])[1:]:
        each = [row["softcell"]["mbit_per_s"] / row[method]["mbit_per_s"] for row in rounds]
        ratios_to_peer[method] = statistics.median(each)
        print(f"speed over ldpc, {method}: x {ratios_to_peer[method]:.1f}")
    if args.json:
        summary = {"encoding_mbit_per_s": encoding, "speed_over": ratios_to_peer, "rounds": rounds}
        args.json.write_text(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
