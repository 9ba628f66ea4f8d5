"""All that the feedback loop has to know of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from softcell.curvature.held_out import HeldOut
from softcell.curvature.layer import Kind, LayerCurvature, require_felt
from softcell.errors import InputError
from softcell.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor, nn

_STATISTICS = ("running_mean", "running_var", "weight", "bias")


@dataclass(frozen=True, eq=False)
class Calibration:
    """What was learnt of a network on calibration images, once, for every later plan.

    Args:
        layers: Curvature of every weight matrix, by its name in the state dict.
        normalisations: The eps of every batch normalisation, by the name of its module; its
            tensors are `<name>.running_mean`, `.running_var`, `.weight` and `.bias`.
        images: Number of calibration images, >= 1.
        kind: `fisher` or `inputs`, see `layer_curvatures`.
        fisher: Diagonal Fisher information of every parameter, as `diagonal_fisher` gives it;
            empty for the kind `inputs`, whose curvatures of different layers do not compare.
        held: What it is held against, on inputs that it was not made of; None if there were none.
        tied: Names of one and the same tensor, such as an embedding that is the output matrix too;
            a network's file may leave all but one of them out.
        surprise: Divergence that errors of weights make on inputs held out, over the one that the
            curvature predicts; None if that was not tried.

    Raises:
        InputError: No images, an unknown kind, or a negative eps.
    """

    layers: Mapping[str, LayerCurvature] = field(repr=False)
    normalisations: Mapping[str, float]
    images: int
    kind: Kind
    fisher: Mapping[str, NDArray[np.float32]] = field(default_factory=dict, repr=False)
    held: HeldOut | None = field(default=None, repr=False)
    tied: tuple[tuple[str, ...], ...] = ()
    surprise: float | None = None

    def __post_init__(self) -> None:
        if self.images < 1 or self.kind not in get_args(Kind):
            raise InputError(
                f"expected images >= 1 and kind {' or '.join(get_args(Kind))}, got {self.images} "
                f"and {self.kind!r}"
            )
        if not all(0 <= eps < np.inf for eps in self.normalisations.values()):
            raise InputError("the eps of a normalisation is at least 0 and finite")

    @property
    def unfelt(self) -> tuple[str, ...]:
        """Matrices that nothing came back to: what an error in them does is not known."""
        return tuple(name for name, layer in self.layers.items() if not layer.rows.any())

    def curvature(self, name: str) -> LayerCurvature | None:
        """Return the curvature of a matrix; None where it is not known, or 0 throughout."""
        layer = self.layers.get(name)
        return None if layer is None or not layer.rows.any() else layer

    def scaled(self, factors: Mapping[str, float]) -> Calibration:
        """Return the calibration with some curvatures multiplied.

        Args:
            factors: By tensor, above 0; those that are not there stay as they are.

        Raises:
            InputError: A factor is not above 0.
        """
        if not all(0 < factor < np.inf for factor in factors.values()):
            raise InputError(f"factors of curvatures must be above 0, got {dict(factors)}")
        layers, fisher = dict(self.layers), dict(self.fisher)
        for name in factors.keys() & layers.keys():
            one, factor = layers[name], np.float32(factors[name])
            layers[name] = replace(one, covariance=one.covariance * factor, rows=one.rows * factor)
        for name in factors.keys() & fisher.keys():
            fisher[name] = fisher[name] * np.float32(factors[name])
        return replace(self, layers=layers, fisher=fisher)

    def by_tensor(self) -> Calibration:
        """Return the calibration with all rows of a group felt alike."""
        layers = {}
        for name, layer in self.layers.items():
            means = layer.rows.reshape(layer.groups, -1).mean(axis=1)
            rows = np.repeat(means, layer.rows.size // layer.groups)
            layers[name] = replace(layer, rows=rows.astype(np.float32))
        return replace(self, layers=layers)

    def require_network(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make sure that the calibration was made for a network of these tensors.

        Args:
            shapes: Shape of every tensor, by its name.

        Raises:
            InputError: A tensor of the calibration is missing there or has another shape, or its
                curvature is 0 throughout.
        """
        if self.layers:
            require_felt(max(float(layer.rows.max()) for layer in self.layers.values()))
        needed = {
            f"{name}.{part}" if name else part
            for name in self.normalisations
            for part in _STATISTICS
        }
        for name in sorted(self.layers.keys() | self.fisher.keys() | needed):
            if name not in shapes and any(
                name in names and not shapes.keys().isdisjoint(names) for names in self.tied
            ):
                continue
            if name not in shapes:
                raise InputError(
                    f"the calibration is for another network: there is no tensor {name!r} here; "
                    "make one for this network with `softcell calibrate`"
                )
            shape = tuple(shapes[name])
            right = name not in self.layers or self.layers[name].fits(shape)
            if name in self.fisher:
                right = right and self.fisher[name].shape == shape
            if not right:
                raise InputError(
                    f"the calibration is for another network: tensor {name!r} has shape {shape} "
                    "here and another there; make one for this network with `softcell calibrate`"
                )
            parts = () if self.held is None else (self.held.check, self.held.fit)
            if not all(part[name].fits(shape) for part in parts if name in part):
                raise InputError(
                    f"what the calibration holds out for {name!r} is of another network; make one "
                    "for this network with `softcell calibrate`"
                )


def calibrate(
    module: nn.Module,
    images: Tensor,
    *,
    seed: int,
    batch: int = 4,
    kind: Kind = "fisher",
    held: Tensor | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Learn of a network what the feedback loop has to know.

    Args:
        module: As for `layer_curvatures`, and so are the others.
        images: Inputs, shape (images, ...).
        seed: Seed of the Gaussian vectors, 0 to 2**63 - 1.
        batch: Images that go through together, >= 1.
        kind: `fisher` or `inputs`.
        held: Other inputs, at least 2, that the curvature is held against when a network is
            written: whether the loop does less harm there than writing without it.
        progress: Called after each batch with what is done, the images done, and those in all.

    Raises:
        InputError: As for `layer_curvatures`.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
        >>> found = calibrate(net, torch.rand(8, 1, 3, 3), seed=0)
        >>> sorted(found.layers), dict(found.normalisations), found.images
        (['0.weight'], {'1': 1e-05}, 8)
    """
    from softcell.curvature.covariance import fisher_curvatures, layer_curvatures

    fisher: dict[str, NDArray[np.float32]] = {}
    if kind == "fisher":
        layers, fisher = fisher_curvatures(
            module, images, seed=seed, batch=batch, progress=progress
        )
    else:
        layers = layer_curvatures(
            module, images, seed=seed, batch=batch, kind=kind, progress=progress
        )
    apart = None if held is None or not len(held) else HeldOut.of(module, held, batch=batch)
    tied = tuple(names for names in _names_of_one(module) if len(names) > 1)
    return Calibration(layers, normalisations(module), len(images), kind, fisher, apart, tied)


def _names_of_one(module: nn.Module) -> list[tuple[str, ...]]:
    """Return all names of each parameter."""
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [tuple(each) for each in names.values()]


def normalisations(module: nn.Module) -> dict[str, float]:
    """Return the eps of every batch normalisation in a network, by its module's name.

    Told by what they hold, so that networks may bring their own: the four tensors and an eps.

    Example:
        >>> from torch import nn
        >>> normalisations(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, eps=1e-3)))
        {'1': 0.001}
    """
    from torch import Tensor

    return {
        name: float(part.eps)
        for name, part in module.named_modules(remove_duplicate=False)
        if isinstance(getattr(part, "eps", None), float)
        and all(isinstance(getattr(part, tensor, None), Tensor) for tensor in _STATISTICS)
    }
