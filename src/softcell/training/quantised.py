"""Entropy-coded quantisation in the training loop: what the decoder sees, and what it costs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from softcell.codes.entropy.code_lengths import code_lengths
from softcell.codes.entropy.index_coding import trace_indices
from softcell.codes.entropy.index_models import CLASSES
from softcell.codes.entropy.stream import encode_quantised, stored_steps
from softcell.codes.entropy.trellis_kernels import LEVELS
from softcell.errors import InputError
from softcell.training.storage import Storage, rows_of, straight_through

_LAST = LEVELS - 1
_LESS = 1e-3
_OCTAVES = 24
"""Octaves of magnitudes above the last of the table."""


class QuantisedStorage(Storage):
    """A matrix rounded to steps that are learned, and the bits of its indices.

    Forward, with the step s as a stream keeps it,

    u = w / s,   read back: round(u) s,

    where rounding passes the gradient on, so that d/dw = 1 and d/ds = round(u) - u.

    Bits are the real coder's: the matrix is coded now and then, and until the next time an index
    costs what the adaptive models charge for it in the context in which it was met. The gradient
    is that of the expected bits of an index that is rounded after adding noise uniform in +-1/2,
    which is the straight line between the costs of its two neighbours; no noise is drawn. What an
    index changes in the contexts of others is left out.

    Args:
        weight: The matrix, float32, of two and more dimensions.
        step: First step, in root mean squares of its weights, above 0; or the first steps
            themselves, an array of shape (1,) or (rows,).
        by_row: A step for each row; by default one for the matrix. An array says so itself.
        refresh: Calls of `bits` in training between two codings, at least 1.

    Raises:
        InputError: An argument is out of range, or a weight is not finite.

    Example:
        >>> weight = torch.tensor([[1.0, -1.0], [0.2, 0.1]], requires_grad=True)
        >>> storage = QuantisedStorage(weight, step=1.4)
        >>> storage(weight).tolist()
        [[1.0078125, -1.0078125], [0.0, 0.0]]

    Source:
        Esser et al., "Learned step size quantization", ICLR 2020, arXiv 1902.08153 (gradient of
        the step; the logarithm of the step is learned here). Ballé, Laparra and Simoncelli,
        "End-to-end optimized image compression", ICLR 2017, arXiv 1611.01704, and Oktay et al.,
        "Scalable model compression by entropy penalized reparameterization", ICLR 2020, arXiv
        1906.06624 (rate relaxed by uniform noise).
    """

    log_step: Tensor
    places: Tensor
    lengths: Tensor
    excess: Tensor
    calls: Tensor

    def __init__(
        self,
        weight: Tensor,
        *,
        step: float | NDArray[np.floating] = 1.0,
        by_row: bool = False,
        refresh: int = 20,
    ) -> None:
        super().__init__()
        rows = rows_of(weight.detach().float())
        given = np.asarray(step, np.float64)
        if not (np.isfinite(given).all() and (given > 0).all()) or refresh < 1:
            raise InputError(f"expected step > 0 and refresh >= 1, got {step} and {refresh}")
        if given.ndim > 1 or (given.ndim and given.size not in (1, len(rows))):
            raise InputError(
                f"expected one step or one for each of {len(rows)} rows, got shape {given.shape}"
            )
        if weight.ndim < 2 or not weight.numel() or not bool(torch.isfinite(rows).all()):
            raise InputError(
                f"expected a matrix of finite weights, got shape {tuple(weight.shape)}"
                + (" with NaN or infinities" if weight.ndim > 1 and weight.numel() else "")
            )
        # A little less, so that steps that a stream has kept are not rounded up to the next.
        steps = torch.from_numpy(np.float32(given * (1 - _LESS)).reshape(-1))
        if not given.ndim:
            sizes = rows.square().mean(1).sqrt() if by_row else rows.square().mean().sqrt()[None]
            # A row of zeros has the step of a typical one, so that its weights may come back.
            typical = max(float(rows.square().mean().sqrt()), 1e-20)
            steps = float(given) * torch.where(sizes > 1e-3 * typical, sizes, typical)
        self.refresh = refresh
        self.log_step = nn.Parameter(steps.log())
        self.register_buffer("places", torch.zeros(rows.shape, dtype=torch.int32))
        self.register_buffer("lengths", torch.zeros(CLASSES, LEVELS + _OCTAVES))
        self.register_buffer("excess", torch.zeros(()))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.to(weight.device)
        self.learn_lengths(weight)

    def steps(self) -> Tensor:
        """Return the steps as a stream keeps them, shape (rows, 1) or (1, 1)."""
        free = self.log_step.exp()
        given = free.detach().cpu().numpy()
        if not np.isfinite(given).all():
            return free[:, None]  # the loss will say that training has diverged
        kept = torch.from_numpy(stored_steps(np.clip(given, 1e-30, 1e30))).to(free.device)
        return straight_through(free, kept)[:, None]

    def forward(self, weight: Tensor) -> Tensor:
        """Return what is decoded of the matrix."""
        seen: Tensor = _Rounded.apply(rows_of(weight.float()), self.steps())
        return seen.reshape(weight.shape).to(weight.dtype)

    def bits(self, weight: Tensor) -> Tensor:
        """Return the bits of the matrix's stream, its header and steps among them."""
        if self.training:
            if int(self.calls) % self.refresh == 0:
                self.learn_lengths(weight)
            self.calls += 1
        cost: Tensor = _Bits.apply(rows_of(weight.float()), self.steps(), self.places, self.lengths)
        return cost + self.excess

    def encode(self, weight: Tensor) -> bytes:
        """Return the matrix's stream, of which `entropy_coded.decode` gives what forward gives."""
        with torch.no_grad():
            seen = rows_of(self(weight.float())).cpu().numpy()
            return encode_quantised(seen, self.steps()[:, 0].cpu().numpy())

    @torch.no_grad()
    def learn_lengths(self, weight: Tensor) -> None:
        """Code the matrix, and keep what each index costs where; `bits` does it now and then."""
        rows, steps = rows_of(weight.float()), self.steps()
        scaled = (rows / steps).round()
        if not bool(torch.isfinite(scaled).all()) or float(scaled.abs().max()) >= 2.0**30:
            return
        indices = scaled.to(torch.int32).cpu().numpy()
        classes = np.empty(indices.shape, np.uint8)
        models = trace_indices(indices, classes=classes)[1]
        levels, octaves = code_lengths(models)
        first = _LAST.bit_length() + 1
        table = np.concatenate([levels, octaves[:, first : first + _OCTAVES]], axis=1)
        self.places.copy_(torch.from_numpy(classes.astype(np.int32) * table.shape[1]))
        self.lengths.copy_(torch.from_numpy(table))
        # What the table leaves out: header, steps, learning the models, signs that are foreseen.
        known = _Bits.apply(rows, steps, self.places, self.lengths)
        self.excess.copy_(8 * len(self.encode(weight)) - known)


