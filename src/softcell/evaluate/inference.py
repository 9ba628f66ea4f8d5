"""Run a network on many images: on every core, and the same to the bit on any number of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from softcell.evaluate.preprocessing import Preprocessing


def batched_outputs(
    module: nn.Module, pixels: Tensor, preprocess: Preprocessing, *, batch: int
) -> NDArray[np.float32]:
    """Run a network on images, a batch on each thread at a time.

    Args:
        module: Network in evaluation mode.
        pixels: uint8, shape (images, height, width, channels).
        preprocess: Its normalisation.
        batch: Images in a batch, >= 1.

    Returns:
        float32, shape (images, classes).
    """
    return in_batches(lambda part: module(preprocess(part)), pixels, batch=batch).numpy()


def in_batches(run: Callable[[Tensor], Tensor], inputs: Tensor, *, batch: int) -> Tensor:
    """Return what a network gives for inputs, a batch on each thread at a time.

    Every batch is computed by one thread, however many there are, so that their number does not
    change a bit of the result; and threads that share a busy processor need not wait for each
    other at every layer.

    Args:
        run: Runs the network on a batch, without changing it.
        inputs: Shape (inputs, ...).
        batch: Inputs in a batch, >= 1.
    """
    threads = torch.get_num_threads()

    def outputs(start: int) -> Tensor:
        with torch.inference_mode():
            return run(inputs[start : start + batch])

    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            parts = list(pool.map(outputs, range(0, len(inputs), batch)))
    finally:
        # A worker's setting is also the default of threads yet to come.
        torch.set_num_threads(threads)
    return torch.cat(parts)
