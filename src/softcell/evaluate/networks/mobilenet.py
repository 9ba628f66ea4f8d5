"""MobileNet v1 at a quarter of its width and MobileNetV2 for ImageNet."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from softcell.evaluate.networks.normalization import BatchNorm

# Width, stride of the 13 separable convolutions (Howard et al., table 1, widths times 0.25).
_V1_BLOCKS = (
    *((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)),
    *((128, 1), (128, 1), (128, 1), (128, 1), (128, 1), (256, 2), (256, 1)),
)
# Width, repeats, stride of the first (Sandler et al., table 2), after the first block.
_V2_STAGES = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))


class SamePadConv(nn.Conv2d):
    """3x3 convolution padded as TensorFlow's SAME, for images of even height and width.

    With stride 2 that is one row at the bottom and one column at the right, nothing elsewhere.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, groups: int, bias: bool) -> None:
        padding = 1 if stride == 1 else 0
        super().__init__(
            inputs, outputs, 3, stride=stride, padding=padding, groups=groups, bias=bias
        )
        self.corner = 0 if stride == 1 else 1

    def forward(self, input: Tensor) -> Tensor:
        """Map (images, inputs, h, w) to (images, outputs, h / stride, w / stride)."""
        if self.corner:
            input = functional.pad(input, (0, 1, 0, 1))
        return super().forward(input)


class SeparableConv(nn.Module):
    """A 3x3 filter for each channel, then a 1x1 convolution; both normalised."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.dw = SamePadConv(inputs, inputs, stride=stride, groups=inputs, bias=False)
        self.dw_bn = BatchNorm(inputs, eps=1e-3)
        self.pw = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pw_bn = BatchNorm(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (images, inputs, h, w) to (images, outputs, h / stride, w / stride)."""
        x = _relu6(self.dw_bn(self.dw(x)))
        return _relu6(self.pw_bn(self.pw(x)))


class MobileNetV1Quarter(nn.Module):
    """MobileNet v1 with a width multiplier of 0.25.

    Example:
        >>> sum(tensor.numel() for tensor in MobileNetV1Quarter().state_dict().values())
        475544

    Source:
        Howard et al., arXiv 1704.04861, table 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = SamePadConv(3, 8, stride=2, groups=1, bias=False)
        self.bn0 = BatchNorm(8, eps=1e-3)
        self.blocks = nn.ModuleDict()
        width = 8
        for index, (outputs, stride) in enumerate(_V1_BLOCKS, start=1):
            self.blocks[str(index)] = SeparableConv(width, outputs, stride)
            width = outputs
        self.classifier = nn.Linear(256, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (images, 3, 224, 224) to logits (images, 1000)."""
        x = _relu6(self.bn0(self.conv0(x)))
        for block in self.blocks.values():
            x = block(x)
        return self.classifier(x.mean(dim=(2, 3)))


class InvertedResidual(nn.Module):
    """Expand six-fold, filter each channel, project back; batch normalisation folded.

    The first block of the network has nothing to expand.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = nn.Conv2d(inputs, inner, 1) if expansion > 1 else None
        self.dw = SamePadConv(inner, inner, stride=stride, groups=inner, bias=True)
        self.project = nn.Conv2d(inner, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (images, inputs, h, w) to (images, outputs, h / stride, w / stride)."""
        y = x if self.expand is None else _relu6(self.expand(x))
        y = self.project(_relu6(self.dw(y)))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """MobileNetV2 1.0 with batch normalisation folded into the convolutions.

    Example:
        >>> sum(tensor.numel() for tensor in MobileNetV2().state_dict().values())
        3487816

    Source:
        Sandler et al., CVPR 2018, arXiv 1801.04381, table 2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = SamePadConv(3, 32, stride=2, groups=1, bias=True)
        blocks = [InvertedResidual(32, 16, 1, expansion=1)]
        width = 16
        for outputs, repeats, first in _V2_STAGES:
            for repeat in range(repeats):
                stride = first if repeat == 0 else 1
                blocks.append(InvertedResidual(width, outputs, stride, expansion=6))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Conv2d(320, 1280, 1)
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (images, 3, 224, 224) to logits (images, 1000)."""
        x = self.blocks(_relu6(self.stem(x)))
        return self.classifier(_relu6(self.head(x)).mean(dim=(2, 3)))


def _relu6(x: Tensor) -> Tensor:
    # In place: at 224 pixels a copy of every activation costs more than the arithmetic.
    return functional.relu6(x, inplace=True)
