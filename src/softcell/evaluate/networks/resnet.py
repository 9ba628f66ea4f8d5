"""The residual networks for CIFAR-10 of 20, 32 and 56 layers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from softcell.errors import InputError
from softcell.evaluate.networks.normalization import BatchNorm


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut without parameters (option A).

    out = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))

    Where the block halves the image, the shortcut takes every second pixel and pads the channels
    with zeros, half of them before and half of them after.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = BatchNorm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = BatchNorm(outputs)
        self.stride = stride
        self.extra = (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map (images, inputs, h, w) to (images, outputs, h / stride, w / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.extra:
            x = functional.pad(x, (0, 0, 0, 0, self.extra, self.extra))
        return functional.relu(y + x)


class CifarResNet(nn.Module):
    """Residual network for 32x32 images: three stages of width 16, 32 and 64.

    Args:
        depth: Number of layers with weights, 6 n + 2 with n >= 1 blocks a stage (20, 32, 56, ...).

    Raises:
        InputError: The depth is not of that form.

    Example:
        >>> sum(tensor.numel() for tensor in CifarResNet(20).state_dict().values())
        271098

    Source:
        He et al., CVPR 2016, arXiv 1512.03385, section 4.2.
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise InputError(f"depth must be 6 n + 2 (20, 32, 56, ...), got {depth}")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = BatchNorm(16)
        self.layer1 = _stage(blocks, 16, 16)
        self.layer2 = _stage(blocks, 16, 32)
        self.layer3 = _stage(blocks, 32, 64)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (images, 3, 32, 32) to logits (images, 10)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


def _stage(blocks: int, inputs: int, outputs: int) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride=1 if inputs == outputs else 2)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))
