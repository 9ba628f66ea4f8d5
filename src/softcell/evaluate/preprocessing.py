"""From pixels to what a network takes in: normalised, and for calibration varied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from softcell.errors import InputError
from softcell.streams import Stream

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Preprocessing:
    """The normalisation that a network was trained with.

    x_c = (pixel_c - mean_c) / std_c

    Args:
        mean: One value for each channel, in units of a pixel, in the order of the network.
        std: One value > 0 for each channel, likewise.
        reverse: The network takes the channels in reverse order (BGR).

    Example:
        >>> import torch
        >>> Preprocessing((127.5,), (127.5,))(torch.full((1, 2, 2, 1), 255.0)).unique()
        tensor([1.])
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    reverse: bool = False

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or min(self.std, default=0.0) <= 0:
            raise InputError(
                f"expected as many std > 0 as means, got mean {self.mean} and std {self.std}"
            )

    def __call__(self, pixels: Tensor) -> Tensor:
        """Map pixels (images, height, width, channels) to float32 (images, channels, h, w)."""
        import torch

        x = pixels.flip(-1) if self.reverse else pixels
        x = (x.float() - torch.tensor(self.mean)) / torch.tensor(self.std)
        return x.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Augmentation:
    """How calibration images differ from those that the network was trained on.

    Each image is zoomed into, shifted and mirrored at random, and then mixed with another one:
    a network that knows its training images by heart is as unsure of these as of new ones.

    Args:
        shift: Largest shift in either direction, in pixels, >= 0; black moves in.
        flip: Mirror left and right with probability 1/2.
        zoom: Smallest side of the square that is kept and enlarged to the whole, relative to the
            image's side, in (0, 1]; 1 keeps all.
        mix: Largest share of the other image, in [0, 1/2]; the share is uniform from 0 to that.
    """

    shift: int = 0
    flip: bool = False
    zoom: float = 1.0
    mix: float = 0.5

    def __post_init__(self) -> None:
        if self.shift < 0 or not 0 < self.zoom <= 1 or not 0 <= self.mix <= 0.5:
            raise InputError(
                "expected shift >= 0, 0 < zoom <= 1 and 0 <= mix <= 0.5, got "
                f"{self.shift}, {self.zoom}, {self.mix}"
            )

    def __call__(self, pixels: Tensor, stream: Stream) -> Tensor:
        """Vary images, the i-th by the i-th numbers of the stream and mixed with the next one.

        Args:
            pixels: Shape (images, height, width, channels), any type.
            stream: Source of the randomness.

        Returns:
            float32 of the same shape, in units of a pixel.
        """
        import torch

        count = len(pixels)
        x = self._zoomed(pixels, stream) if self.zoom < 1 else pixels.to(torch.float32, copy=True)
        if self.shift:
            x = shifted(x, random_offsets(stream.named("shift"), count, self.shift))
        if self.flip:
            mirrored = torch.from_numpy(stream.named("flip").uniform(count)) < 0.5
            x[mirrored] = x[mirrored].flip(2)
        # In place, one after the other: thousands of photographs are held only once.
        first = x[:1].clone()
        for i, share in enumerate(stream.named("mix").uniform(count)):
            x[i].lerp_(x[i + 1] if i + 1 < count else first[0], self.mix * float(share))
        return x

    def _zoomed(self, x: Tensor, stream: Stream) -> Tensor:
        import torch
        from torch.nn import functional

        count, height, width, _ = x.shape
        side = self.zoom + (1 - self.zoom) * stream.named("zoom").uniform(count)
        top, left = (stream.named(f"zoom {axis}").uniform(count) for axis in "yx")
        result = torch.empty(x.shape)
        for i in range(count):
            h, w = max(1, round(float(side[i]) * height)), max(1, round(float(side[i]) * width))
            y, z = int(top[i] * (height - h + 1)), int(left[i] * (width - w + 1))
            part = x[i, y : y + h, z : z + w].float().permute(2, 0, 1)[None]
            part = functional.interpolate(part, (height, width), mode="bilinear")
            result[i] = part[0].permute(1, 2, 0)
        return result


def shifted(pixels: Tensor, offsets: Tensor) -> Tensor:
    """Shift every image by its own offset; black moves in.

    y[i, r, c] = x[i, r + offsets[0, i], c + offsets[1, i]], zero outside the image

    Args:
        pixels: Shape (images, height, width, channels).
        offsets: Rows and columns, int64, shape (2, images).

    Returns:
        The shape of `pixels`.
    """
    import torch
    from torch.nn import functional

    count, height, width, _ = pixels.shape
    margin = int(offsets.abs().max()) if count else 0
    padded = functional.pad(pixels, (0, 0, margin, margin, margin, margin))
    rows = torch.arange(height)[None, :] + offsets[0][:, None] + margin
    columns = torch.arange(width)[None, :] + offsets[1][:, None] + margin
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def random_offsets(stream: Stream, count: int, largest: int) -> Tensor:
    """Return whole numbers from -largest to largest, int64, shape (2, count)."""
    import torch

    axes = [torch.from_numpy(stream.named(axis).uniform(count)).double() for axis in "yx"]
    return (torch.stack(axes) * (2 * largest + 1)).long() - largest


DIGITS = Preprocessing((4.9,), (6.0,))
# x / 255 less its mean, over its standard deviation, both over the training set.
MNIST = Preprocessing((255 * 0.1307,), (255 * 0.3081,))
CIFAR10 = Preprocessing(
    (255 * 0.485, 255 * 0.456, 255 * 0.406), (255 * 0.229, 255 * 0.224, 255 * 0.225)
)
SQUEEZENET = Preprocessing((104.0, 117.0, 123.0), (1.0, 1.0, 1.0), reverse=True)
MOBILENET = Preprocessing((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
