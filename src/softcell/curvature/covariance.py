"""Covariances of the loss over the weights of every layer, accumulated in a stream."""

from __future__ import annotations

from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from softcell.curvature.fisher import SquaredGradients, parameter_names
from softcell.curvature.gradients import noise_gradients, undisturbed
from softcell.curvature.input_moments import input_moments
from softcell.curvature.joined_outputs import JoinedSum, joined_outputs
from softcell.curvature.layer import (
    Kind,
    LayerCurvature,
    block_width,
    matrices,
    mean_curvature,
    unfolded,
)
from softcell.errors import InputError
from softcell.progress import Progress


def layer_curvatures(
    module: nn.Module,
    images: Tensor,
    *,
    seed: int,
    batch: int = 4,
    kind: Kind = "fisher",
    progress: Progress | None = None,
) -> dict[str, LayerCurvature]:
    """Estimate how the loss curves over the weights of every layer.

    covariance[g] = mean over rows r of group g of  sum_batches G_r^T G_r / predictions

    G is the gradient of a layer's matrix that the network's own output noise sends back, as for
    `diagonal_fisher`, one batch at a time: no labels. With kind `inputs` it is the second moments
    of the layer's inputs instead, sum x^T x / images, with the patches of a convolution for x: one
    forward pass and no gradients, but it knows nothing of what happens to the layer's outputs.

    Memory, beside the network's own and that of its activations, for a matrix of r rows in g groups
    of c columns: 4 (g c^2 + 2 r c) bytes for each, and as much again for the one at work: in all
    0.6 GB for 4096 x 4096 (`inputs`: 0.3). Time: 2 r c^2 operations for each batch and matrix, 2.7
    seconds for 4096 x 4096 on one core (`inputs`: 2 g c^2 for each input vector).

    Args:
        module: As for `diagonal_fisher`. Left as it was found; evaluated on one thread.
        images: Inputs, shape (images, ...), of the kind that the network meets in use, varied so
            that it does not know them by heart.
        seed: Seed of the Gaussian vectors, 0 to 2**63 - 1; `inputs` draws none.
        batch: Images that go through together, >= 1.
        kind: `fisher` or `inputs`.
        progress: Called after each batch with what is done, the images done, and those in all.

    Returns:
        For every floating-point parameter of two dimensions or more, under each of its names in
        the state dict, its curvature: in nats for one prediction (`fisher`), or in squared output
        for one image (`inputs`; only the weights of linear, embedding and attention layers and of
        convolutions, transposed ones apart). A convolution has its own groups; the query, key and
        value of an attention's stacked projection are three. Of kind `fisher`, matrices of at most
        32 columns and 16,384 weights also have the curvature `across` their outputs.

    Raises:
        InputError: As for `diagonal_fisher`, or an unknown kind.

    Example:
        >>> conv = torch.nn.Conv2d(4, 6, 3, groups=2)
        >>> net = torch.nn.Sequential(conv, torch.nn.Flatten())
        >>> layers = layer_curvatures(net, torch.ones(8, 4, 3, 3), seed=0)
        >>> layers["0.weight"].covariance.shape, layers["0.weight"].rows.shape
        ((2, 18, 18), (6,))

    Source:
        Hassibi et al., "Optimal brain surgeon", ICNN 1993 (second moments of gradients as the
        Hessian); Frantar et al., GPTQ, ICLR 2023, arXiv 2210.17323 (second moments of inputs).
    """
    if kind not in get_args(Kind):
        raise InputError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
    if kind == "fisher":
        return fisher_curvatures(module, images, seed=seed, batch=batch, progress=progress)[0]
    sums = input_moments(module, images, batch=batch, progress=progress)
    found = {
        name: mean_curvature(each.covariance, len(images), (each.rows / len(images)).cpu().numpy())
        for name, each in sums.items()
    }
    return _by_every_name(found, module)


def fisher_curvatures(
    module: nn.Module, images: Tensor, *, seed: int, batch: int, progress: Progress | None
) -> tuple[dict[str, LayerCurvature], dict[str, np.ndarray]]:
    """Return `layer_curvatures` of kind fisher and `diagonal_fisher`, of the same gradients."""
    squares = SquaredGradients(module)
    groups = _row_groups(module)
    sums = {
        name: _GradientSum(weight, groups.get(id(weight), 1))
        for name, weight in matrices(module).items()
    }
    predictions = 0
    with undisturbed(module):
        batches = noise_gradients(module, images, seed=seed, batch=batch, progress=progress)
        for gradients, count in batches:
            squares.add(gradients, count)
            predictions += count
            for name in gradients.keys() & sums.keys():
                sums[name].add(gradients[name])
    diagonal = squares.mean()
    found = {name: each.curvature(diagonal[name], predictions) for name, each in sums.items()}
    return _by_every_name(found, module), diagonal


def _row_groups(module: nn.Module) -> dict[int, int]:
    """Return how many groups the rows of a parameter form, by its identity, where it is not one.

    Convolutions say so themselves; an attention stacks query, key and value.
    """
    groups = {}
    for part in module.modules():
        if isinstance(part, _ConvNd):
            groups[id(part.weight)] = part.groups
        elif isinstance(part, nn.MultiheadAttention) and part.in_proj_weight is not None:
            groups[id(part.in_proj_weight)] = 3
    return groups


class _GradientSum:
    """Running sums of G^T G of one matrix."""

    def __init__(self, weight: Tensor, groups: int) -> None:
        columns = weight.numel() // len(weight)
        width = block_width(columns)
        self._blocks = columns // width
        stacks = self._blocks * groups
        self._covariance = torch.zeros(
            (stacks, width, width), dtype=torch.float32, device=weight.device
        )
        joined = joined_outputs(weight)
        self._across = JoinedSum(weight, joined) if joined > 1 else None

    def add(self, gradient: Tensor) -> None:
        stacks, width, _ = self._covariance.shape
        matrix = gradient.float().reshape(len(gradient), self._blocks, width).transpose(0, 1)
        rows = matrix.reshape(stacks, -1, width)
        self._covariance.baddbmm_(rows.mT, rows)
        if self._across is not None:
            self._across.add(gradient)

    def curvature(self, diagonal: np.ndarray, predictions: int) -> LayerCurvature:
        """Return the means, given the mean squared gradients of the same batches."""
        stacks, width, _ = self._covariance.shape
        squares = unfolded(diagonal, width)
        across = None if self._across is None else self._across.curvature(diagonal, predictions)
        count = predictions * (len(squares) // stacks)
        return mean_curvature(self._covariance, count, squares.mean(axis=1), across=across)


def _by_every_name(
    found: dict[str, LayerCurvature], module: nn.Module
) -> dict[str, LayerCurvature]:
    return {name: found[first] for name, first in parameter_names(module).items() if first in found}
