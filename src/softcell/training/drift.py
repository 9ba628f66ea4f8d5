"""Drift correction in training: normalisations go by what they see, as on a corrected chip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from softcell.errors import InputError
from softcell.feedback.corrected_layer import corrected_layers
from softcell.training.objectives import Objective, divergence_from


class DriftCorrected:
    """A network in training whose normalisations are corrected for drift in every step.

    y = w (sqrt((v + eps) / (V + eps)) n + (m - M) / sqrt(V + eps)) + b,
    n = (x - m') / sqrt(v' + eps)

    with m', v' the moments of the batch at the input of a normalisation in the network that is
    trained, m, v those in the float network on the same batch, and M, V its stored statistics:
    what `feedback.correct_drift` does to a stored network, for every batch and draw of the noise.
    The normalisations must go by the batch (`StoredTraining(frozen_statistics=False)`); in
    evaluation mode they are left alone.

    Args:
        module: The network that is trained, or that a `StoredWeights` wraps.
        clean: The float network, of the same modules by name. It is run once a batch, without
            gradient, and stays as it is.

    Raises:
        InputError: There is no normalisation, or the float network lacks one.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        >>> clean = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
        >>> _ = clean.load_state_dict(net.state_dict())
        >>> corrected = DriftCorrected(net, clean)
        >>> inputs = torch.rand(8, 2)
        >>> torch.allclose(net(inputs + 3), clean(inputs + 3), atol=1e-4)
        True
        >>> corrected.remove()
    """

    def __init__(self, module: nn.Module, clean: nn.Module) -> None:
        own, theirs = (
            {layer.name: layer.module for layer in corrected_layers(each) if layer.normalises}
            for each in (module, clean)
        )
        if not own or own.keys() != theirs.keys():
            raise InputError(
                f"expected two networks of the same normalisations, got {sorted(own)} and "
                f"{sorted(theirs)}"
            )
        self._clean = clean
        self._drift: dict[str, tuple[Tensor, Tensor]] = {}
        self.outputs = torch.zeros(0)
        """Logits that the float network gives for the last batch, shape (batch, ..., classes)."""
        self._hooks = [module.register_forward_pre_hook(self._run_clean)]
        for name, part in own.items():
            self._hooks.append(theirs[name].register_forward_pre_hook(self._see(name)))
            self._hooks.append(part.register_forward_hook(self._correct(name)))

    def distillation(self, temperature: float = 1.0) -> Objective:
        """Return `Distillation` from the float network, whose outputs are known already.

        Args:
            temperature: T, above 0.
        """
        return _Distillation(self, temperature)

    def remove(self) -> None:
        """Correct no more."""
        for hook in self._hooks:
            hook.remove()

    def _run_clean(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training:
            with torch.no_grad():
                self.outputs = self._clean(*inputs)

    def _see(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def see(part: Any, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].float()
            variance, mean = torch.var_mean(x, dim=(0, *range(2, x.ndim)), correction=0)
            size = (part.running_var + part.eps).sqrt()
            self._drift[name] = (
                (variance + part.eps).sqrt() / size,
                (mean - part.running_mean) / size,
            )

        return see

    def _correct(
        self, name: str
    ) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]:
        def correct(part: Any, _: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            if not part.training:
                return None
            scale, shift = self._drift[name]
            # A normalisation may have neither weight nor bias.
            gain, bias = (1.0 if part.weight is None else part.weight), part.bias
            constant = gain * shift if bias is None else gain * shift + bias * (1 - scale)
            along = (-1, *(1,) * (output.ndim - 2))
            return output * scale.reshape(along) + constant.reshape(along)

        return correct


class _Distillation:
    """The divergence from what the float network gave for the batch."""

    def __init__(self, corrected: DriftCorrected, temperature: float) -> None:
        self._corrected, self._temperature = corrected, temperature

    def __call__(self, outputs: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        predictions = self._corrected.outputs.flatten(0, -2).float()
        log_p = (predictions / self._temperature).log_softmax(dim=1)
        return divergence_from(log_p, outputs, self._temperature)
