"""A plan explained: what each tensor takes of the cells, and of the loss that is expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softcell.curvature import Calibration
from softcell.feedback.loop import weighted_error
from softcell.image.closed_loop import WrittenNetwork
from softcell.image.header import ImageHeader
from softcell.weights.finite import as_rows


def losses(written: WrittenNetwork, calibration: Calibration) -> dict[str, float]:
    """Return the loss that the curvature lets one expect of each matrix, in nats.

    loss = 1/2 sum over rows r of  f_r / mean(diag H)  (s - w) H (s - w)^T

    with w the weights as they were to be written, s what the decoder sees of them as far as the
    loop can tell, H the covariance and f_r the mean Fisher information of the row.

    Args:
        written: The network that went through the loop.
        calibration: Curvature of its layers, of the kind `fisher`; of another kind there is none.
    """
    if calibration.kind != "fisher":
        return {}
    found = {}
    for name, layer in calibration.layers.items():
        wanted, seen = as_rows(written.wanted[name]), as_rows(written.seen[name])
        if layer.rows.size != len(wanted):  # cut into blocks, and stored without its curvature
            continue
        mean = np.einsum("gkk->g", layer.covariance, dtype=np.float64) / layer.columns
        mean = np.repeat(mean, len(wanted) // layer.groups)
        felt = np.divide(layer.rows, mean, out=np.zeros(len(wanted)), where=mean > 0)
        found[name] = 0.5 * float(felt @ weighted_error(wanted, seen, layer.covariance))
    return found


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
