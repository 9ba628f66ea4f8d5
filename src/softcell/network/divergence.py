"""How far a stored network's outputs are from the float one's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn


def output_divergence(
    module: nn.Module, inputs: Tensor, *, batch: int = 50
) -> Callable[[Mapping[str, NDArray[Any]]], float] | None:
    """Return what measures the divergence of a network of other tensors from a module.

    Mean over predictions of sum p log(p / q), p the module's and q the other's probabilities; inf
    where outputs are not finite. Of one logit there is no divergence: None, and without inputs.

    Args:
        module: The float network; it is left as it was found. Its weights must stay as they are.
        inputs: Inputs, first axis inputs.
        batch: Inputs that go through together.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> layer = torch.nn.Linear(2, 3)
        >>> state = {name: tensor.numpy() for name, tensor in layer.state_dict().items()}
        >>> measure = output_divergence(layer, torch.rand(4, 2))
        >>> measure(state), measure({**state, "bias": np.array([9.0, 0.0, 0.0])}) > 1
        (0.0, True)
    """
    import torch

    from softcell.curvature.gradients import undisturbed
    from softcell.feedback.stored_tensors import StoredTensors

    if not len(inputs):
        return None
    with undisturbed(module), torch.no_grad():
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        first = torch.func.functional_call(module, buffers, (inputs[:1],))
    if not isinstance(first, torch.Tensor) or first.ndim < 2 or first.shape[-1] < 2:
        return None
    parts = inputs.split(batch)
    float_: list[Tensor] = []

    def logarithms(values: Mapping[str, Tensor], part: Tensor) -> Tensor:
        outputs: Tensor = torch.func.functional_call(module, dict(values), (part,))
        return outputs.flatten(0, -2).double().log_softmax(dim=1)

    def divergence(state: Mapping[str, NDArray[Any]]) -> float:
        values = StoredTensors(module, state).values
        with undisturbed(module), torch.no_grad():
            if not float_:
                own = {name: buffer.clone() for name, buffer in module.named_buffers()}
                float_.extend(logarithms(own, part) for part in parts)
            total, count = 0.0, 0
            for part, p in zip(parts, float_):
                q = logarithms(values, part)
                total += float((p.exp() * (p - q)).sum())
                count += len(p)
        mean = total / count
        return mean if mean == mean else float("inf")

    return divergence
