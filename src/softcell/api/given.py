"""Networks as users give them: kept as they are, and turned into arrays and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

from numpy.typing import NDArray

from softcell.weights import NetworkWeights, parse_weights
from softcell.weights.like import tensors_like


def kept_tensors(network: NetworkWeights) -> NetworkWeights:
    """Return a network that stays as it is when `evaluate` overwrites the tensors that were given.

    A state dict is not a copy of a module's tensors: it shares their memory.
    """
    if not isinstance(network, Mapping):
        return network
    return deepcopy({n: v.detach() if hasattr(v, "detach") else v for n, v in network.items()})


def arrays_of(network: NetworkWeights) -> tuple[dict[str, NDArray[Any]], Callable[[Any], Any]]:
    """Return tensors as arrays, and what turns restored arrays into the network's own kind."""
    with parse_weights(network) as weights:
        state = {name: weights.read(name) for name in weights.names}
    if not isinstance(network, Mapping) or not any(hasattr(v, "detach") for v in network.values()):
        return state, dict
    return state, partial(tensors_like, like=network)
