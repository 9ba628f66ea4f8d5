"""A user's own network and its inputs, as `--module` and `--inputs` name them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softcell.cli.experiment import read_network
from softcell.errors import InputError
from softcell.own_code import guarded, imported

if TYPE_CHECKING:
    from torch import Tensor, nn


def own_module(function: str) -> nn.Module:
    """Return the module that a user's function makes.

    Args:
        function: `module:function`, imported from the current folder.

    Raises:
        InputError: There is no such function, it failed, or it returned something else.
    """
    from torch import nn

    made = guarded(imported(function, "--module"), f"--module {function}")
    if not isinstance(made, nn.Module):
        raise InputError(
            f"--module {function} returned a {type(made).__name__}; let it return a torch.nn.Module"
        )
    return made


def loaded_module(function: str, state: Mapping[str, Any]) -> nn.Module:
    """Return the module that a user's function makes, with other weights.

    Args:
        function: As for `own_module`.
        state: Its tensors by name, as arrays; those that are missing stay as the function has them.

    Raises:
        InputError: As for `own_module`, or the weights do not go into the module.
    """
    import torch

    network = own_module(function)
    tensors = {name: torch.from_numpy(values) for name, values in state.items()}
    guarded(lambda: network.load_state_dict(tensors, strict=False), f"--module {function}")
    return network


def own_inputs(path: Path, network: nn.Module, least: int | None) -> Tensor:
    """Return inputs as the network takes them: floats of the type of its weights.

    Args:
        path: Safetensors file of one tensor, first axis inputs.
        network: The network.
        least: Number of inputs that are needed; None for one.

    Raises:
        InputError: The file holds something else, or fewer inputs.
    """
    import torch

    tensors = read_network(path)
    if len(tensors) != 1:
        raise InputError(f"{path} holds {len(tensors)} tensors; save the inputs as a single one")
    given = torch.from_numpy(next(iter(tensors.values())))
    if given.ndim < 1 or len(given) < (least or 1):
        raise InputError(
            f"{path} holds inputs of shape {tuple(given.shape)}; expected at least {least or 1} "
            "along the first axis"
        )
    weight = next((p for p in network.parameters() if p.is_floating_point()), None)
    if weight is not None:
        given = given.to(weight.device, weight.dtype if given.is_floating_point() else None)
    return given
