"""Make ldpc_peers.json: codewords by sionna, decodings by sionna and by the ldpc package.

Run: .venv-peer/bin/python tests/codes/store/vectors/make_ldpc_vectors.py
after: .venv-peer/bin/python -m pip install ldpc==2.4.1
and: .venv-peer/bin/python -m pip install --no-deps sionna-no-rt==2.2.0 importlib_resources h5py
It needs none of softcell and takes a minute. Bits are packed to bytes, the first highest; arrays
of bytes are compressed by zlib and written in base64.
"""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import torch
from ldpc import BpDecoder
from scipy.sparse import csr_matrix
from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder

# One lifting size of every set of shifts, and the longest.
LIFTING_SIZES = (16, 24, 20, 28, 36, 22, 26, 30, 384)
LIFTING, ROWS = 64, 8
ITERATIONS = 20
DEVIATIONS = (0.52, 0.57, 0.59, 0.60, 0.61)
FRAMES = 3  # at each deviation
STEP = 0.25


def text(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 9)).decode()


def encodings(rng: np.random.Generator) -> list[dict]:
    found = []
    for size in LIFTING_SIZES:
        n = 20 * size + 10 * size + size // 2
        bits = rng.integers(0, 2, (1, 22 * size)).astype(np.uint8)
        encoder = LDPC5GEncoder(22 * size, n, bg="bg1")
        word = encoder(torch.from_numpy(bits).float()).numpy().astype(np.uint8)
        entry = {"lifting": size, "parity": n - 20 * size}
        found.append(entry | {"bits": text(np.packbits(bits)), "word": text(np.packbits(word))})
    return found


def decodings(rng: np.random.Generator) -> dict:
    k, n = 22 * LIFTING, (20 + ROWS) * LIFTING
    encoder = LDPC5GEncoder(k, n, bg="bg1")
    bits = rng.integers(0, 2, (FRAMES * len(DEVIATIONS), k)).astype(np.uint8)
    words = encoder(torch.from_numpy(bits).float()).numpy()
    sigma = np.repeat(DEVIATIONS, FRAMES)[:, None]
    received = 1 - 2 * words + sigma * rng.standard_normal(words.shape)
    ratios = np.clip(np.rint(2 * received / sigma**2 / STEP), -100, 100).astype(np.int8)
    # sionna's ratios are ln P(1) / P(0); its decoder here is a flooding sum-product one.
    sionna = LDPC5GDecoder(encoder, num_iter=2 * ITERATIONS, hard_out=True)
    by_sionna = sionna(torch.from_numpy(-STEP * ratios.astype(np.float32))).numpy()
    checks = csr_matrix(encoder.pcm)[: ROWS * LIFTING, : (22 + ROWS) * LIFTING].astype(np.uint8)
    peer = BpDecoder(
        checks,
        error_rate=0.1,
        max_iter=ITERATIONS,
        bp_method="minimum_sum",
        ms_scaling_factor=0.78,
        schedule="serial",
        input_vector_type="received_vector",
    )
    by_ldpc, converged = [], []
    for row in ratios:
        full = np.concatenate([np.zeros(2 * LIFTING), STEP * row.astype(float)])
        peer.update_channel_probs(1 / (1 + np.exp(np.abs(full))))
        by_ldpc.append(peer.decode((full < 0).astype(np.uint8))[:k])
        converged.append(bool(peer.converge))
    return {
        "lifting": LIFTING,
        "parity": ROWS * LIFTING,
        "iterations": ITERATIONS,
        "frames": len(bits),
        "bits": text(np.packbits(bits, axis=1)),
        "ratios": text(ratios),
        "ldpc": text(np.packbits(np.array(by_ldpc, np.uint8), axis=1)),
        "ldpc_converged": converged,
        "sionna": text(np.packbits(by_sionna.astype(np.uint8), axis=1)),
    }


def main() -> None:
    rng = np.random.default_rng(38212)
    content = {"encodings": encodings(rng), "decodings": decodings(rng)}
    path = Path(__file__).with_name("ldpc_peers.json")
    path.write_text(json.dumps(content, indent=1) + "\n")
    right = [
        (name, content["decodings"][name] == content["decodings"]["bits"])
        for name in ("ldpc", "sionna")
    ]
    print(path.stat().st_size, content["decodings"]["ldpc_converged"], right)


if __name__ == "__main__":
    main()
