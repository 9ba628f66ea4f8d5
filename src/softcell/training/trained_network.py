"""Trained networks as files: their weights, the plan of their cells, and how they were made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from softcell.allocate import Plan
from softcell.allocate.plan_file import (
    load_plan,
    network_digest,
    require_network,
    save_plan,
)
from softcell.atomic_file import AtomicFile, commit_together
from softcell.errors import FormatError, InputError
from softcell.network import Network, write_network
from softcell.replacement import settle
from softcell.search.record import PlanSettings
from softcell.training.matrix_steps import State, eight_bit_steps, entropy_codes, of_steps, on_steps
from softcell.weights import StateDictWeights, TensorInfo
from softcell.weights.finite import as_rows
from softcell.weights.tensor_file import make_folder, read_tensors, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from softcell.image.header import ImageHeader

_FORMAT = "softcell.trained/1"
_SUFFIX = ".safetensors"
_INDICES, _STEPS = "indices.", "steps."


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network that was trained for the cells it is to be stored in.

    As files it is NAME.safetensors and NAME.json. The first holds its tensors as they are or,
    where it is compact, every coded matrix as whole numbers (indices.TENSOR) and their steps
    (steps.TENSOR), one for all or one for each row,

    weight = index * step, in float32;

    the second is the plan of its cells.

    Args:
        name: Its name: letters, digits, and . _ - among them.
        task: Name of the task; "" for a network of somebody's own.
        model: Name of the task's network; or "".
        state: All tensors as they are to be stored, float32 but for whole numbers. Weights of a
            matrix with a code are on the steps of its entropy code, or on those of `eight_bits`.
        plan: How it is stored: the plan, and `search.record.PlanSettings` of this task and model.
            Its digest of the network is made anew when it is saved.
        command: The command that made it.
        seed: The seed of that command, from 0 to 2^63 - 1.
        log: What the training said, line by line.

    Raises:
        InputError: A value is out of range, or the plan is for another network.
    """

    name: str
    task: str
    model: str
    state: State = field(repr=False)
    plan: Plan = field(repr=False)
    command: str
    seed: int
    log: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise InputError(f"a name is of letters, digits, and . _ - inside, got {self.name!r}")
        if type(self.seed) is not int or not 0 <= self.seed < 2**63:
            raise InputError(f"a seed is a whole number from 0 to 2^63 - 1, got {self.seed!r}")
        if any("\n" in line for line in self.log):
            raise InputError("a line of the log holds the end of a line; give one entry for each")
        for name, values in self.state.items():
            numbers = values.dtype.kind in "iub"  # counts and masks that a network carries along
            if not (numbers or values.dtype == np.float32) or not np.isfinite(values).all():
                raise InputError(f"tensor {name!r} is not of finite float32 numbers; convert it")
        # Indices have no zero with a sign: it becomes a plain one.
        state = {
            name: np.asarray(values + np.float32(0)) if values.dtype == np.float32 else values
            for name, values in self.state.items()
        }
        object.__setattr__(self, "state", state)
        settings = self.settings
        if (settings.task, settings.model) != (self.task, self.model):
            raise InputError(
                f"the plan's settings are for {settings.task} {settings.model}, the network is one "
                f"of {self.task} {self.model}; make them for this one"
            )
        require_network(replace(self._ordered, network=""), StateDictWeights(self.state))

    @property
    def settings(self) -> PlanSettings:
        """How the network is written by its plan."""
        return PlanSettings.of(self.plan)

    @property
    def digest(self) -> str:
        """Name of the very weights, as `plan_file.network_digest` gives it."""
        return network_digest(StateDictWeights(self.state))

    @property
    def _ordered(self) -> Plan:
        return self.plan.in_order(tuple(self.state))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors as torch's, for a module's `load_state_dict` with `strict=False`."""
        import torch

        return {name: torch.from_numpy(np.array(values)) for name, values in self.state.items()}

    def write(self, path: Path | str) -> ImageHeader:
        """Write the network to a cell image, which any chip may hold.

        Raises:
            InputError: Its plan goes through the feedback loop, for which a calibration is needed.
        """
        if self.plan.procedure.loop:
            raise InputError(
                f"the plan of {self.name} goes through the feedback loop; write it with `softcell "
                "write --plan`, which takes a calibration"
            )
        network = Network(source=lambda: StateDictWeights(self.state))
        return write_network(network, self.plan, path)[0]

    def save(self, folder: Path | str, *, compact: bool = True) -> Path:
        """Write NAME.safetensors and NAME.json, both or none, and return the first.

        Args:
            folder: Folder to write them to; files that are there are replaced.
            compact: Keep coded matrices as whole numbers and steps, a quarter of the bytes. By
                False they are float32, as other programs read them.

        Raises:
            InputError: A coded matrix is on no steps, or a file cannot be written.
        """
        path = Path(folder) / f"{self.name}{_SUFFIX}"
        tensors: dict[str, NDArray[np.generic]] = {}
        quantised = entropy_codes(self.plan)
        for planned in self._ordered.tensors:
            name, values = planned.info.name, self.state[planned.info.name]
            if planned.code is None or not compact:
                tensors[name] = values
                continue
            rows, own = as_rows(values), []
            if name in quantised:
                # A trellis has weights between the steps, too.
                own = [quantised[name][0].row_steps(len(rows)) / np.float32(n) for n in (1, 2)]
            indices, steps = on_steps(rows, [*own, eight_bit_steps(rows)], name)
            tensors[_INDICES + name] = indices.reshape(values.shape)
            tensors[_STEPS + name] = steps
        about = {
            "format": _FORMAT,
            "task": self.task,
            "model": self.model,
            "command": self.command,
            "seed": str(self.seed),
            "log": "\n".join(self.log),
        }
        make_folder(path.parent)
        with ExitStack() as unfinished:
            pair = [AtomicFile(path), AtomicFile(path.with_suffix(".json"))]
            for file in pair:
                unfinished.callback(file.discard)
            write_tensors(pair[0], tensors, about)
            save_plan(pair[1], replace(self._ordered, network=self.digest))
            commit_together(pair)
        return path

    @classmethod
    def load(cls, path: Path | str) -> TrainedNetwork:
        """Read what `save` wrote.

        Args:
            path: NAME.safetensors, with NAME.json beside it.

        Raises:
            InputError: A file is missing, or cannot be read.
            FormatError: A file is truncated, damaged or another one, or the two are not of one
                network.
        """
        path = Path(path)
        settle(path)
        tensors, about = read_tensors(path)
        if about.get("format") != _FORMAT:
            raise FormatError(
                f"{path} is no trained network of format {_FORMAT}; give one that was saved as such"
            )
        plan = path.with_suffix(".json")
        if not plan.exists():
            raise InputError(f"{plan} is missing, the plan that belongs to {path}; put it there")
        file = load_plan(plan)
        try:
            state = {t.info.name: _restored(tensors, t.info) for t in file.tensors}
            if tensors:
                raise FormatError(f"its tensor {min(tensors)!r} is not in the plan")
            require_network(file, StateDictWeights(state))
            log = about["log"]
            return cls(
                path.stem,
                about["task"],
                about["model"],
                state,
                file,
                about["command"],
                int(about["seed"]),
                tuple(log.split("\n")) if log else (),
            )
        except KeyError as error:
            raise FormatError(f"{path} lacks {error}; take both files from one source") from None
        except ValueError as error:
            raise FormatError(f"{path} and {plan.name} do not fit: {error}") from None


def trained_networks() -> tuple[str, ...]:
    """Return the names of the trained networks that come with softcell."""
    return tuple(sorted(path.name.removesuffix(_SUFFIX) for path in _shipped()))


def trained_network(name: str) -> TrainedNetwork:
    """Return a trained network.

    Args:
        name: One of `trained_networks()`, or the path of a .safetensors file.

    Raises:
        InputError: There is no such network.
        FormatError: It is damaged.
    """
    if name.endswith(_SUFFIX):
        return TrainedNetwork.load(name)
    for path in _shipped():
        if path.name == name + _SUFFIX:
            return TrainedNetwork.load(path)
    known = ", ".join(trained_networks()) or "none"
    raise InputError(
        f"there is no trained network {name!r}; there are: {known}; or give the {_SUFFIX} file of "
        "one of your own"
    )


def _shipped() -> Iterator[Path]:
    folder = Path(str(resources.files("softcell.trained")))
    return folder.glob(f"*{_SUFFIX}")


def _restored(tensors: dict[str, NDArray[np.generic]], info: TensorInfo) -> NDArray[Any]:
    """Take a tensor out of a file's, and return its values.

    Raises:
        KeyError: It is not there.
        FormatError: It is of another type or shape than indices and steps have.
    """
    name = info.name
    if name in tensors:
        values = tensors.pop(name)
        if StateDictWeights({name: values}).info(name).dtype != info.dtype or (
            values.size != info.size
        ):
            raise FormatError(f"tensor {name!r} is {values.dtype} {values.shape}")
        return values.reshape(info.shape)
    indices, steps = tensors.pop(_INDICES + name), tensors.pop(_STEPS + name)
    rows = info.shape[0] if info.shape else 0
    whole = indices.dtype in (np.int8, np.int16) and indices.shape == info.shape
    if not whole or steps.dtype != np.float32 or steps.shape not in ((1,), (rows,)):
        raise FormatError(
            f"tensor {name!r} has indices {indices.dtype} {indices.shape} and steps "
            f"{steps.dtype} {steps.shape}"
        )
    return of_steps(indices.reshape(rows, -1), steps.astype(np.float32)).reshape(info.shape)
