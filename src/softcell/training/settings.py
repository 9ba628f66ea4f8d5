"""How a network is trained for few cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from softcell.errors import InputError


@dataclass(frozen=True)
class FewCells:
    """How a network is trained for few cells.

    Args:
        cells: Cells per weight that it is to take, above 0.
        above: Cells per weight by which the plan that training starts from is above `cells`, at
            least 0.
        plans: Plans that are tried at the start, at least 1.
        epochs: Times that the training images are gone through, above 0.
        batch: Images in a step of the optimiser, at least 1.
        learning_rate: Of Adam, at the start.
        drop: Parts of the network, such as residual blocks, whose matrices go at first; the others
            are then trained, as floats, to do without.
        drop_epochs: Epochs of that.
        drop_rate: Learning rate of that, at the start.
        matrices: Train matrices, too: through rounding, so that the plan has no trellis. Otherwise
            they stay as the plan has written them, through a trellis of 8 states, and biases and
            normalisations learn to live with that.
        storage_rate: Learning rate of the steps of quantisation, over that of the weights.
        by_row: Each row of a matrix has a step of its own.
        room: Training starts from the float weights, each held within so many steps of where the
            plan has put it; from 0 to below 0.5. Far from the edges weights move when training
            means it, near them at once.
        labels: Weight of the loss of labels, from 0 to 1: the cross-entropy, or what a user gives
            for a network of their own; the rest is that of the divergence from the teachers.
        temperature: Of that divergence.
        mix: Largest share of another image in each, from 0 to 0.5; for training without labels.
        price: Nats that a bit for every weight is worth at the start.
        warm_up: Part of the training in which the bits go to their target.
        settle: Part of it after which zeros stay zero.
        bfloat16: Do the network's arithmetic in bfloat16.
        teachers: Models of the same task whose mean probabilities are what is distilled; none for
            the network itself.

    Raises:
        InputError: A value is out of range.
    """

    cells: float
    above: float = 0.0
    plans: int = 4
    epochs: float = 3.0
    batch: int = 64
    learning_rate: float = 2e-3
    drop: tuple[str, ...] = ()
    drop_epochs: float = 3.0
    drop_rate: float = 8e-4
    matrices: bool = False
    storage_rate: float = 0.3
    by_row: bool = True
    room: float = 0.25
    labels: float = 0.0
    temperature: float = 2.0
    mix: float = 0.5
    price: float = 0.3
    warm_up: float = 0.3
    settle: float = 0.8
    bfloat16: bool = True
    teachers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (
            0 < self.cells < math.inf
            and 0 <= self.above < math.inf
            and min(self.epochs, self.drop_epochs) > 0
        ):
            raise InputError(
                "expected cells and epochs above 0 and a start of no fewer cells, got "
                f"{self.cells}, {self.epochs} and {self.above} more"
            )
        if self.plans < 1 or self.batch < 1:
            raise InputError(
                f"expected plans and batch of at least 1, got {self.plans} and {self.batch}"
            )
        if not (0 <= self.room < 0.5 and 0 <= self.labels <= 1 and 0 <= self.mix <= 0.5):
            raise InputError(
                "expected room from 0 to below 0.5, labels from 0 to 1 and mix from 0 to 0.5, got "
                f"{self.room}, {self.labels} and {self.mix}"
            )
        if self.labels and self.mix:
            raise InputError("mixed images have no labels: leave out labels, or set mix to 0")


_SMALL = {
    "learning_rate": 1e-3,
    "matrices": True,
    "plans": 1,
    "above": 0.24,
    "epochs": 52.0,
    "batch": 256,
    "storage_rate": 3.0,
    "by_row": False,
    "room": 0.49,
    "labels": 0.5,
    "mix": 0.0,
    "price": 1.0,
    "warm_up": 0.3,
    "settle": 0.77,
    "bfloat16": False,
}


def settings_for(task: str, cells: float, **changes: Any) -> FewCells:
    """Return settings that do well on a task.

    Args:
        task: Name of the task.
        cells: Cells per weight.
        changes: Settings to change, by name; None for the task's own.

    Raises:
        InputError: A value is out of range.
    """
    own = {"digits": _SMALL | {"batch": 32}, "mnist": _SMALL}.get(task, {})
    given = {name: value for name, value in changes.items() if value is not None}
    return FewCells(cells, **(own | given))


_OWN = _SMALL | {"epochs": 40.0, "batch": 64}


def own_settings(cells: float, *, loss: bool, **changes: Any) -> FewCells:
    """Return settings for a network of the user's own: all of it is trained, through rounding.

    Args:
        cells: Cells per weight.
        loss: Whether there is a loss of labels: it then is all that counts, unless `labels` is
            changed. Otherwise the network itself is distilled.
        changes: Settings to change, by name; None for those of such networks. Inputs are not mixed,
            and models of tasks are no teachers; `batch` is for inputs that come without a loader.

    Raises:
        InputError: A value is out of range.

    Example:
        >>> own_settings(0.5, loss=True).labels, own_settings(0.5, loss=False).labels
        (1.0, 0.0)
    """
    given = {name: value for name, value in changes.items() if value is not None}
    return FewCells(cells, **(_OWN | {"labels": 1.0 if loss else 0.0} | given))
