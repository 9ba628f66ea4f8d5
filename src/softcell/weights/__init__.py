"""Networks as named tensors, read and written one at a time."""

from softcell.weights.replaced import ReplacedWeights
from softcell.weights.safetensors_file import (
    NetworkWeights,
    Weights,
    WeightsReader,
    WeightsWriter,
    parse_weights,
)
from softcell.weights.safetensors_header import TensorInfo
from softcell.weights.state_dict import StateDictWeights
from softcell.weights.tensor_values import decode as tensor_of_bytes

__all__ = [
    "NetworkWeights",
    "ReplacedWeights",
    "StateDictWeights",
    "TensorInfo",
    "Weights",
    "WeightsReader",
    "WeightsWriter",
    "parse_weights",
    "tensor_of_bytes",
]
