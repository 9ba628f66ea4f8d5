"""Time the `ldpc` package's decoder; run by speed/ldpc_decoding.py with the peers' Python.

Prints, for each method, seconds of CPU time and the share of frames decoded rightly, as JSON.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix, load_npz


def main() -> None:
    from ldpc import BpDecoder

    folder, iterations, methods = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    checks = csr_matrix(load_npz(folder / "checks.npz"))
    frames = np.load(folder / "frames.npz")
    ratios, bits = frames["ratios"], frames["bits"]
    probabilities, hard = 1 / (1 + np.exp(np.abs(ratios))), (ratios < 0).astype(np.uint8)
    result = {}
    for method in methods:
        rule, schedule = method.split()
        decoder = BpDecoder(
            checks,
            error_rate=0.1,
            max_iter=iterations,
            bp_method=rule,
            ms_scaling_factor=0.78,
            schedule=schedule,
            input_vector_type="received_vector",
        )
        seconds, right = 0.0, 0
        for frame in range(len(bits)):
            decoder.update_channel_probs(probabilities[frame])
            begin = time.process_time()
            decided = decoder.decode(hard[frame])
            seconds += time.process_time() - begin
            right += bool((decided[: bits.shape[1]] == bits[frame]).all())
        result[method] = seconds, right / len(bits)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
