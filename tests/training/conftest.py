"""A small network and batches that cost nothing."""

import numpy as np
import pytest
import torch
from torch import nn

from softcell.streams import Stream


def _linear(inputs, outputs, label):
    layer = nn.Linear(inputs, outputs)
    drawn = Stream.of(3, label).normal(inputs * outputs).reshape(outputs, inputs)
    layer.weight.data = torch.from_numpy(drawn / np.float32(inputs**0.5))
    nn.init.zeros_(layer.bias)
    return layer


@pytest.fixture
def network():
    """Return 16-24-4, with dropout, its weights always the same."""
    return nn.Sequential(
        _linear(16, 24, "first"), nn.ReLU(), nn.Dropout(0.1), _linear(24, 4, "second")
    )


@pytest.fixture
def batches():
    """Give inputs of four classes, told apart by the sign of two of their sums."""

    def batch(step):
        x = torch.from_numpy(Stream.of(step, "inputs").normal(64 * 16).reshape(64, 16))
        return x, (x[:, :4].sum(1) > 0).long() + 2 * (x[:, 4:8].sum(1) > 0).long()

    return batch
