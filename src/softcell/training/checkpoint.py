"""The whole state of a training in a safetensors file, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from softcell.errors import FormatError, InputError
from softcell.records import parse_json, record_of
from softcell.weights.tensor_file import read_tensors, write_tensors

_FORMAT = "softcell.training/1"


@dataclass(frozen=True)
class _Reached:
    """How far the training came."""

    step: int
    numbers: Mapping[str, float]


def write_checkpoint(
    path: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    step: int,
    identity: Mapping[str, str],
    *,
    numbers: Mapping[str, float] | None = None,
) -> None:
    """Write parameters, buffers, the optimiser's state and the step's number.

    Args:
        path: The file; one that is there is replaced once the new one is whole.
        module: What is trained, such as `StoredWeights`.
        optimiser: Its optimiser, all of whose state is tensors.
        step: Steps done.
        identity: Texts by name that tell this training from others; `read_checkpoint` compares
            them.
        numbers: What else goes on from step to step, by name.

    Raises:
        InputError: The file cannot be written, or a tensor is of a type that it cannot hold.
    """
    tensors = {f"module.{name}": values for name, values in module.state_dict().items()}
    for name, parameter in module.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{key}.{name}"] = value
    write_tensors(
        path,
        {name: _array(name, values) for name, values in tensors.items()},
        {
            **identity,
            "format": _FORMAT,
            "step": str(step),
            "numbers": json.dumps(dict(numbers or {})),
        },
    )


def read_checkpoint(
    path: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    identity: Mapping[str, str],
) -> tuple[int, dict[str, float]]:
    """Restore what `write_checkpoint` wrote, to the bit.

    Args:
        path: The file.
        module: A module of the same kind; its tensors are replaced in place.
        optimiser: An optimiser of the same kind over its parameters.
        identity: What the file must say of itself.

    Returns:
        Steps done, and the numbers.

    Raises:
        InputError: The file does not exist, or is of another training.
        FormatError: The file is damaged, or no checkpoint.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != _FORMAT:
        raise FormatError(f"{path} is no checkpoint of format {_FORMAT}; give one")
    for name, text in identity.items():
        if metadata.get(name) != text:
            raise InputError(
                f"{path} is of another training: its {name} is {metadata.get(name)}, not {text}; "
                "resume with the same settings, or choose another file"
            )
    own = module.state_dict()
    stored = {n.removeprefix("module."): t for n, t in tensors.items() if n.startswith("module.")}
    if {n: v.numel() for n, v in own.items()} != {n: v.size for n, v in stored.items()}:
        raise InputError(f"{path} is of another network; resume the one that it was written of")
    with torch.no_grad():
        for name, values in own.items():
            values.copy_(torch.from_numpy(stored[name]).reshape(values.shape))
    optimiser.state.clear()
    for name, parameter in module.named_parameters():
        for key in {n.split(".", 2)[1] for n in tensors if n.startswith("optimiser.")}:
            value = tensors.get(f"optimiser.{key}.{name}")
            if value is not None:
                shape = () if key == "step" else parameter.shape
                restored = torch.from_numpy(value).reshape(shape)
                optimiser.state[parameter][key] = restored.to(parameter.device)
    try:
        said = {name: parse_json(metadata[name]) for name in ("step", "numbers")}
        found = record_of(_Reached, said, "")
    except (KeyError, ValueError, RecursionError) as error:
        raise FormatError(f"{path} does not say how far it came ({error})") from None
    return found.step, dict(found.numbers)


def _array(name: str, values: Tensor) -> np.ndarray:
    if values.dtype == torch.bfloat16:
        raise InputError(
            f"{name!r} is bfloat16, which a checkpoint does not hold; train float32 weights, "
            "under torch.autocast if the arithmetic is to be short"
        )
    return values.detach().cpu().numpy()
