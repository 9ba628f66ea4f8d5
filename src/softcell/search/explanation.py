"""A plan explained: what each tensor takes of the cells, and of the loss that is expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.image.header import ImageHeader


def by_layer(
    header: ImageHeader,
    state: Mapping[str, NDArray[Any]],
    expected: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Return what becomes of each tensor, as plain values.

    Args:
        header: The image's header.
        state: The tensors as they were read back.
        expected: Loss that is expected of each, in nats.

    Returns:
        For each tensor name, code, weights, bits in the error-free store and cells of its own, all
        its cells for each weight and as a share of the network's, the share of its weights that
        are zero, and its share of the expected loss (None where that is not known).
    """
    total = sum(expected.values())
    by_byte = header.store_cells / max(header.store_bytes, 1)
    rows = []
    for tensor in header.tensors:
        name, size = tensor.info.name, max(tensor.info.size, 1)
        cells = tensor.cells + tensor.nbytes * by_byte
        loss = expected.get(name)
        rows.append(
            {
                "tensor": name,
                "code": tensor.kind,
                "weights": tensor.info.size,
                "bits_per_weight": 8 * tensor.nbytes / size,
                "own_cells_per_weight": tensor.cells / size,
                "cells_per_weight": cells / size,
                "share_of_cells": cells / max(header.cells, 1),
                "zeros": float(np.mean(np.asarray(state[name]) == 0)) if tensor.info.size else 0.0,
                "share_of_loss": loss / total if loss is not None and total > 0 else None,
            }
        )
    return rows
