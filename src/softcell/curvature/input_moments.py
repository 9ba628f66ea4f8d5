"""Second moments of the inputs of every layer, seen by one pass through the network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from softcell.curvature.gradients import PROGRESS, require_batches, undisturbed
from softcell.curvature.layer import block_width, matrices
from softcell.progress import Progress

_CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)
# What multi_head_attention_forward takes behind query, key and value, in order.
_ATTENTION = (
    *("embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v"),
    *("add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias"),
)


class MomentSum:
    """Running sums for one matrix, as if the loss were half the squared change of its outputs."""

    def __init__(self, weight: Tensor, groups: int) -> None:
        """Start with nothing seen of a parameter whose rows form groups."""
        outputs = len(weight)
        width = block_width(weight.numel() // outputs)
        self._blocks = weight.numel() // outputs // width
        zeros = partial(torch.zeros, dtype=torch.float32, device=weight.device)
        self.covariance = zeros((self._blocks * groups, width, width))
        self.rows = zeros(self._blocks * outputs)

    def add_inputs(self, inputs: Tensor, first: int = 0) -> None:
        """Add input vectors, shape (groups, vectors, columns), of the groups from a first one."""
        vectors, width = inputs.shape[1], self.covariance.shape[1]
        x = inputs.float().reshape(len(inputs), vectors, self._blocks, width)
        moments = x.permute(2, 0, 3, 1) @ x.permute(2, 0, 1, 3)
        part = slice(first, first + len(inputs))
        self.covariance.view(self._blocks, -1, width, width)[:, part] += moments
        losses = moments.diagonal(dim1=2, dim2=3).mean(dim=2)
        rows = self.rows.view(self._blocks, -1, len(self.rows) // len(self.covariance))
        rows[:, part] += losses[:, :, None]

    def add_choices(self, indices: Tensor) -> None:
        """Add choices of rows, as an embedding makes them: the output is the row itself."""
        outputs = len(self.rows) // self._blocks
        counts = torch.bincount(indices.flatten(), minlength=outputs).float()
        self.rows += counts.repeat(self._blocks)
        self.covariance.diagonal(dim1=1, dim2=2).add_(counts.mean())


def input_moments(
    module: nn.Module,
    images: Tensor,
    *,
    batch: int,
    progress: Progress | None,
) -> dict[str, MomentSum]:
    """Accumulate the second moments of the inputs of a network's matrices.

    The calls of torch's functions are watched, not those of the layers: a layer that pads its
    inputs itself is seen as it computes, and weights used without a layer are seen too.

    Args:
        module: Any module; left as it was found.
        images: Inputs, shape (images, ...).
        batch: Images that go through together, >= 1.
        progress: Called after each batch.

    Returns:
        Sums over all images by the first name of a parameter, for the matrices whose inputs were
        seen: in linear, embedding and attention layers and in convolutions, transposed ones apart.

    Raises:
        InputError: No images, or a batch below 1.
    """
    require_batches(images, batch)
    watch = _Watch(matrices(module))
    buffers = {name: buffer.detach().clone() for name, buffer in module.named_buffers()}
    with undisturbed(module), torch.no_grad():
        for start in range(0, len(images), batch):
            inputs = images[start : start + batch]
            with watch:
                torch.func.functional_call(module, buffers, (inputs,))
            if progress is not None:
                progress(PROGRESS, start + len(inputs), len(images))
    return watch.sums


class _Watch(TorchFunctionMode):
    """Look at the inputs that meet the watched parameters."""

    def __init__(self, watched: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._names = {id(parameter): name for name, parameter in watched.items()}
        self.sums: dict[str, MomentSum] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Note what a function is called with, then call it."""
        named = kwargs or {}
        if func is functional.linear:
            self._linear(*_arguments(args, named, "input", "weight"))
        elif func in _CONVOLUTIONS:
            self._convolution(*args, **named)
        elif func is functional.embedding:
            indices, weight = _arguments(args, named, "input", "weight")
            if (found := self._sum(weight, 1)) is not None:
                found.add_choices(indices)
        elif func is functional.multi_head_attention_forward:
            return self._attention(*args, **named)
        return func(*args, **named)

    def _sum(self, weight: Tensor, groups: int) -> MomentSum | None:
        name = self._names.get(id(weight))
        if name is None:
            return None
        if name not in self.sums:
            self.sums[name] = MomentSum(weight, groups)
        return self.sums[name]

    def _linear(self, x: Tensor, weight: Tensor, part: int = 0, parts: int = 1) -> None:
        if (found := self._sum(weight, parts)) is not None:
            found.add_inputs(x.reshape(1, -1, x.shape[-1]), part)

    def _convolution(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> None:
        if (found := self._sum(weight, groups)) is not None:
            found.add_inputs(_patches(input, weight, stride, padding, dilation, groups))

    def _attention(
        self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **named: Any
    ) -> Any:
        """Note the inputs of an attention's four projections, the last as the identity shows it."""
        call = dict(zip(_ATTENTION, args)) | named
        if call.get("use_separate_proj_weight"):
            for x, kind in ((query, "q"), (key, "k"), (value, "v")):
                self._linear(x, call[f"{kind}_proj_weight"])
        else:
            for part, x in enumerate((query, key, value)):
                self._linear(x, call["in_proj_weight"], part, 3)
        weight, bias = call["out_proj_weight"], call["out_proj_bias"]
        identity = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
        call |= {"out_proj_weight": identity, "out_proj_bias": None}
        joined, shares = functional.multi_head_attention_forward(query, key, value, **call)
        self._linear(joined, weight)
        return functional.linear(joined, weight, bias), shares


def _arguments(args: tuple[Any, ...], named: Mapping[str, Any], *names: str) -> list[Any]:
    return [args[i] if i < len(args) else named[name] for i, name in enumerate(names)]


def _patches(
    x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    """Return what a convolution multiplies its filters by: (groups, vectors, columns)."""
    taps = weight.shape[2:]
    x = x if x.ndim == len(taps) + 2 else x[None]
    strides, dilations = _each(stride, len(taps)), _each(dilation, len(taps))
    reach = [d * (k - 1) for d, k in zip(dilations, taps)]
    if padding == "same":  # the larger half comes last
        sides = [(r // 2, r - r // 2) for r in reach]
    else:
        sides = [(p, p) for p in _each(0 if padding == "valid" else padding, len(taps))]
    x = functional.pad(x, [size for pair in reversed(sides) for size in pair])
    for axis, (r, s, d) in enumerate(zip(reach, strides, dilations), start=2):
        x = x.unfold(axis, r + 1, s)[..., ::d]
    images, channels = x.shape[:2]
    inner = channels // groups
    positions = x.shape[2 : 2 + len(taps)].numel()
    x = x.reshape(images, groups, inner, positions, taps.numel())
    return x.permute(1, 0, 3, 2, 4).reshape(groups, images * positions, inner * taps.numel())


def _each(value: Any, axes: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values
