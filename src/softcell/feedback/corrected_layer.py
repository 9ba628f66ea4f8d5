"""The layers that can take a drift of activations back, and how each of them does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from softcell.errors import InputError
from softcell.feedback.moments import Moments

_AXES: Mapping[type[nn.Module], int] = {
    nn.Linear: -1,
    **dict.fromkeys((nn.Conv1d, nn.ConvTranspose1d), -2),
    **dict.fromkeys((nn.Conv2d, nn.ConvTranspose2d), -3),
    **dict.fromkeys((nn.Conv3d, nn.ConvTranspose3d), -4),
}
"""Layers whose bias is corrected, and the dimension of their output that holds the channels."""


@dataclass(frozen=True, eq=False)
class CorrectedLayer:
    """A normalisation, or a layer with a bias; `axis` is the dimension of its channels."""

    name: str
    module: nn.Module
    axis: int
    normalises: bool

    @property
    def corrected(self) -> tuple[Tensor, ...]:
        """The module's tensors that a correction changes."""
        part: Any = self.module
        return (part.running_mean, part.running_var) if self.normalises else (part.bias,)

    def moments(self, x: Tensor, network: str) -> Moments:
        """Return the moments of a normalisation's input, or of another layer's output."""
        result = Moments.of(x, self.axis)
        if not result.finite:
            side = "input" if self.normalises else "output"
            raise InputError(
                f"the {side} of layer {self.name or 'the module'!r} is not finite in the "
                f"{network} network; check its weights and the images"
            )
        return result

    def correct(self, tensors: Sequence[Tensor], float_: Moments, stored: Moments) -> Tensor:
        """Change what the stored network has for `corrected` in place.

        Returns:
            What the output of a layer with a bias gains by it, shape (channels,).
        """
        if not self.normalises:
            shift = float_.mean - stored.mean
            _assign(tensors[0], tensors[0].double() + shift)
            return shift
        mean, variance = tensors
        eps = float(cast(Any, self.module).eps)
        before = variance.double() + eps
        after = before * (stored.variance + eps) / (float_.variance + eps)
        after = after.clamp(min=eps)
        drift = (after / before).sqrt()
        _assign(mean, stored.mean - drift * (float_.mean - mean.double()))
        _assign(variance, after - eps)
        return torch.zeros_like(drift)


def corrected_layers(module: nn.Module) -> Iterator[CorrectedLayer]:
    """Yield every batch normalisation, and every linear or convolutional layer with a bias."""
    for name, part in module.named_modules():
        if _normalises(part):
            yield CorrectedLayer(name, part, 1, True)
        elif isinstance(getattr(part, "bias", None), Tensor):
            for kind, axis in _AXES.items():
                if isinstance(part, kind):
                    yield CorrectedLayer(name, part, axis, False)


@contextmanager
def watched(
    layers: Sequence[CorrectedLayer], see: Callable[[CorrectedLayer, Tensor], Tensor | None]
) -> Iterator[None]:
    """Show every layer's activations to `see`; what it returns is added to a layer's output."""

    def before(layer: CorrectedLayer, _: nn.Module, args: Any, kwargs: Any) -> None:
        see(layer, args[0] if args else next(iter(kwargs.values())))

    def after(layer: CorrectedLayer, _: nn.Module, __: Any, output: Tensor) -> Tensor | None:
        gain = see(layer, output)
        if gain is None:
            return None
        return output + gain.to(output.dtype).reshape(-1, *(1,) * (-1 - layer.axis))

    with ExitStack() as hooks:
        for layer in layers:
            if layer.normalises:
                hook = layer.module.register_forward_pre_hook(
                    partial(before, layer), with_kwargs=True
                )
            else:
                hook = layer.module.register_forward_hook(partial(after, layer))
            hooks.callback(hook.remove)
        yield


def _normalises(part: nn.Module) -> bool:
    return hasattr(part, "eps") and all(
        isinstance(getattr(part, name, None), Tensor) for name in ("running_mean", "running_var")
    )


def _assign(tensor: Tensor, value: Tensor) -> None:
    largest = torch.finfo(tensor.dtype).max
    tensor.copy_(value.clamp(-largest, largest))
