"""How much each weight matters: the diagonal of the Fisher information of the outputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from softcell.curvature.gradients import noise_gradients, undisturbed
from softcell.curvature.layer import require_felt
from softcell.errors import InputError
from softcell.progress import Progress


def diagonal_fisher(
    module: nn.Module,
    images: Tensor,
    *,
    seed: int,
    batch: int = 4,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Estimate the diagonal of the Fisher information of the softmax output.

    F_i = E_x sum_jk J_ji (diag(p) - p p^T)_jk J_ki,  J = d logits / d weights,  p = softmax(logits)

    so that small changes dw of the weights move the outputs by a Kullback-Leibler divergence of
    about 0.5 sum_i F_i dw_i^2 nats when they are independent of each other. For every image a
    Gaussian vector of covariance diag(p) - p p^T is drawn and sent back through the network; the
    gradient of each batch is squared (the cross terms between its images vanish in expectation).

    Args:
        module: Any module that maps a batch of inputs to logits of shape (batch, classes), or
            (batch, ..., classes) as a language model does. It is run in evaluation mode, on one
            thread, and left as it was found: its mode, gradients and buffers do not change.
        images: Inputs, shape (images, ...), on the module's device, of the kind that the network
            meets in use. On images that it was trained on and knows by heart the Fisher information
            comes out far too small: crop, flip and mix them.
        seed: Seed of the Gaussian vectors, 0 to 2**63 - 1.
        batch: Images whose gradients are squared together, >= 1. More are faster, and noisier.
        progress: Called after each batch with what is done, the images done, and those in all.

    Returns:
        For every floating-point parameter, under its name in the state dict, a float32 array of
        its shape with values >= 0, in nats per squared unit of the weight, for one prediction (one
        image; one position where the module predicts at many). A parameter that has several names
        has the same array under each. Buffers have none.

    Raises:
        InputError: No images, a batch below 1, a seed out of range, outputs that are not finite
            logits of the stated shape with a finite gradient, of at least two classes; or no weight
            for which the loss has any curvature.

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
    squares = SquaredGradients(module)
    with undisturbed(module):
        batches = noise_gradients(module, images, seed=seed, batch=batch, progress=progress)
        for gradients, predictions in batches:
            squares.add(gradients, predictions)
    return squares.mean()


class SquaredGradients:
    """Running sums of the squared gradients of a module's floating-point parameters."""

    def __init__(self, module: nn.Module) -> None:
        """Start with nothing seen."""
        self._owners = parameter_names(module)
        self._sums = {
            name: torch.zeros(parameter.shape, dtype=torch.float32, device=parameter.device)
            for name, parameter in module.named_parameters()
            if parameter.is_floating_point()
        }
        self._predictions = 0

    def add(self, gradients: Mapping[str, Tensor], predictions: int) -> None:
        """Add the gradients of one batch and its number of predictions."""
        for name, gradient in gradients.items():
            self._sums[name].add_(gradient.float().square())
        self._predictions += predictions

    def mean(self) -> dict[str, np.ndarray]:
        """Return the mean over the predictions, under every name of a parameter.

        Raises:
            InputError: A sum is not finite, or all are 0.
        """
        means = {n: (total / self._predictions).cpu().numpy() for n, total in self._sums.items()}
        for name, values in means.items():
            if not np.isfinite(values).all():
                raise InputError(
                    f"the squared gradients of {name!r} are too large for float32; scale the "
                    "network's logits down"
                )
        require_felt(max((float(values.max(initial=0)) for values in means.values()), default=0.0))
        return {name: means[owner] for name, owner in self._owners.items()}


def parameter_names(module: nn.Module) -> dict[str, str]:
    """Return, for every name of a floating-point parameter in the state dict, its first name."""
    first = {id(parameter): name for name, parameter in module.named_parameters()}
    return {
        name: first[id(parameter)]
        for name, parameter in module.named_parameters(remove_duplicate=False)
        if parameter.is_floating_point()
    }
