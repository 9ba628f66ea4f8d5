"""Bits that magnitudes take, as the models of the index coder have it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softcell.codes.entropy.index_coder import Models
from softcell.codes.entropy.index_models import CLASSES, PROBABILITY_BITS
from softcell.codes.entropy.trellis_kernels import LEVELS, fill_code_lengths


def code_lengths(
    models: Models, classes: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the bits of every magnitude, by model, as the coder's models now are.

    Args:
        models: The models.
        classes: Classes whose bits are asked for, any shape; the others' mean nothing then.
    """
    one = models[0][0]
    used = np.arange(len(one))
    if classes is not None:
        present = np.bincount(classes.reshape(-1), minlength=CLASSES) > 0
        used = np.flatnonzero(np.tile(present, len(one) // CLASSES))
    share = one[used] / np.float64(1 << PROBABILITY_BITS)
    bits = -np.log2(np.stack([1 - share, share])).astype(np.float32)
    levels = np.empty((len(one), LEVELS), np.float32)
    lengths = np.empty((len(one), 32), np.float32)
    fill_code_lengths(bits, used, levels, lengths)
    return levels, lengths
