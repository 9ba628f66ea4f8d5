"""The networks of the tasks, as plain modules whose tensors bear the names of the shared files."""

from typing import TYPE_CHECKING

from softcell.exports import imported_on_use

if TYPE_CHECKING:
    from softcell.evaluate.networks.digits_cnn import DigitsCNN
    from softcell.evaluate.networks.lenet import LeNet5, LeNet300
    from softcell.evaluate.networks.loading import with_weights
    from softcell.evaluate.networks.mobilenet import MobileNetV1Quarter, MobileNetV2
    from softcell.evaluate.networks.normalization import BatchNorm
    from softcell.evaluate.networks.resnet import CifarResNet
    from softcell.evaluate.networks.squeezenet import SqueezeNet
else:
    __getattr__, __dir__ = imported_on_use(__name__)

__all__ = [
    "BatchNorm",
    "CifarResNet",
    "DigitsCNN",
    "LeNet5",
    "LeNet300",
    "MobileNetV1Quarter",
    "MobileNetV2",
    "SqueezeNet",
    "with_weights",
]
