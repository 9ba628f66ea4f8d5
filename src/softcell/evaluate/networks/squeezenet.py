"""SqueezeNet 1.1 for ImageNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Fire(nn.Module):
    """Squeeze to few channels, then expand by 1x1 and 3x3 filters side by side."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (images, inputs, h, w) to (images, 2 expand, h, w)."""
        x = _relu(self.squeeze1x1(x))
        return _relu(torch.cat((self.expand1x1(x), self.expand3x3(x)), dim=1))


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1: a convolution, eight fire modules and a convolution that classifies.

    Example:
        >>> sum(tensor.numel() for tensor in SqueezeNet().state_dict().values())
        1235496

    Source:
        Iandola et al., arXiv 1602.07360; version 1.1 is defined in the authors' repository
        forresti/SqueezeNet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2)
        self.fire2 = Fire(64, 16, 64)
        self.fire3 = Fire(128, 16, 64)
        self.fire4 = Fire(128, 32, 128)
        self.fire5 = Fire(256, 32, 128)
        self.fire6 = Fire(256, 48, 192)
        self.fire7 = Fire(384, 48, 192)
        self.fire8 = Fire(384, 64, 256)
        self.fire9 = Fire(512, 64, 256)
        self.conv10 = nn.Conv2d(512, 1000, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (images, 3, 224, 224) to logits (images, 1000)."""
        x = _pool(_relu(self.conv1(x)))
        x = _pool(self.fire3(self.fire2(x)))
        x = _pool(self.fire5(self.fire4(x)))
        x = self.fire9(self.fire8(self.fire7(self.fire6(x))))
        return _relu(self.conv10(x)).mean(dim=(2, 3))


def _pool(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 3, stride=2, ceil_mode=True)


def _relu(x: Tensor) -> Tensor:
    # In place: at 224 pixels a copy of every activation costs more than the arithmetic.
    return functional.relu(x, inplace=True)
