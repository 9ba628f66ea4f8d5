"""How much each weight matters: the diagonal of the Fisher information of the outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from softcell.curvature.tensor_file import read_tensors, write_tensors
from softcell.errors import FormatError, InputError
from softcell.streams import Stream

_KIND = "softcell.fisher/1"


def diagonal_fisher(
    module: nn.Module,
    images: Tensor,
    *,
    seed: int,
    batch: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Estimate the diagonal of the Fisher information of the softmax output.

    F_i = E_x sum_jk J_ji (diag(p) - p p^T)_jk J_ki,  J = d logits / d weights,  p = softmax(logits)

    so that small changes dw of the weights move the outputs by a Kullback-Leibler divergence of
    about 0.5 sum_i F_i dw_i^2 nats when they are independent of each other. For every image a
    Gaussian vector of covariance diag(p) - p p^T is drawn and sent back through the network; the
    gradient of each batch is squared (the cross terms between its images vanish in expectation).

    Args:
        module: Any module that maps a batch of inputs to logits of shape (batch, classes), or
            (batch, ..., classes) as a language model does. It is evaluated in evaluation mode and
            left as it was found: its mode, gradients and buffers do not change.
        images: Inputs, shape (images, ...), on the module's device, of the kind that the network
            meets in use. On images that it was trained on and knows by heart the Fisher information
            comes out far too small: crop, flip and mix them.
        seed: Seed of the Gaussian vectors, 0 to 2**63 - 1.
        batch: Images whose gradients are squared together, >= 1. More are faster, and noisier.
        progress: Called with (images done, images in all) after each batch.

    Returns:
        For every floating-point parameter, under its name in the state dict, a float32 array of
        its shape with values >= 0, in nats per squared unit of the weight, for one prediction (one
        image; one position where the module predicts at many). A parameter that has several names
        has the same array under each. Buffers have none.

    Raises:
        InputError: No images, a batch below 1, a seed out of range, or outputs that are not finite
            logits of the stated shape with a gradient.

    Example:
        >>> import torch
        >>> fisher = diagonal_fisher(torch.nn.Linear(3, 2), torch.ones(8, 3), seed=0)
        >>> fisher["weight"].shape, fisher["bias"].shape
        ((2, 3), (2,))

    Source:
        Kunstner et al., NeurIPS 2019, arXiv 1905.12558, section 2 (Fisher of a softmax; why not
        the gradients at the training labels). Drawing Gaussian vectors in place of labels leaves
        the expectation as it is.
    """
    if images.ndim < 1 or len(images) == 0:
        raise InputError(f"images must have shape (images, ...), got {tuple(images.shape)}")
    if batch < 1:
        raise InputError(f"batch must be at least 1, got {batch}")
    weights = {
        name: parameter.detach().requires_grad_()
        for name, parameter in module.named_parameters()
        if parameter.is_floating_point()
    }
    buffers = {name: buffer.detach().clone() for name, buffer in module.named_buffers()}
    squares = {name: torch.zeros_like(weight).float() for name, weight in weights.items()}
    stream = Stream.of(seed, "fisher")
    predictions = 0
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        for start in range(0, len(images), batch):
            inputs = images[start : start + batch]
            with torch.enable_grad():
                outputs = torch.func.functional_call(module, (weights, buffers), (inputs,))
                logits = _rows(outputs)
                noise = stream.normal(logits.numel())
                _add_squares(squares, weights, logits, torch.from_numpy(noise))
            stream = stream.at(logits.numel())
            predictions += len(logits)
            if progress is not None:
                progress(start + len(inputs), len(images))
    finally:
        for part, training in modes.items():
            part.training = training
    owners = {id(parameter): name for name, parameter in module.named_parameters()}
    return {
        name: (squares[owners[id(parameter)]] / predictions).cpu().numpy()
        for name, parameter in module.named_parameters(remove_duplicate=False)
        if parameter.is_floating_point()
    }


def _rows(outputs: object) -> Tensor:
    """Return the logits as (predictions, classes), or say why they cannot be used."""
    if not isinstance(outputs, Tensor) or outputs.ndim < 2:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise InputError(
            f"the module must return logits of shape (batch, ..., classes), got {shape}; "
            "wrap it in one that does"
        )
    logits = outputs.flatten(0, -2)
    if not bool(torch.isfinite(logits).all()):
        raise InputError("the module returned logits that are not finite; check its weights")
    if not logits.requires_grad:
        raise InputError(
            "the module's logits do not depend on its weights by a gradient; "
            "let it compute them without torch.no_grad and with floating-point parameters"
        )
    return logits


def _add_squares(
    squares: dict[str, Tensor], weights: dict[str, Tensor], logits: Tensor, noise: Tensor
) -> None:
    """Send Gaussian vectors of covariance diag(p) - p p^T back and add the squared gradients."""
    with torch.no_grad():
        probability = logits.float().softmax(dim=1)
        spread = probability.sqrt() * noise.reshape(logits.shape).to(logits.device)
        direction = spread - probability * spread.sum(dim=1, keepdim=True)
    gradients = torch.autograd.grad(
        logits,
        list(weights.values()),
        grad_outputs=direction.to(logits.dtype),
        allow_unused=True,
    )
    for square, gradient in zip(squares.values(), gradients, strict=True):
        if gradient is not None:
            dense = gradient.to_dense() if gradient.is_sparse else gradient
            square.add_(dense.float().square())


def save_fisher(path: str | Path, fisher: dict[str, np.ndarray]) -> None:
    """Write a diagonal Fisher as safetensors, under its final name only once it is complete.

    Args:
        path: File to write; an existing one is replaced.
        fisher: What `diagonal_fisher` returned.

    Raises:
        InputError: The file cannot be written.
    """
    write_tensors(path, fisher, {"kind": _KIND})


def load_fisher(path: str | Path) -> dict[str, np.ndarray]:
    """Read a diagonal Fisher that `save_fisher` wrote.

    Args:
        path: File to read.

    Returns:
        One float32 array for every parameter, values >= 0.

    Raises:
        InputError: The file does not exist or cannot be read.
        FormatError: The file is damaged, of another kind, or holds a negative or infinite value.
    """
    fisher, metadata = read_tensors(path)
    if metadata.get("kind") != _KIND:
        raise FormatError(
            f"{path} is no diagonal Fisher (its kind is {metadata.get('kind')!r}, expected "
            f"{_KIND!r}); give a file that save_fisher wrote"
        )
    for name, values in fisher.items():
        if not np.isfinite(values).all() or (values < 0).any():
            raise FormatError(
                f"{path}: tensor {name!r} holds a negative or infinite value, which no Fisher "
                "information has; compute it again"
            )
    return fisher
