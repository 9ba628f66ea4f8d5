"""The ways to train that `train_noise.py` compares, and the networks that they are of."""

import hashlib
from dataclasses import dataclass
from itertools import product

from torch import Tensor, nn
from torch.nn import functional

from softcell.evaluate.networks import LeNet300
from softcell.training import GradualPruning, Storage

SPARSITY = 0.95
MASKED = ("inversion+sparsity", "inversion+sign+adaptive+sparsity")
MASKED_CELLS, PACKED_CELLS = 0.2, 0.5
"""Cells per weight, mask included; with a mask each weight that is left has one in any case."""


class Student(nn.Module):
    """An MLP of 784-60-30-10: 49,270 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 60)
        self.fc2 = nn.Linear(60, 30)
        self.fc3 = nn.Linear(30, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.fc1(x.flatten(1)))
        return self.fc3(functional.relu(self.fc2(x)))


class Exact(Storage):
    """Storage without errors."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight


class Remembering(nn.Module):
    """A teacher that answers a batch which it was asked before from memory."""

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.teacher = teacher
        self.answers: dict[bytes, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        key = hashlib.blake2b(x.numpy().tobytes()).digest()
        if key not in self.answers:
            self.answers[key] = self.teacher(x)
        return self.answers[key]


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Args:
        family: "pruning" or "distillation".
        way: "gradual" or "one-shot"; "labels" or "teacher".
        saliency: Of pruning.
    """

    family: str
    way: str
    saliency: str = "magnitude"

    @property
    def label(self) -> str:
        if self.family == "pruning":
            return f"{self.way} pruning by {self.saliency}"
        return "student of the teacher" if self.way == "teacher" else "student of the labels alone"

    @property
    def network(self) -> type[nn.Module]:
        return LeNet300 if self.family == "pruning" else Student

    @property
    def codes(self) -> tuple[tuple[str, float], ...]:
        """Schemes and cells per weight; the first makes the noise of training."""
        if self.family == "pruning":
            return tuple((scheme, MASKED_CELLS) for scheme in MASKED)
        return (("packed", PACKED_CELLS),)

    def pruning(self, steps: int, epoch: int) -> GradualPruning | None:
        """Return when weights go: by the half of the training, or all after half an epoch."""
        if self.family != "pruning":
            return None
        begin, end = (0, steps // 2) if self.way == "gradual" else (epoch // 2, epoch // 2 + 1)
        return GradualPruning(SPARSITY, begin, end, every=20, saliency=self.saliency)


ARMS = (
    *(Arm("pruning", w, s) for w, s in product(("gradual", "one-shot"), ("magnitude", "fisher"))),
    *(Arm("distillation", way) for way in ("labels", "teacher")),
)
