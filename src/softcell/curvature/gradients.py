"""What the network's own output noise sends back to its weights, batch after batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from softcell.errors import InputError
from softcell.progress import Progress
from softcell.streams import Stream

PROGRESS = "calibration inputs"
"""What is told to `progress`."""


def noise_gradients(
    module: nn.Module,
    images: Tensor,
    *,
    seed: int,
    batch: int,
    progress: Progress | None,
) -> Iterator[tuple[dict[str, Tensor], int]]:
    """Send Gaussian vectors of covariance diag(p) - p p^T back through a network.

    For every prediction of a batch a vector v of that covariance is drawn, p = softmax(logits);
    what comes back to a weight w is sum_n v_n d logits_n / d w over the predictions n of the batch.

    Args:
        module: As for `diagonal_fisher`. Run this within `undisturbed(module)`.
        images: Inputs, shape (images, ...).
        seed: Seed of the Gaussian vectors, 0 to 2**63 - 1.
        batch: Images whose gradients come together, >= 1.
        progress: Called after each batch has been used.

    Yields:
        The gradient of every floating-point parameter that the logits depend on, dense, by its
        first name, and the number of predictions of the batch.

    Raises:
        InputError: As for `diagonal_fisher`.
    """
    require_batches(images, batch)
    stream = Stream.of(seed, "fisher")
    weights = {
        name: parameter.detach().requires_grad_()
        for name, parameter in module.named_parameters()
        if parameter.is_floating_point()
    }
    buffers = {name: buffer.detach().clone() for name, buffer in module.named_buffers()}
    for start in range(0, len(images), batch):
        inputs = images[start : start + batch]
        with torch.enable_grad():
            outputs = torch.func.functional_call(module, (weights, buffers), (inputs,))
            logits = _rows(outputs)
            noise = torch.from_numpy(stream.normal(logits.numel()))
            gradients = torch.autograd.grad(
                logits,
                list(weights.values()),
                grad_outputs=_direction(logits.detach(), noise),
                allow_unused=True,
            )
        stream = stream.at(logits.numel())
        dense = {
            name: gradient.to_dense() if gradient.is_sparse else gradient
            for name, gradient in zip(weights, gradients, strict=True)
            if gradient is not None
        }
        for name, gradient in dense.items():
            if not bool(gradient.isfinite().all()):
                raise InputError(
                    f"what comes back to {name!r} is not finite for inputs {start} to "
                    f"{start + len(inputs) - 1}; check the network's weights and these inputs, or "
                    "run it in float32"
                )
        yield dense, len(logits)
        if progress is not None:
            progress(PROGRESS, start + len(inputs), len(images))


def require_batches(images: Tensor, batch: int) -> None:
    """Raise InputError unless there are images and a batch holds at least one."""
    if images.ndim < 1 or len(images) == 0:
        raise InputError(f"images must have shape (images, ...), got {tuple(images.shape)}")
    if batch < 1:
        raise InputError(f"batch must be at least 1, got {batch}")


def require_classes(classes: int) -> None:
    """Make sure that a softmax over so many outputs can change.

    Raises:
        InputError: It is one, or none.
    """
    if classes < 2:
        raise InputError(
            f"the module returns {classes} output for each prediction, and a softmax over one "
            "class is always sure: no weight would matter; let a module of one logit z return "
            "(0, z), or go by the layers' inputs (--kind inputs), or by an evaluate function"
        )


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Evaluate a module on one thread, and leave its mode as it was found.

    On one thread because sums are split differently on several, and their last bits with them.
    """
    modes = {part: part.training for part in module.modules()}
    threads = torch.get_num_threads()
    module.eval()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for part, training in modes.items():
            part.training = training


def _rows(outputs: object) -> Tensor:
    """Return the logits as (predictions, classes), or say why they cannot be used."""
    if not isinstance(outputs, Tensor) or outputs.ndim < 2:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise InputError(
            f"the module must return logits of shape (batch, ..., classes), got {shape}; "
            "wrap it in one that does"
        )
    require_classes(outputs.shape[-1])
    logits = outputs.flatten(0, -2)
    if not bool(torch.isfinite(logits).all()):
        raise InputError("the module returned logits that are not finite; check its weights")
    if not logits.requires_grad:
        raise InputError(
            "the module's logits do not depend on its weights by a gradient; "
            "let it compute them without torch.no_grad and with floating-point parameters"
        )
    return logits


def _direction(logits: Tensor, noise: Tensor) -> Tensor:
    """Turn standard normal numbers into vectors of covariance diag(p) - p p^T."""
    probability = logits.float().softmax(dim=1)
    spread = probability.sqrt() * noise.reshape(logits.shape).to(logits.device)
    centred = spread - probability * spread.sum(dim=1, keepdim=True)
    return centred.to(logits.dtype)
