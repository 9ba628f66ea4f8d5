"""What is trained for few cells: a network, what it learns from, and what it aims at."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from softcell.search import Subject
from softcell.search.judge import State
from softcell.training.objectives import Objective


class EpochBatches(Protocol):
    """Batches of the steps of a training, in epochs."""

    @property
    def epoch(self) -> int:
        """Batches in an epoch, at least 1."""
        ...

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of a step, the same whenever it is asked."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """A network that is to be trained for few cells.

    Args:
        module: The float network, float32 on the CPU; it is not changed.
        state: Its tensors, each under one name.
        batches: What it is trained on.
        objective: What it aims at, on the `machine`.
        subject: Gives the network with these weights, for plans to be made of it and judged.
        correct: Corrects stored weights for the drift of activations, as `DriftCorrection` does.
        about: What tells it from other networks and aims, for the checkpoint.
        task: Name of the task; "" for a network of the user's own.
        model: Name of the task's network; or "".
    """

    module: nn.Module = field(repr=False)
    state: State = field(repr=False)
    batches: EpochBatches
    objective: Objective
    subject: Callable[[State], Subject]
    correct: Callable[[State], State]
    about: str
    task: str = ""
    model: str = ""

    def with_weights(self, state: State) -> nn.Module:
        """Return a copy of the network with other weights, in evaluation mode."""
        module = copy.deepcopy(self.module).eval()
        # Copies, and not strictly: a tensor of several names is in the state under one of them.
        tensors = {name: torch.from_numpy(np.array(values)) for name, values in state.items()}
        module.load_state_dict(tensors, strict=False)
        return module

    @property
    def parameters(self) -> frozenset[str]:
        """Names of what is trained; the other tensors of the state are buffers."""
        return frozenset(name for name, _ in self.module.named_parameters())


def machine() -> str:
    """Return where training runs: on a GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"
