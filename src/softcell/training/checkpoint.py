"""The whole state of a training in a safetensors file, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def __post_init__(self) -> None:
        if self.step < 0:
            raise InputError(f"its step is {self.step}")


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
    try:
        said = {name: parse_json(metadata[name]) for name in ("step", "numbers")}
        found = record_of(_Reached, said, "")
    except (KeyError, ValueError) as error:
        raise FormatError(f"{path} does not say how far it came ({error})") from None
    own = module.state_dict()
    stored = {n.removeprefix("module."): t for n, t in tensors.items() if n.startswith("module.")}
    if {n: _form(v) for n, v in own.items()} != {n: (t.dtype, t.size) for n, t in stored.items()}:
        raise InputError(f"{path} is of another network; resume the one that it was written of")
    state = _optimiser_state(tensors, dict(module.named_parameters()), path)
    with torch.no_grad():
        for name, values in own.items():
            values.copy_(torch.from_numpy(stored[name]).reshape(values.shape))
    optimiser.state.clear()
    for parameter, values in state:
        optimiser.state[parameter].update(values)
    return found.step, dict(found.numbers)


def _optimiser_state(
    tensors: Mapping[str, np.ndarray], parameters: Mapping[str, nn.Parameter], path: Path
) -> list[tuple[nn.Parameter, dict[str, Tensor]]]:
    """Return what the optimiser keeps of each parameter.

    Raises:
        FormatError: A tensor is of no parameter, or of another shape or type.
    """
    state: dict[str, dict[str, Tensor]] = {name: {} for name in parameters}
    for label, array in tensors.items():
        if label.startswith("module."):
            continue
        kind, key, name = (*label.split(".", 2), "", "")[:3]
        parameter = parameters.get(name)
        form = (np.dtype(np.float32), 1) if key == "step" else None
        if parameter is not None and form is None:
            form = _form(parameter)
        if kind != "optimiser" or parameter is None or (array.dtype, array.size) != form:
            raise FormatError(f"{path}: {label!r} is nothing that an optimiser keeps")
        shape = () if key == "step" else parameter.shape
        state[name][key] = torch.from_numpy(array).reshape(shape).to(parameter.device)
    if len({frozenset(each) for each in state.values() if each}) > 1:
        raise FormatError(f"{path} lacks a part of what its optimiser keeps; it is damaged")
    return [(parameters[name], values) for name, values in state.items() if values]


def _form(values: Tensor) -> tuple[np.dtype[Any], int]:
    """Return the type that a tensor has in a file, and its number of elements."""
    return _array("", values).dtype, values.numel()


def _array(name: str, values: Tensor) -> np.ndarray:
    if values.dtype == torch.bfloat16:
        raise InputError(
            f"{name!r} is bfloat16, which a checkpoint does not hold; train float32 weights, "
            "under torch.autocast if the arithmetic is to be short"
        )
    return values.detach().cpu().numpy()
