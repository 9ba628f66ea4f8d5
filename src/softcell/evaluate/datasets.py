"""The images of the tasks: read from the data folder, never downloaded."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softcell.errors import FormatError, InputError
from softcell.extras import require_extra

_CIFAR10_FILES = 4  # training files, of 10,000 images each
_RESERVED = 5  # every fifth ImageNet image is kept for calibration


@dataclass(frozen=True)
class Images:
    """Images and what they show.

    Args:
        pixels: uint8, shape (images, height, width, channels), RGB or grey, 0 to 255 (digits: 0
            to 16).
        labels: Class of each image, int64, shape (images,).
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.labels.shape != self.pixels.shape[:1]:
            raise FormatError(
                "expected pixels (images, height, width, channels) and one label for each, got "
                f"{self.pixels.shape} and {self.labels.shape}; restore the data files"
            )


@dataclass(frozen=True)
class Dataset:
    """Where the images of one task come from.

    Args:
        test_images: Number of test images.
        held_out: Indices of the test images that calibration never draws from, increasing.
        test: Reads the test images of the given indices, in their order.
        training: Reads the images that calibration and training draw from. For ImageNet, of which
            there are no others, these are the test images that are not held out.
    """

    test_images: int
    held_out: NDArray[np.int64]
    test: Callable[[NDArray[np.int64]], Images]
    training: Callable[[], Images]


def data_file(name: str) -> Path:
    """Return the path of a file in the data folder, which SOFTCELL_DATA names.

    Args:
        name: File name, such as `mnist.npz`.

    Raises:
        InputError: The variable is not set, or the folder holds no such file.
    """
    folder = os.environ.get("SOFTCELL_DATA")
    hint = "the task 'digits' needs no data"
    if not folder:
        raise InputError(
            f"{name} is needed: set the environment variable SOFTCELL_DATA to the folder that "
            f"holds it ({hint})"
        )
    path = Path(folder) / name
    if not path.is_file():
        raise InputError(
            f"{name} is not in {folder}: set SOFTCELL_DATA to the folder that holds it ({hint})"
        )
    return path


def _arrays(name: str, *keys: str) -> list[np.ndarray]:
    path = data_file(name)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return [archive[key] for key in keys]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path} is damaged ({error}); restore the file") from error


def _decode(source: Path | io.BytesIO, name: str) -> NDArray[np.uint8]:
    require_extra("images")
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(source) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise FormatError(f"{name} is no whole image ({error}); restore the file") from error


def _digits() -> tuple[Images, NDArray[np.bool_]]:
    require_extra("digits")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = bunch.images.astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    # 500 of 1797, spread evenly and the same for ever: no random number decides.
    chosen = np.arange(len(labels)) * 500 % len(labels) < 500
    return Images(pixels, labels), chosen


def _digits_test(indices: NDArray[np.int64]) -> Images:
    images, chosen = _digits()
    return Images(images.pixels[chosen][indices], images.labels[chosen][indices])


def _digits_training() -> Images:
    images, chosen = _digits()
    return Images(images.pixels[~chosen], images.labels[~chosen])


def _mnist_test(indices: NDArray[np.int64]) -> Images:
    pixels, labels = _arrays("mnist.npz", "x_test", "y_test")
    return Images(pixels[indices][..., None], labels[indices])


def _mnist_training() -> Images:
    pixels, labels = _arrays("mnist.npz", "x_train", "y_train")
    return Images(pixels[..., None], labels)


def _cifar10_test(indices: NDArray[np.int64]) -> Images:
    pixels, labels = _arrays("cifar10_test1000.npz", "x_test", "y_test")
    return Images(pixels[indices], labels[indices])


def _cifar10_training() -> Images:
    (labels,) = _arrays("cifar10_train_labels.npz", "y_train")
    pixels = np.empty((_CIFAR10_FILES, 10_000, 32, 32, 3), np.uint8)
    for part in range(_CIFAR10_FILES):
        name = f"cifar10_train_{part}.webp"
        grid = _decode(data_file(name), name)
        if grid.shape != (3200, 3200, 3):
            raise FormatError(f"{name} must be 3200x3200 pixels, got {grid.shape}; restore it")
        # A grid of 100 x 100 tiles, row by row.
        tiles = grid.reshape(100, 32, 100, 32, 3).transpose(0, 2, 1, 3, 4)
        pixels[part] = tiles.reshape(-1, 32, 32, 3)
    flat = pixels.reshape(-1, 32, 32, 3)
    return Images(flat, labels[: len(flat)])


def _imagenet_test(indices: NDArray[np.int64]) -> Images:
    name = "imagenet1000_224_jpeg.npz"
    jpeg, offsets, labels = _arrays(name, "jpeg", "offsets", "labels")
    pixels = np.empty((len(indices), 224, 224, 3), np.uint8)
    for row, index in enumerate(indices):
        data = io.BytesIO(jpeg[offsets[index] : offsets[index + 1]].tobytes())
        image = _decode(data, f"image {index} of {name}")
        if image.shape != (224, 224, 3):
            raise FormatError(f"image {index} of {name} must be 224x224, got {image.shape}")
        pixels[row] = image
    return Images(pixels, labels[indices])


def _imagenet_training() -> Images:
    return _imagenet_test(np.arange(_RESERVED - 1, 1000, _RESERVED))


_IMAGENET_HELD_OUT = np.flatnonzero(np.arange(1000) % _RESERVED != _RESERVED - 1)

DATASETS: dict[str, Dataset] = {
    "digits": Dataset(500, np.arange(500), _digits_test, _digits_training),
    "mnist": Dataset(10_000, np.arange(10_000), _mnist_test, _mnist_training),
    "cifar10": Dataset(1000, np.arange(1000), _cifar10_test, _cifar10_training),
    "imagenet": Dataset(1000, _IMAGENET_HELD_OUT, _imagenet_test, _imagenet_training),
}
