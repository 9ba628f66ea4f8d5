"""A small network for the 8x8 digits, with all that larger ones are made of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from softcell.evaluate.networks.normalization import BatchNorm


class DigitsCNN(nn.Module):
    """Three 3x3 convolutions with batch normalisation and a linear classifier.

    Example:
        >>> sum(tensor.numel() for tensor in DigitsCNN().state_dict().values())
        15578
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = BatchNorm(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.bn2 = BatchNorm(32)
        self.conv3 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.bn3 = BatchNorm(32)
        self.linear = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (images, 1, 8, 8) to logits (images, 10)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.max_pool2d(functional.relu(self.bn2(self.conv2(x))), 2)
        x = functional.max_pool2d(functional.relu(self.bn3(self.conv3(x))), 2)
        return self.linear(x.flatten(1))
