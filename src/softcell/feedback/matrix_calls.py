"""Calls that multiply by a matrix of a network, wherever they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, conv1d, conv2d, conv3d, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from softcell.curvature.layer import matrices

_CONVOLUTIONS = (conv1d, conv2d, conv3d)


@dataclass(frozen=True, eq=False)
class MatrixCall:
    """A call of torch's `linear` or of one of its convolutions, with its arguments.

    A linear layer is a convolution without taps here.
    """

    function: Callable[..., Tensor]
    input: Tensor
    weight: Tensor
    bias: Tensor | None = None
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1

    def __call__(self) -> Tensor:
        """Call the function."""
        shape = (self.stride, self.padding, self.dilation, self.groups)
        rest = () if self.function is functional.linear else shape
        return self.function(self.input, self.weight, self.bias, *rest)

    def without_bias(self, output: Tensor) -> Tensor:
        """Return an output of this call less the bias."""
        if self.bias is None:
            return output
        return output - self.bias.reshape(-1, *(1,) * (self.weight.ndim - 2))

    def windows(self) -> Tensor:
        """Return a view of the vectors that the rows are multiplied by: (n, channels, *at, *taps).

        `at` are the positions of the output, none for a linear layer.
        """
        taps = self.weight.shape[2:]
        if not taps:
            return self.input.reshape(-1, self.weight.shape[1])
        x = self.input if self.input.ndim > len(taps) + 1 else self.input[None]
        strides, dilations = _each(self.stride, len(taps)), _each(self.dilation, len(taps))
        reach = [d * (k - 1) for d, k in zip(dilations, taps)]
        if self.padding == "same":  # the larger half comes last
            sides = [(r // 2, r - r // 2) for r in reach]
        else:
            padding = 0 if self.padding == "valid" else self.padding
            sides = [(p, p) for p in _each(padding, len(taps))]
        x = functional.pad(x, [size for pair in reversed(sides) for size in pair])
        for axis, (r, s, d) in enumerate(zip(reach, strides, dilations), start=2):
            x = x.unfold(axis, r + 1, s)[..., ::d]
        return x


class MatrixWatch(TorchFunctionMode):
    """Within it, every call that multiplies by one of some matrices is made by `multiply`.

    Calls are watched rather than layers: one that pads its inputs itself is seen as it computes,
    and so are weights that are used without the layer that they belong to.

    Args:
        matrices: Names by the identity of a tensor.
        multiply: Called with the name of the matrix and the call; returns the result.
        other: Called with the names of the matrices of any other call that makes a tensor.
    """

    def __init__(
        self,
        matrices: Mapping[int, str],
        multiply: Callable[[str, MatrixCall], Tensor],
        other: Callable[[set[str]], None] | None = None,
    ) -> None:
        super().__init__()
        self._names, self._multiply, self._other = matrices, multiply, other

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Have the call made by `multiply`, or make it."""
        named = kwargs or {}
        used = [id(each) for each in _tensors_in((args, named)) if id(each) in self._names]
        if len(used) == 1 and (func is functional.linear or func in _CONVOLUTIONS):
            call = MatrixCall(func, *args, **named)
            if id(call.weight) == used[0]:
                return self._multiply(self._names[used[0]], call)
        result = func(*args, **named)
        if used and self._other is not None and any(True for _ in _tensors_in(result)):
            self._other({self._names[each] for each in used})
        return result


def matrices_used_once(module: nn.Module, run: Callable[[], object]) -> dict[str, MatrixCall]:
    """Return the calls of the matrices that one run multiplies by once and uses in no other way.

    Args:
        module: The network.
        run: Runs it.

    Returns:
        Calls by the first name of a floating-point parameter of two dimensions or more.
    """
    found: dict[str, MatrixCall | None] = {}

    def multiply(name: str, call: MatrixCall) -> Tensor:
        found[name] = None if name in found else call
        return call()

    def other(names: set[str]) -> None:
        found.update(dict.fromkeys(names))

    names = {id(matrix): name for name, matrix in matrices(module).items()}
    with MatrixWatch(names, multiply, other):
        run()
    return {name: call for name, call in found.items() if call is not None}


def _tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield all tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors_in(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _tensors_in(each)


def _each(value: Any, axes: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values
