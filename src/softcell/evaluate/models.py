"""The models of every task: network, normalisation, and where the weights come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from softcell.errors import InputError
from softcell.evaluate import preprocessing
from softcell.evaluate.preprocessing import Augmentation, Preprocessing

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ImageCounts:
    """How many images serve what is learnt of a network and measured of it, besides test images.

    Args:
        curvature: Images that its curvature is computed on.
        correction: Images that drift correction goes by.
        sequence: Images that a network is written layer after layer with.
        judged: Images on which a stored network is compared with the float one.
        together: Of these, images that go through together.
    """

    curvature: int = 2000
    correction: int = 200
    sequence: int = 300
    judged: int = 2000
    together: int = 50


_LARGE = ImageCounts(curvature=400, correction=100, sequence=60, judged=200, together=4)
"""Of images of 224 x 224 pixels: their many places make up for the number."""


@dataclass(frozen=True)
class Model:
    """A network that a task can be done with.

    Args:
        network: Makes the network.
        preprocessing: Its normalisation.
        augmentation: How its calibration images are varied, such that they are new to it.
        variation: How training images are varied to be such as it may meet, see `Task.validation`.
        weights: Name of its safetensors file in the data folder; None for a network that
            `softcell.evaluate.small_networks` trains.
        batch: Images that are evaluated together; so few that their activations stay in cache.
        accuracy: Accuracy on new images, from 0 to 1, as it is published of this network or of
            others like it: not measured on our test images.
        counts: How many images serve for what.
    """

    network: Callable[[], nn.Module]
    preprocessing: Preprocessing
    augmentation: Augmentation
    variation: Augmentation
    weights: str | None
    batch: int
    accuracy: float
    counts: ImageCounts = ImageCounts()


def _network(name: str, *arguments: int) -> Callable[[], nn.Module]:
    """Return what makes a network of `softcell.evaluate.networks`: torch is imported only then."""

    def make() -> nn.Module:
        from softcell.evaluate import networks

        made: nn.Module = getattr(networks, name)(*arguments)
        return made

    return make


_DIGITS = partial(
    Model,
    preprocessing=preprocessing.DIGITS,
    augmentation=Augmentation(shift=1, mix=0.25),
    variation=Augmentation(shift=1, mix=0.0),
    weights=None,
)
_MNIST = partial(
    Model,
    preprocessing=preprocessing.MNIST,
    augmentation=Augmentation(shift=2, mix=0.25),
    variation=Augmentation(shift=1, mix=0.0),
    weights=None,
)
_CIFAR10 = partial(
    Model,
    preprocessing=preprocessing.CIFAR10,
    augmentation=Augmentation(shift=4, flip=True),
    variation=Augmentation(shift=4, flip=True, mix=0.0),
    batch=50,
)
_IMAGENET = partial(
    Model,
    augmentation=Augmentation(zoom=0.6, flip=True, mix=0.25),
    variation=Augmentation(zoom=0.6, flip=True, mix=0.0),
    batch=4,
    counts=_LARGE,
)

# The first model of a task is the one that is taken when none is named.
TASKS: dict[str, dict[str, Model]] = {
    # Of digits nothing is published for this network: assumed.
    "digits": {"cnn": _DIGITS(_network("DigitsCNN"), batch=100, accuracy=0.98)},
    # Han et al., "Deep compression", ICLR 2016, Table 1.
    "mnist": {
        "lenet-300-100": _MNIST(_network("LeNet300"), batch=250, accuracy=0.9836),
        "lenet5": _MNIST(_network("LeNet5"), batch=50, accuracy=0.992),
    },
    # Table of the repository that the weights are from, akamaster/pytorch_resnet_cifar10.
    "cifar10": {
        f"resnet{depth}": _CIFAR10(
            _network("CifarResNet", depth),
            weights=f"cifar10_resnet{depth}.safetensors",
            accuracy=accuracy,
        )
        for depth, accuracy in ((20, 0.9173), (32, 0.9263), (56, 0.9339))
    },
    "imagenet": {
        "squeezenet1_1": _IMAGENET(
            _network("SqueezeNet"),
            preprocessing=preprocessing.SQUEEZENET,
            weights="imagenet_squeezenet1_1.safetensors",
            accuracy=0.582,  # torchvision's table of SqueezeNet 1.1
        ),
        "mobilenet_v2": _IMAGENET(
            _network("MobileNetV2"),
            preprocessing=preprocessing.MOBILENET,
            weights="imagenet_mobilenet_v2.safetensors",
            accuracy=0.718,  # Sandler et al., CVPR 2018, arXiv 1801.04381 v4, Table 4 (72.0) and
            # torchvision's table (71.88)
        ),
        "mobilenet_v1_025": _IMAGENET(
            _network("MobileNetV1Quarter"),
            preprocessing=preprocessing.MOBILENET,
            weights="imagenet_mobilenet_v1_025.safetensors",
            accuracy=0.498,  # TF-Slim's table of MobileNet_v1_0.25_224
        ),
    },
}


def require_recipe(task: str, model: str) -> None:
    """Raise InputError unless softcell trains the network itself, from random weights."""
    trained = [(t, m) for t, models in TASKS.items() for m in models if not models[m].weights]
    if (task, model) not in trained:
        known = ", ".join(" ".join(names) for names in trained)
        raise InputError(f"no recipe to train {task} {model}; there are: {known}")
