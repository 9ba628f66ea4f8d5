"""Train a network of the user's own for few cells."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from softcell.allocate.plan_file import network_digest
from softcell.curvature import Calibration
from softcell.devices import Device, parse_device
from softcell.durations import parse_ages
from softcell.errors import InputError
from softcell.feedback import DriftCorrection
from softcell.network.own import learnt_of
from softcell.progress import Progress
from softcell.search import Subject
from softcell.search.judge import State
from softcell.search.subjects import own_subject
from softcell.training.few_cells import require_source, train_problem
from softcell.training.loader_batches import InputBatches, LoaderBatches, first_inputs
from softcell.training.objectives import Distillation, LabelLoss, Mixture, Objective
from softcell.training.problem import Problem, machine
from softcell.training.settings import FewCells, own_settings
from softcell.training.trained_network import TrainedNetwork
from softcell.weights import StateDictWeights

Loss = Callable[[Tensor, Tensor], Tensor]
"""Gives the mean loss of outputs and labels, a scalar, such as `functional.cross_entropy`."""

_CALIBRATED = 2000
"""Inputs of the loader that plans are made with, unless others are given."""


def train_for_cells(
    module: nn.Module,
    loader: Iterable[Any] | Tensor,
    settings: FewCells | float,
    *,
    loss: Loss | None = None,
    inputs: Tensor | None = None,
    evaluate: Callable[[dict[str, Tensor]], float] | None = None,
    calibration: Calibration | None = None,
    device: Device | str = "pcm-partial-reset",
    age: str | float = 0.0,
    seed: int = 0,
    name: str = "network",
    command: str = "",
    source: TrainedNetwork | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    told: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> TrainedNetwork:
    """Train a network such that strong digital storage takes few cells.

    It starts from a plan that is made without training, and is then trained through the storage,
    the price of a bit steered such that it ends at the number of cells (see `train_problem`). It
    learns on a copy in float32, on a GPU if there is one.

    Args:
        module: The network, its weights loaded; it is not changed.
        loader: Batches of inputs and labels, or of inputs alone: a torch `DataLoader`, a list or
            what else can be gone through again and again (see `LoaderBatches`); or the inputs
            themselves, a tensor whose first axis is theirs.
        settings: The settings, such as `own_settings(0.5, loss=True, epochs=10)`; or only the
            number of cells per weight.
        loss: Gives the mean loss of outputs and labels; by default the network itself is distilled,
            whose outputs must then be logits of shape (batch, ..., classes).
        inputs: Inputs that the network does not know by heart, first axis inputs, at least 8: half
            give curvature and drift correction for the plans at the start, which are judged on a
            quarter. By default the first 2,000 of the loader.
        evaluate: How good tensors by name are, to judge plans by in place of the outputs'
            divergence. Not on test data: where several plans are tried, it chooses.
        calibration: Curvature of the network's layers; by default it is made of the inputs.
        device: A device, or its specification.
        age: Age, or span of ages, at which the cells are read.
        seed: Seed of the inputs' order and of what is random in loader and network.
        name: Name of the trained network.
        command: Command that it is made by, for the record.
        source: Network of an earlier training to go on from, in place of a plan.
        checkpoint: File that keeps the state of the training, every 500 steps; the log beside it.
        resume: Go on from it, if it is there: to the same network on a CPU, if the loader gives the
            same batches.
        told: Called with each line of the log.
        progress: Called with (what, done, total).

    Returns:
        The trained network: what is read from its cells, and their plan. A tensor of several names
        is there under the first of them.

    Raises:
        InputError: The checkpoint or the source is of another training, loader, loss and settings
            do not go together, or the network is not one that plans are made for.
        InfeasibleError: There are too few cells for what is stored besides the matrices.
        SoftcellError: The training diverged.

    Example:
        >>> import torch
        >>> from torch.nn import functional
        >>> net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
        >>> loader = [(torch.rand(32, 16), torch.randint(4, (32,))) for _ in range(4)]
        >>> settings = own_settings(2.0, loss=True, epochs=1)
        >>> trained = train_for_cells(net, loader, settings, loss=functional.cross_entropy)
        >>> sorted(trained.state)
        ['0.bias', '0.weight', '2.bias', '2.weight']
    """
    if not isinstance(settings, FewCells):
        settings = own_settings(settings, loss=loss is not None)
    _require_settings(settings, loss)
    single = copy.deepcopy(module).cpu().float().eval()
    state = _state(single)
    if source is not None:
        require_source(source, settings, task="", model="")
        _require_tensors(source, state)
    batches = (
        InputBatches(loader, size=settings.batch, seed=seed)
        if isinstance(loader, Tensor)
        else LoaderBatches(loader, labelled=loss is not None, seed=seed)
    )
    if isinstance(loader, Tensor) and loss is not None:
        raise InputError("a loss takes labels, and there are inputs alone; give a loader of both")
    given = first_inputs(batches, _CALIBRATED) if inputs is None else inputs.detach().cpu()
    given = given.float() if given.is_floating_point() else given
    learnt = learnt_of(given)

    def subject(weights: State) -> Subject:
        return own_subject(
            lambda: StateDictWeights(weights),
            evaluate=None if evaluate is None else lambda stored: evaluate(tensors(stored)),
            module=problem.with_weights(weights),
            inputs=given,
            calibration=calibration,
            progress=progress,
        )

    def tensors(stored: State) -> dict[str, Tensor]:
        return dict(problem.with_weights(stored).state_dict())

    digest = network_digest(StateDictWeights(state))
    problem = Problem(
        module=single,
        state=state,
        batches=batches,
        objective=_objective(single, loss, settings),
        subject=subject,
        correct=lambda stored: DriftCorrection(single, learnt)(stored),
        about=f"{digest}, {batches.epoch} batches, {_named(loss)}",
    )
    return train_problem(
        problem,
        parse_device(device) if isinstance(device, str) else device,
        settings,
        name=name,
        command=command,
        ages=parse_ages(age),
        seed=seed,
        source=source,
        checkpoint=checkpoint,
        resume=resume,
        told=told,
        progress=progress,
    )


def _objective(module: nn.Module, loss: Loss | None, settings: FewCells) -> Objective:
    parts: list[tuple[float, Objective]] = []
    if loss is not None:
        moved = copy.deepcopy(loss).to(machine()) if isinstance(loss, nn.Module) else loss
        parts.append((settings.labels, LabelLoss(moved)))
    if settings.labels < 1:
        teacher = copy.deepcopy(module).to(machine())
        taught = Distillation(teacher, temperature=settings.temperature)
        parts.append((1 - settings.labels, taught))
    return Mixture(parts)


def _require_settings(settings: FewCells, loss: Loss | None) -> None:
    if settings.mix or settings.teachers:
        raise InputError(
            "images are mixed, and other models taught, in tasks alone: leave out mix and "
            "teachers, as `own_settings` does"
        )
    if loss is None and settings.labels:
        raise InputError(f"labels weigh {settings.labels:g} and there is no loss of them; give one")
    if loss is not None and not settings.labels:
        raise InputError("there is a loss, and its weight is 0; set labels above 0")


def _require_tensors(source: TrainedNetwork, state: State) -> None:
    """Require that a trained network is one of this module."""
    own = {name: values.shape for name, values in state.items()}
    found = {name: values.shape for name, values in source.state.items()}
    for name in sorted(own.keys() | found.keys()):
        if own.get(name) != found.get(name):
            raise InputError(
                f"tensor {name!r} is {found.get(name, 'missing')} in {source.name}, and "
                f"{own.get(name, 'missing')} in the module; go on with a network of this module"
            )


def _state(module: nn.Module) -> dict[str, Any]:
    """Return the tensors of a module, each under its first name."""
    state: dict[str, Any] = {}
    seen: set[int] = set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and id(tensor) not in seen:
            seen.add(id(tensor))
            state[name] = np.array(tensor.detach().numpy())
    return state


def _named(loss: Loss | None) -> str:
    """Return the name of a loss, for the checkpoint."""
    return "distilled" if loss is None else getattr(loss, "__qualname__", type(loss).__name__)
