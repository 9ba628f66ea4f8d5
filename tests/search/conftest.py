"""Small networks to search for, and what is common to searches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from softcell.devices import Device, parse_device
from softcell.search import Subject
from softcell.search.subjects import own_subject
from softcell.weights import StateDictWeights


@dataclass(frozen=True)
class Small:
    """A module, its tensors and inputs."""

    module: nn.Module
    state: dict[str, Tensor]
    inputs: Tensor

    def source(self) -> StateDictWeights:
        return StateDictWeights(self.state)

    def subject(self, **options) -> Subject:
        return own_subject(self.source, module=self.module, inputs=self.inputs, **options)


def of(module: nn.Module, inputs: Tensor) -> Small:
    module.eval()
    return Small(module, {n: t.detach() for n, t in module.state_dict().items()}, inputs)


def convolutions(dtype: torch.dtype = torch.float32) -> Small:
    """Two convolutions with batch normalisation, sure enough of themselves to lose something."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(
            *(nn.Conv2d(2, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(256, 10)),
        )
        inputs = torch.rand(96, 2, 6, 6)
        with torch.no_grad():
            module(inputs)
            module[-1].weight.mul_(8)
    return of(module.to(dtype), inputs.to(dtype))


class Transformer(nn.Module):
    """Predicts tokens; its embedding is the output matrix, too."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(24, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.output = nn.Linear(16, 24, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.output(self.norm(self.block(self.embedding(tokens))))


@pytest.fixture(scope="session")
def cnn() -> Small:
    return convolutions()


@pytest.fixture(scope="session")
def cnn_subject(cnn: Small) -> Subject:
    return cnn.subject()


@pytest.fixture(scope="session", params=["bfloat16", "float16"])
def half_cnn(request) -> Small:
    return convolutions(getattr(torch, request.param))


@pytest.fixture
def transformer() -> Small:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return of(Transformer(), torch.randint(0, 24, (64, 6)))


@pytest.fixture(scope="session")
def plain() -> dict[str, np.ndarray]:
    """Tensors of a network that nothing but its state dict is known of."""
    random = np.random.default_rng(1)
    return {
        "a.weight": random.normal(size=(32, 24)).astype(np.float32),
        "a.bias": random.normal(size=32).astype(np.float32),
        "b.weight": random.laplace(size=(10, 32)).astype(np.float32),
    }


@pytest.fixture(scope="session")
def device() -> Device:
    return parse_device("pcm-partial-reset")