class _Rounded(torch.autograd.Function):
    """round(w / s) s, with d/dw = 1 and d/ds = round(w / s) - w / s."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, steps: Tensor) -> Tensor:
        scaled = rows / steps
        whole = scaled.round()
        ctx.save_for_backward(whole - scaled)
        ctx.common = len(steps) == 1
        return whole * steps

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        (slope,) = ctx.saved_tensors
        return gradient, _by_step(gradient * slope, ctx.common)


class _Bits(torch.autograd.Function):
    """The bits of round(w / s), with the gradient of the line between an index and the next."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, steps: Tensor, places: Tensor, lengths: Tensor) -> Tensor:
        scaled = rows / steps
        size = scaled.abs()
        largest = float(size.max())
        if not math.isfinite(largest):
            ctx.save_for_backward(scaled, scaled, steps)
            return scaled.sum() * math.nan
        place = size
        if largest > _LAST:
            # Above the table a place is an octave: 63, 126, 252, ... have the lengths 6, 7, 8, ...
            above = _LAST + (size.clamp(min=_LAST) / _LAST).log2()
            place = torch.where(size <= _LAST, size, above).clamp(max=LEVELS + _OCTAVES - 1.5)
        below = place.int()
        at = (below + places).reshape(-1)
        low = lengths.reshape(-1).index_select(0, at).reshape(size.shape)
        high = lengths.reshape(-1).index_select(0, at + 1).reshape(size.shape)
        slope = high - low
        if largest > _LAST:
            bits = low + slope * (place - below)
            slope = torch.where(size <= _LAST, slope, slope / (size * math.log(2)))
        else:
            bits = torch.where(place - below > 0.5, high, low)
        ctx.save_for_backward(slope * scaled.sign(), scaled, steps)
        return bits.sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        slope, scaled, steps = ctx.saved_tensors
        by_weight = slope * (gradient / steps)
        return by_weight, -_by_step(by_weight * scaled, len(steps) == 1), None, None


def _by_step(by_weight: Tensor, common: bool) -> Tensor:
    """Return the gradient of steps from what each weight says of its own."""
    by_row = by_weight.sum(dim=1, keepdim=True)
    return by_row.sum(dim=0, keepdim=True) if common else by_row
