"""Time aihwkit's PCM-like model; run by speed/cells.py with the peer environment's Python.

Prints seconds of CPU time of programming, drift and read of N weights at two cells per weight.
"""

import sys
import time

import torch


def main() -> None:
    from aihwkit.inference.noise.pcm import PCMLikeNoiseModel

    weights, age = int(sys.argv[1]), float(sys.argv[2])
    torch.set_num_threads(1)
    values = torch.empty(1000, weights // 1000).uniform_(-1, 1)
    model = PCMLikeNoiseModel(g_max=25.0)
    model.apply_noise(values[:10], age)
    begin = time.process_time()
    model.apply_noise(values, age)
    print(time.process_time() - begin)


if __name__ == "__main__":
    main()
