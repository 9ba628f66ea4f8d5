"""Drift correction: shift what every layer expects of its input to what the stored network gives.

Errors in stored weights move the mean and the variance of every channel. Normalisations and biases
are few, are stored without error, and can take that movement back, layer after layer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from softcell.errors import InputError
from softcell.feedback.corrected_layer import CorrectedLayer, corrected_layers, watched
from softcell.feedback.moments import Moments
from softcell.feedback.stored_tensors import StoredTensors


class _ReachedError(Exception):
    """Ends a pass through the network where the layer that it is made for has been seen."""


def correct_drift(
    module: nn.Module,
    state: Mapping[str, NDArray[np.generic]],
    images: Tensor,
    *,
    batch: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, NDArray[np.floating]]:
    """Correct normalisations and biases of a stored network for the drift of its activations.

    At the input of a batch normalisation let m, v be mean and variance of a channel in the float
    network and m', v' in the stored one. The stored running mean M and variance V become

        V <- r (V + eps) - eps,  r = (v' + eps) / (v + eps)
        M <- m' - sqrt(r) (m - M)

    so that its output has the mean and the variance that it has in the float network, and nothing
    changes where nothing has drifted. The bias b of a linear or convolutional layer becomes

        b <- b + m - m'

    with m, m' the means at its output. Layers are corrected in the order of execution, each with
    all earlier ones corrected already. The statistics are not those of the images: only the
    difference between two networks on the same images counts, and few images will do.

    Args:
        module: The float network; it is run in evaluation mode and left as it was found. Corrected
            are modules with the buffers `running_mean` and `running_var` and an `eps`, their
            channels in dimension 1, and linear and convolutional layers of torch with a bias.
        state: All tensors of the stored network, by their names in the module's state dict.
        images: Inputs, shape (images, ...), of the type and on the device of the module, of the
            kind that the network meets in use (see `diagonal_fisher`); 200 are plenty.
        batch: Images that are run together, >= 1; None for all of them, in one pass that holds the
            activations of one layer at a time, about 1.3 GB for 100 images of 224 x 224 in
            MobileNetV2. With fewer there is one pass for every layer; the result is the same but
            for rounding.
        progress: Called with (layers corrected, layers in all) after each layer.

    Returns:
        What is to be replaced in `state`: running means and variances of all normalisations, and
        biases; float32, or float64 where `state` has it. A layer that is used several times is
        corrected for all its uses together; one that is not used is left out.

    Raises:
        InputError: No images, a batch below 1, a tensor missing or of another shape, or activations
            that are not finite; the layer is named.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> stored = {name: tensor.numpy() for name, tensor in layer.state_dict().items()}
        >>> stored["bias"] = stored["bias"] + 1
        >>> corrected = correct_drift(layer, stored, torch.rand(8, 2))
        >>> bool(np.allclose(corrected["bias"], stored["bias"] - 1))
        True

    Source:
        Joshi et al., Nature Communications 11, 2473 (2020), recompute batch-normalisation
        statistics as the cells drift; Nagel et al., ICCV 2019, arXiv 1906.04721, section 4.2
        (correction of biases).
    """
    return DriftCorrection(module, images, batch=batch)(state, progress=progress)


class DriftCorrection:
    """`correct_drift` of one network on the same images, for several stored ones.

    What the float network gives is computed once, when it is first needed.

    Args:
        module: As for `correct_drift`, and so are the others. Its weights must stay as they are.
        images: Inputs, shape (images, ...).
        batch: Images that are run together, or None.

    Raises:
        InputError: No images, or a batch below 1.
    """

    def __init__(self, module: nn.Module, images: Tensor, *, batch: int | None = None) -> None:
        if images.ndim < 1 or len(images) == 0:
            raise InputError(f"images must have shape (images, ...), got {tuple(images.shape)}")
        if batch is not None and batch < 1:
            raise InputError(f"batch must be at least 1, got {batch}")
        self._module, self._batches = module, images.split(batch or len(images))
        self._layers = tuple(corrected_layers(module))
        self._reference: Mapping[CorrectedLayer, tuple[Moments, int]] | None = None

    def __call__(
        self,
        state: Mapping[str, NDArray[np.generic]],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, NDArray[np.floating]]:
        """Return what is to be replaced in a stored network's tensors, as `correct_drift` does."""
        module = self._module
        stored = StoredTensors(module, state)
        layers = {
            layer: [stored.of(tensor) for tensor in layer.corrected] for layer in self._layers
        }
        modes = {part: part.training for part in module.modules()}
        module.eval()
        try:
            with torch.no_grad():
                if self._reference is None:
                    self._reference = _float_moments(module, self._layers, self._batches)
                _correct(module, layers, self._batches, stored.values, self._reference, progress)
        finally:
            for part, training in modes.items():
                part.training = training
        return stored.arrays(tensor for layer in self._reference for tensor in layer.corrected)


def _float_moments(
    module: nn.Module, layers: Sequence[CorrectedLayer], batches: Sequence[Tensor]
) -> dict[CorrectedLayer, tuple[Moments, int]]:
    """Return moments in the float network and uses for one batch, in the order of execution."""
    seen: dict[CorrectedLayer, list[Moments]] = {}

    def see(layer: CorrectedLayer, x: Tensor) -> None:
        seen.setdefault(layer, []).append(layer.moments(x, "float"))

    with watched(layers, see):
        for part in batches:
            module(part)
    return {
        layer: (Moments.pooled(parts), max(len(parts) // len(batches), 1))
        for layer, parts in seen.items()
    }


def _correct(
    module: nn.Module,
    layers: Mapping[CorrectedLayer, Sequence[Tensor]],
    batches: Sequence[Tensor],
    values: dict[str, Tensor],
    reference: Mapping[CorrectedLayer, tuple[Moments, int]],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Change the values of the stored network in place, layer after layer."""
    waiting = deque(reference)
    seen: list[Moments] = []

    def see(layer: CorrectedLayer, x: Tensor) -> Tensor | None:
        if not waiting or layer is not waiting[0]:
            return None
        seen.append(layer.moments(x, "stored"))
        uses = reference[layer][1]
        if len(batches) == uses == 1:  # all is seen: go on with the layer corrected
            return finish()
        if len(seen) % uses == 0:
            raise _ReachedError
        return None

    def finish() -> Tensor:
        layer = waiting.popleft()
        gain = layer.correct(layers[layer], reference[layer][0], Moments.pooled(seen))
        seen.clear()
        if progress is not None:
            progress(len(reference) - len(waiting), len(reference))
        return gain

    with watched(tuple(layers), see):
        while waiting:
            first = waiting[0]
            for part in batches:
                with suppress(_ReachedError):
                    torch.func.functional_call(module, values, (part,))
            if seen:
                finish()
            elif waiting and waiting[0] is first:
                raise InputError(
                    f"layer {first.name!r} is used in the float network and not in the stored one; "
                    "the order of layers must not depend on the weights"
                )
