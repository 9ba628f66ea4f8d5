"""Sequential storage: every layer is stored knowing what the stored layers before it give."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from softcell.curvature.gradients import undisturbed
from softcell.curvature.layer import WIDEST, matrices
from softcell.errors import InputError
from softcell.feedback.corrected_layer import CorrectedLayer, corrected_layers, watched
from softcell.feedback.drift import DriftCorrection
from softcell.feedback.input_drift import refitted
from softcell.feedback.lockstep import handed_over
from softcell.feedback.matrix_calls import MatrixCall, MatrixWatch, matrices_used_once
from softcell.feedback.stored_tensors import StoredTensors
from softcell.streams import Stream

Store = Callable[[str, NDArray[np.float32]], NDArray[np.float32]]
"""Stores the tensor of a name with wanted values; returns what the decoder will see."""

_ORDER = (
    "the stored network uses other layers than the float network, or in another order; what is "
    "used must not depend on the weights or the number of images"
)
_Item = tuple[str, Any]  # the name of a matrix or a layer, and what the float network has there


class SequentialWrite:
    """Store a network layer after layer, each fitted to what the stored ones before it give.

    Errors in the weights stored so far change the inputs of the layers to come. Before a layer is
    stored its wanted weights are shifted such that, with the stored network's inputs, it gives what
    it gives in the float network (least squares, see `refitted`):

    W* = W + share E[(y_f - W x_q) x_q^T] (E[x_q x_q^T] + damping mean(diag) I)^-1

    with y_f the layer's output in the float network, before its bias, and x_q its input in the
    stored one, on the same images. Normalisations and biases are corrected on the way as
    `DriftCorrection` does it. No gradients, and no labels.

    Shifted are the matrices that a forward pass uses once, in a linear layer or a convolution, if
    they have one name and at most 8192 columns (inputs of a group times taps). All others, such
    as the projections of an attention, embeddings and layers that are used twice, are stored as
    they are, before the first layer.

    The float network and the stored one run at once, in turn, one layer after the other: memory
    for the activations of both, and, for a layer of c columns in g groups, 16 g c^2 bytes.

    Args:
        module: The float network; it is run in evaluation mode and on one thread, and left as it
            was found. Its weights must stay as they are.
        images: Inputs, shape (images, ...), of the type and on the device of the module, of the
            kind that the network meets in use.
        share: Share of the shift that is made, from 0 to 1. A half left less divergence than
            the whole on other images, on ResNet-20 and ResNet-56.
        damping: Weight that keeps a layer where it is, relative to the mean square of its inputs,
            > 0.
        positions: Input vectors of a layer that the fit uses at most, >= 1.
        seed: Seed of their choice, 0 to 2**63 - 1.

    Raises:
        InputError: No images, or an argument outside its range.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
        >>> state = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
        >>> storage = SequentialWrite(net, torch.rand(8, 2))
        >>> sorted(storage(state, lambda name, wanted: np.round(wanted, 1)))
        ['0.bias', '2.bias']

    Source:
        Li et al., GPTAQ, arXiv 2504.02692 (a quantised network's inputs, the float
        network's outputs).
    """

    def __init__(
        self,
        module: nn.Module,
        images: Tensor,
        *,
        share: float = 0.5,
        damping: float = 0.03,
        positions: int = 40_000,
        seed: int = 0,
    ) -> None:
        if not 0 <= share <= 1:
            raise InputError(f"share must be from 0 to 1, got {share}")
        if not 0 < damping < np.inf:
            raise InputError(f"damping must be above 0, got {damping}")
        if positions < 1:
            raise InputError(f"positions must be at least 1, got {positions}")
        self._drift = DriftCorrection(module, images)
        self._module, self._images = module, images
        self._share = share
        self._fit = partial(refitted, share=share, damping=damping, positions=positions)
        self._stream = Stream.of(seed, "sequential")
        self._layers = tuple(corrected_layers(module))

    def __call__(
        self,
        state: Mapping[str, NDArray[np.generic]],
        store: Store,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, NDArray[np.floating]]:
        """Store every matrix of a network.

        Args:
            state: The tensors to be stored, all those of the module among them, by their names in
                its state dict.
            store: Called once with each name in `state` of a floating-point tensor of two
                dimensions or more and its wanted values, float32, of its shape; returns what the
                decoder will see, of the same shape.
            progress: Called with (matrices stored, matrices in all) after each.

        Returns:
            What is to be replaced among the other tensors, as `correct_drift` returns it.

        Raises:
            InputError: A tensor is missing or has another shape, `store` returns another shape, or
                activations are not finite; the layer is named.
        """
        module = self._module
        stored = StoredTensors(module, state)
        arrays = {name: np.asarray(array) for name, array in state.items()}
        waiting = {
            name: array
            for name, array in arrays.items()
            if array.ndim >= 2 and np.issubdtype(array.dtype, np.floating)
        }
        seen: dict[str, NDArray[np.float32]] = {}

        def put(name: str, wanted: NDArray[np.generic]) -> None:
            array = np.asarray(store(name, np.array(wanted, np.float32)))
            if array.shape != wanted.shape:
                raise InputError(
                    f"what store returns for {name!r} must have shape {wanted.shape}, "
                    f"got {array.shape}"
                )
            seen[name] = array
            stored.replace(name, array)
            if progress is not None:
                progress(len(seen), len(waiting))

        with undisturbed(module), torch.no_grad():
            uses: Counter[CorrectedLayer] = Counter()
            with watched(self._layers, lambda layer, _: uses.update([layer])):
                once = matrices_used_once(module, lambda: self._run_float(self._images[:2]))
            shifted = {
                each: name
                for name, matrix in matrices(module).items()
                if name in (waiting.keys() & once.keys())
                and once[name].weight[0].numel() <= WIDEST
                and stored.names[each := id(matrix)] == [name]
            }
            for name, array in waiting.items():
                if name not in shifted.values():
                    put(name, array)
            self._advance(stored, shifted, put)
            if len(seen) < len(waiting):
                raise InputError(_ORDER)
            if max(uses.values(), default=0) > 1:
                # What several uses need together is known only after the last of them.
                return self._drift({**state, **seen})
        return stored.arrays(tensor for layer in uses for tensor in layer.corrected)

    def _run_float(self, images: Tensor) -> None:
        buffers = {name: buffer.clone() for name, buffer in self._module.named_buffers()}
        torch.func.functional_call(self._module, buffers, (images,))

    def _float_items(self, shifted: Mapping[int, str], hand: Callable[[_Item], None]) -> None:
        """Hand over outputs of the shifted matrices and moments, in the order of execution."""
        met: set[str] = set()

        def meet(layer: CorrectedLayer, x: Tensor) -> None:
            if layer.name not in met:
                met.add(layer.name)
                hand((layer.name, layer.moments(x, "float")))

        def multiply(name: str, call: MatrixCall) -> Tensor:
            result = call()
            hand((name, call.without_bias(result)))
            return result

        with torch.no_grad(), watched(self._layers, meet), MatrixWatch(shifted, multiply):
            self._run_float(self._images)

    def _advance(
        self,
        stored: StoredTensors,
        shifted: Mapping[int, str],
        put: Callable[[str, NDArray[np.generic]], None],
    ) -> None:
        """Run both networks at once; fit, store and correct the second layer after layer."""
        copied = copy.deepcopy(self._module)
        corrected = {  # taken now: while it runs, the float network has other buffers
            layer.name: [stored.of(tensor) for tensor in layer.corrected] for layer in self._layers
        }
        met: set[str] = set()

        def take(name: str) -> Any:
            there, item = next(floats, (None, None))
            if there != name:
                raise InputError(_ORDER)
            return item

        def meet(layer: CorrectedLayer, x: Tensor) -> Tensor | None:
            if layer.name in met:
                return None
            met.add(layer.name)
            there = take(layer.name)
            return layer.correct(corrected[layer.name], there, layer.moments(x, "stored"))

        def multiply(name: str, call: MatrixCall) -> Tensor:
            put(name, self._wanted(name, call, take(name)))
            return call()

        floats: Generator[_Item, None, None] = handed_over(
            lambda hand: self._float_items(shifted, hand)
        )
        values = {id(stored.values[name]): name for name in shifted.values()}
        with (
            closing(floats),
            watched(tuple(corrected_layers(copied)), meet),
            MatrixWatch(values, multiply),
        ):
            torch.func.functional_call(copied, stored.values, (self._images,))
            if next(floats, None) is not None:
                raise InputError(_ORDER)

    def _wanted(self, name: str, call: MatrixCall, target: Tensor) -> NDArray[np.floating]:
        """Return the wanted values of a matrix that holds those of the state."""
        if self._share == 0:
            return call.weight.float().numpy(force=True)
        try:
            fitted = self._fit(call, target, stream=self._stream.named(name))
        except InputError as error:
            raise InputError(f"where {name!r} is used, {error}") from error
        return fitted.numpy(force=True)
