"""Weights that give, with the inputs of the stored network, what the float network gives."""

from __future__ import annotations

import torch
from torch import Tensor

from softcell.errors import InputError
from softcell.feedback.matrix_calls import MatrixCall
from softcell.streams import Stream

_RUN = 1 << 22
"""Values of input vectors that are gathered at a time."""


def refitted(
    call: MatrixCall,
    target: Tensor,
    *,
    share: float,
    damping: float,
    positions: int,
    stream: Stream,
) -> Tensor:
    """Return a layer's weights, shifted so that its outputs come close to a target.

    W* = W + share E[(y - W x) x^T] (E[x x^T] + damping mean(diag) I)^-1

    with x the vectors that the layer multiplies its weights by and y the target of its output,
    for each group of a convolution.

    Args:
        call: The layer's call, without its bias.
        target: What its output without bias should be, of the output's shape.
        share: Share of the least-squares shift, from 0 to 1.
        damping: Relative weight that keeps the weights where they are, > 0.
        positions: Vectors x that are used at most, >= 1.
        stream: Where the vectors are drawn from, evenly over images and positions.

    Returns:
        float64, of the shape of the weights.

    Raises:
        InputError: Inputs or target that are not finite, or a damping too small for rounding.
    """
    w = call.weight.detach()
    windows = call.windows()
    spatial = windows.shape[2 : w.ndim]
    outputs = target.reshape(-1, len(w), spatial.numel())
    total = len(windows) * spatial.numel()
    count = min(total, positions)
    chosen = torch.from_numpy((torch.arange(count).numpy() + stream.uniform(count)) * total / count)
    chosen = chosen.long().to(w.device)
    rows = w.float().reshape(call.groups, len(w) // call.groups, -1)
    gram = rows.new_zeros((call.groups, rows.shape[2], rows.shape[2]), dtype=torch.float64)
    cross = torch.zeros_like(rows, dtype=torch.float64)
    for part in chosen.split(max(_RUN // max(w[0].numel() * call.groups, 1), 1)):
        image, place = part // spatial.numel(), part % spatial.numel()
        at = torch.unravel_index(place, spatial) if spatial else ()
        x = windows[(image, slice(None), *at)].float().reshape(len(part), call.groups, -1)
        y = outputs[image, :, place].float().reshape(len(part), call.groups, -1)
        x, y = x.transpose(0, 1), y.transpose(0, 1)
        gram += x.mT @ x
        cross += (y - x @ rows.mT).mT @ x
    if not bool(gram.isfinite().all() and cross.isfinite().all()):
        at_fault = "inputs" if outputs.isfinite().all() else "outputs"
        network = "stored" if at_fault == "inputs" else "float"
        raise InputError(f"the {at_fault} are not finite in the {network} network")
    ridge = damping * gram.diagonal(dim1=1, dim2=2).mean(dim=1)
    ridge = torch.where(ridge > 0, ridge, 1)  # without inputs there is nothing to fit
    gram.diagonal(dim1=1, dim2=2).add_(ridge[:, None])
    factor, failed = torch.linalg.cholesky_ex(gram)
    if bool(failed.any()):
        raise InputError(f"the fit is singular with a damping of {damping}; give more")
    shift = torch.cholesky_solve(cross.mT, factor).mT
    return w.double() + share * shift.reshape(w.shape)
